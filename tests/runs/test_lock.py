"""One run at a time in a directory, with real processes."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from conftest import ROOT

from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.lock import NAME, locked

HOLD = """
import sys, time
from pathlib import Path
from chimeramix_jax.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the directory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def test_a_directory_in_use_is_refused_with_the_host_and_the_process(holder, tmp_path):
    with (
        pytest.raises(InputError, match=f"{tmp_path}: in use by process {holder.pid} on host {socket.gethostname()}"),
        locked(tmp_path),
    ):
        pass
    assert (tmp_path / NAME).exists()


def test_a_run_is_refused_through_the_command_line_while_another_is_at_work(holder, run_main, tmp_path):
    code, output, errors = run_main(f"--workdir={tmp_path}")
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1 and f"process {holder.pid}" in errors
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_lock_that_a_killed_process_left_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / NAME).read_text())["process"] == holder.pid
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_process_had_not_written_yet_when_it_was_killed_is_taken_over(tmp_path):
    (tmp_path / NAME).write_bytes(b"")
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_host_is_refused_with_how_to_remove_it_and_stays(tmp_path):
    content = json.dumps({"host": "elsewhere", "process": 77})
    (tmp_path / NAME).write_text(content)
    for _ in range(2):
        with (
            pytest.raises(
                InputError, match=rf"process 77 on host elsewhere.*cannot be asked.*remove {tmp_path}/{NAME}"
            ),
            locked(tmp_path),
        ):
            pass
    assert (tmp_path / NAME).read_text() == content
    (tmp_path / NAME).unlink()
    with locked(tmp_path):
        pass


def test_two_runs_of_one_process_are_kept_apart_too_and_an_error_frees_the_directory(tmp_path):
    with pytest.raises(InputError, match=f"process {os.getpid()}"), locked(tmp_path), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
