"""A run that is killed and started again ends as the uninterrupted one, bit for bit."""

import json
import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tmp_path_factory.mktemp("uninterrupted") / "run"


def kill_when(process, reached, timeout=240):
    """Kills the process without warning as soon as ``reached`` says so."""
    deadline = time.monotonic() + timeout
    while not reached():
        assert process.poll() is None, f"ended too early: {process.communicate()[1]}"
        assert time.monotonic() < deadline, "never got that far"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def epochs_done(workdir, stage):
    path = workdir / stage / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def last_checkpoint(workdir, stage):
    """Every array of a stage's newest checkpoint, optimizer state included, as Orbax has it."""
    directory = max((workdir / stage / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    checkpointer = ocp.PyTreeCheckpointer()
    parts = {path.name: path for path in directory.iterdir() if (path / "_METADATA").exists()}
    assert parts
    return int(directory.name), {name: checkpointer.restore(path) for name, path in sorted(parts.items())}


def test_a_run_killed_in_the_middle_of_each_stage_ends_bit_for_bit_the_same(
    start_main, run_main, uninterrupted, tmp_path
):
    code, _, errors = run_main(f"--workdir={uninterrupted}")
    assert code == 0, errors
    for stage in ("generator", "classifier", "baseline"):
        process = start_main(f"--workdir={tmp_path}")
        kill_when(process, lambda stage=stage: epochs_done(tmp_path, stage) >= 2)
        assert epochs_done(tmp_path, stage) < 5, "the kill came after the stage's end"
    code, _, errors = run_main(f"--workdir={tmp_path}")
    assert code == 0, errors

    for stage in ("generator", "classifier", "baseline"):
        step, expected = last_checkpoint(uninterrupted, stage)
        resumed_step, resumed = last_checkpoint(tmp_path, stage)
        assert resumed_step == step
        jax.tree.map(np.testing.assert_array_equal, resumed, expected)
        assert (tmp_path / stage / "metrics.jsonl").read_text() == (uninterrupted / stage / "metrics.jsonl").read_text()
    results = [json.loads((workdir / "results.json").read_text()) for workdir in (tmp_path, uninterrupted)]
    assert results[0]["test"] == results[1]["test"]
    assert (tmp_path / "mixing.png").read_bytes() == (uninterrupted / "mixing.png").read_bytes()
