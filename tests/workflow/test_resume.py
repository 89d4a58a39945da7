"""A run that is killed, stopped or damaged and then resumed ends bit for bit like an uninterrupted run."""

import json
import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
from conftest import WATCHED


def kill_when(process, condition):
    """Kills the process without warning as soon as the condition is true; returns its standard error."""
    wait_until(process, condition)
    process.send_signal(signal.SIGKILL)
    return process.communicate()[1]


def wait_until(process, condition, timeout=240):
    """Waits until the condition is true; fails if the process ends before."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()[1]}"
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.02)


def epochs_done(workdir, stage):
    path = workdir / stage / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def last_checkpoint(workdir, stage):
    """The number of a stage's newest checkpoint and all of its arrays, optimizer state included, as read by Orbax."""
    numbered = [path for path in (workdir / stage / "checkpoints").iterdir() if path.name.isdigit()]
    directory = max(numbered, key=lambda path: int(path.name))
    checkpointer = ocp.PyTreeCheckpointer()

    def arrays(path):
        """Reads without a device, since the sharding of whoever wrote them may not fit here."""
        stored = checkpointer.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        return checkpointer.restore(path, restore_args=as_numpy)

    parts = {path.name: path for path in directory.iterdir() if (path / "_METADATA").exists()}
    assert parts
    return int(directory.name), {name: arrays(path) for name, path in sorted(parts.items())}


def test_a_run_killed_stopped_by_slurm_and_damaged_ends_bit_for_bit_the_same(
    start_main, run_main, trained_run, tmp_path
):
    often, always = WATCHED, WATCHED | {"checkpoint.every_seconds": 1e-9}
    kill_when(start_main(f"--workdir={tmp_path}", **often), lambda: epochs_done(tmp_path, "generator") >= 2)
    assert epochs_done(tmp_path, "generator") < 5, "the kill came after the stage's end"

    process = start_main(f"--workdir={tmp_path}", **always)
    wait_until(process, lambda: epochs_done(tmp_path, "classifier") >= 2)
    assert_stopped(process, tmp_path)

    newest, damaged = damage_newest_checkpoint(tmp_path / "classifier")
    code, _, errors = run_main(f"--workdir={tmp_path}", **often)
    assert code == 0, errors
    assert errors.count(f"chimeramix: warning: {newest}: {damaged} is not as it was written") == 1
    assert_same_run(tmp_path, trained_run)


def assert_stopped(process, workdir):
    """Requires that the program, stopped as by Slurm, ends in time and cleanly and says how to continue."""
    stopped_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - stopped_at < 10) == (143, True)
    last_line = errors.splitlines()[-1]
    assert last_line == "chimeramix: stopped (SIGTERM); the same command continues the run"
    assert "Traceback" not in errors
    assert not (workdir / "results.json").exists() and not (workdir / "lock.json").exists()


def damage_newest_checkpoint(stage_directory):
    """Flips a bit in the largest file of the newest checkpoint; returns the checkpoint and the file's relative path."""
    newest = max((stage_directory / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    return newest, largest.relative_to(newest)


def assert_same_run(workdir, expected_workdir, stages=("generator", "classifier", "baseline")):
    """Requires that two runs have the same arrays, metrics, results and pictures."""
    for stage in stages:
        step, expected = last_checkpoint(expected_workdir, stage)
        resumed_step, resumed = last_checkpoint(workdir, stage)
        assert resumed_step == step
        jax.tree.map(np.testing.assert_array_equal, resumed, expected)
        metrics = [(path / stage / "metrics.jsonl").read_text() for path in (workdir, expected_workdir)]
        assert metrics[0] == metrics[1]
    results = [json.loads((path / "results.json").read_text()) for path in (workdir, expected_workdir)]
    assert results[0]["test"] == results[1]["test"]
    assert (workdir / "mixing.png").read_bytes() == (expected_workdir / "mixing.png").read_bytes()
