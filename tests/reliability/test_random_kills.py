"""Kills without warning, at random moments and inside checkpoint writes, of one run.

Four take minutes (``python -m pytest -m slow``), twenty longer (``python -m pytest -m exhaustive``).
"""

import random
import signal
import time

import pytest
from workflow.test_resume import assert_same_run, wait_until

LONGEST_WAIT = 0.6  # seconds after the first checkpoint of a process, at most, until it is killed

SETTINGS = {"generator.epochs": 14, "classifier.epochs": 12, "compare_with_baseline": "false"}
AFTER_EVERY_STEP = {"checkpoint.every_seconds": 1e-9}
PARTS = ("generator", "classifier")


def checkpoints(workdir, stage):
    """The numbers of a stage's complete checkpoints, and the names of unfinished ones."""
    folder = workdir / stage / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return {name for name in names if name.isdigit()}, {name for name in names if ".part" in name}


def run_to_the_end(process):
    _, errors = process.communicate(timeout=1800)
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    "kills_per_stage", [pytest.param(2, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.exhaustive)]
)
def test_a_run_killed_again_and_again_ends_bit_for_bit_as_the_uninterrupted_one(start_main, tmp_path, kills_per_stage):
    uninterrupted, killed = tmp_path / "uninterrupted" / "run", tmp_path / "killed" / "run"
    run_to_the_end(start_main(f"--workdir={uninterrupted}", **SETTINGS))

    chance = random.Random(0)
    inside_a_write = 0
    for stage in PARTS:
        for number in range(kills_per_stage):
            before = checkpoints(killed, stage)[0]
            process = start_main(f"--workdir={killed}", **SETTINGS | AFTER_EVERY_STEP)
            wait_until(process, lambda stage=stage, before=before: checkpoints(killed, stage)[0] - before)
            if number % 2:
                wait_until(process, lambda stage=stage: checkpoints(killed, stage)[1])
            else:
                time.sleep(chance.uniform(0, LONGEST_WAIT))
            assert process.poll() is None, "ended before it was killed"
            process.send_signal(signal.SIGKILL)
            process.communicate()
            complete, unfinished = checkpoints(killed, stage)
            inside_a_write += bool(unfinished)
            print(f"killed in {stage} at step {max(map(int, complete))}", "while writing" if unfinished else "")
    run_to_the_end(start_main(f"--workdir={killed}", **SETTINGS))
    assert_same_run(killed, uninterrupted, PARTS)
    print(f"{2 * kills_per_stage} kills, {inside_a_write} of them inside a checkpoint write")
    assert inside_a_write >= kills_per_stage // 2
