"""The lock of a run's directory, with real processes."""

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
    """Another process that holds the lock of the directory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_directory_in_use_is_refused_naming_host_and_process(holder, tmp_path):
    with (
        pytest.raises(InputError, match=f"{tmp_path}: in use by process {holder.pid} on host {socket.gethostname()}"),
        locked(tmp_path),
    ):
        pass
    assert (tmp_path / NAME).exists()


def test_the_command_line_refuses_a_directory_in_use(holder, run_here, tmp_path):
    code, output, errors = run_here(f"--workdir={tmp_path}")
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1 and f"process {holder.pid}" in errors
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / NAME).read_text())["process"] == holder.pid
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_lock_of_a_killed_process_is_taken_over(tmp_path):
    (tmp_path / NAME).write_bytes(b"")
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_host_is_refused_with_advice_and_stays(tmp_path):
    content = json.dumps({"host": "elsewhere", "process": 77})
    (tmp_path / NAME).write_text(content)
    for _ in range(2):
        with (
            pytest.raises(
                InputError, match=rf"process 77 on host elsewhere.*cannot be checked.*remove {tmp_path}/{NAME}"
            ),
            locked(tmp_path),
        ):
            pass
    assert (tmp_path / NAME).read_text() == content
    (tmp_path / NAME).unlink()
    with locked(tmp_path):
        pass


def test_a_process_cannot_lock_a_directory_twice_and_an_error_releases_it(tmp_path):
    with pytest.raises(InputError, match=f"process {os.getpid()}"), locked(tmp_path), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_lock_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match=r"lock.json: cannot be locked: Is a directory"), locked(tmp_path):
        pass


def test_a_lock_that_another_process_has_taken_over_stays(tmp_path):
    path = tmp_path / "lock.json"
    with locked(tmp_path):
        path.unlink()  # as of a process that is taken for lost
        path.write_text("another's")
    assert path.read_text() == "another's"
