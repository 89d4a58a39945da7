"""Stopping on a signal: real signals to a real process that trains the loop's toy stage."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from training.toy_stage import train, weights

from chimeramix_jax.training.checkpoints import StageCheckpoints, newest

EPOCHS, STEPS, PAUSE = 2, 30, 0.1


@pytest.fixture
def start_toy(tmp_path):
    """Starts training in a process that handles SIGINT and SIGHUP even if the tests run in the background."""
    processes = []

    def start(ignored=None, **changes):
        settings = {"epochs": EPOCHS, "steps": STEPS, "config.checkpoint.every_seconds": 0.3} | changes
        setting = "import signal; "
        setting += "".join(f"signal.signal(signal.{name}, signal.SIG_DFL); " for name in ("SIGINT", "SIGHUP"))
        if ignored is not None:
            setting += f"signal.signal({int(ignored)}, signal.SIG_IGN); "
        program = f"{setting}import runpy; runpy.run_module('training.toy_stage', run_name='__main__')"
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path), json.dumps(settings)],
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_until(process, condition, never, timeout=120):
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"never {never}"
        time.sleep(0.02)


def wait_for_checkpoint(process, directory):
    found = (directory / "checkpoints").glob
    wait_until(process, lambda: any(path.name.isdigit() for path in found("*")), "wrote a checkpoint")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    return weights(train(directory, epochs=EPOCHS, steps=STEPS)), (directory / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "request_", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_stopped_run_writes_a_checkpoint_within_the_epoch_and_resumes_from_it(
    start_toy, tmp_path, uninterrupted, request_
):
    process = start_toy(pause=PAUSE)
    wait_for_checkpoint(process, tmp_path)
    sent_at = time.monotonic()
    process.send_signal(request_)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent_at < 10
    assert process.returncode == (130 if request_ == signal.SIGINT else 143)
    assert f"stopped ({request_.name})" in errors and "Traceback" not in errors
    about = newest(tmp_path)
    assert 0 < about["steps_in_epoch"] < STEPS and about["epoch"] < EPOCHS
    resumed = train(tmp_path, epochs=EPOCHS, steps=STEPS)
    assert (weights(resumed), (tmp_path / "metrics.jsonl").read_bytes()) == uninterrupted


def test_a_second_signal_ends_the_run_in_the_middle_of_a_step(start_toy, tmp_path):
    began = tmp_path / "began"
    process = start_toy(pause=60, seconds_to_stop=60, began=str(began))
    wait_until(process, began.exists, "began a step")  # before it, the process would end as well
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    sent_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - sent_at < 5
    assert process.returncode == 143
    assert errors.count("\n") == 2 and errors.startswith("toy: compiling\n")
    assert "second signal" in errors and "continues the run" in errors


def test_a_run_whose_step_takes_too_long_is_ended(start_toy, tmp_path):
    began = tmp_path / "began"
    process = start_toy(pause=60, seconds_to_stop=1, began=str(began))
    wait_until(process, began.exists, "began a step")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143 and "could not write a checkpoint in time" in errors


def test_a_closed_terminal_may_send_its_signal_more_than_once_and_beside_others(start_toy, tmp_path):
    process = start_toy(pause=0.5)
    wait_for_checkpoint(process, tmp_path)
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
        time.sleep(0.02)  # signals that come at once count as one
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "second signal" not in errors
    assert "stopped (SIG" in errors and newest(tmp_path)["steps_in_epoch"] > 0


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(start_toy, tmp_path, ignored):
    process = start_toy(ignored=ignored, pause=PAUSE, steps=10, epochs=1, **{"config.checkpoint.every_seconds": 0.1})
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(ignored)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with StageCheckpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 10


# A process with things to do before it ends, the last of which fails.
BUSY = """
import sys, time
from chimeramix_jax.runtime import stopping

def fails():
    raise OSError("no")

farewells = stopping.before_ending(fails), stopping.before_ending(lambda: open(sys.argv[1], "w").close())
with stopping.listening() if sys.argv[2] == "listening" else stopping.ending_at_once(), farewells[0], farewells[1]:
    if sys.argv[2] != "listening":
        sys.stderr.write("not flushed")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("mode", "signals", "code"), [("listening", 2, 143), ("at once", 1, 0)])
def test_a_process_ends_even_if_nobody_reads_what_it_says_and_a_farewell_fails(tmp_path, mode, signals, code):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    command = [sys.executable, "-c", BUSY, str(tmp_path / "done"), mode]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
            assert process.wait(timeout=30) == code
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)
    assert (tmp_path / "done").exists() == (mode == "listening")
