"""Tests of what a worker process of Ray does, without Ray, with Python code instead of the program."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep import lease, processes, ray_task
from chimeramix_jax.sweep.processes import Task
from chimeramix_jax.sweep.ray_task import RayRequest, carry_out, lease_of


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", *arguments])
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(ray_task.tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # and back: the task changes it
    (tmp_path / "sweep" / "ray").mkdir(parents=True)


@pytest.fixture
def request_for(tmp_path):
    def made(code, environment=os.environ, cores=None, gpus=0, folder=None):
        task = Task((code,), (Path("sweep") / "run",), "all")
        folder = folder or tmp_path / "sweep"
        return RayRequest(task, "mine", folder, tmp_path, dict(environment), cores, gpus)

    return made


def log(tmp_path):
    return (tmp_path / "sweep" / "run" / "log.txt").read_text()


def test_the_exit_code_and_the_duration_are_returned_and_the_run_leaves_its_files(request_for, tmp_path):
    code, seconds = carry_out(request_for("import time; time.sleep(0.2); print('no'); raise SystemExit(3)"))
    assert code == 3 and 0.2 < seconds < 60
    assert log(tmp_path) == "no\n" and (tmp_path / "sweep" / "run" / "error.txt").exists()
    held = lease.holder(lease_of(tmp_path / "sweep", tmp_path / "sweep" / "run"))
    assert (held.submission, held.host) == ("mine", socket.gethostname())


def test_a_node_that_does_not_see_the_folder_says_so_and_creates_nothing(request_for, tmp_path):
    with pytest.raises(InputError, match=rf"not a folder on node {socket.gethostname()}; all nodes must see it"):
        carry_out(request_for("", folder=tmp_path / "elsewhere"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_request_to_stop_is_passed_on_and_a_second_one_too(request_for, tmp_path):
    code = """if True:
        import signal, sys, time
        requests = []
        signal.signal(signal.SIGTERM, lambda *_: requests.append(1))
        print("ready", flush=True)
        while len(requests) < 2:
            time.sleep(0.05)
        sys.exit(143)
    """

    def interrupt():
        until = time.monotonic() + 60
        while not (tmp_path / "sweep/run/log.txt").exists() or "ready" not in log(tmp_path):
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert carry_out(request_for(code))[0] == 143
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_is_killed_when_another_attempt_takes_over(request_for, tmp_path):
    path = lease_of(tmp_path / "sweep", tmp_path / "sweep" / "run")
    other = lease.Lease(path, tmp_path / "sweep" / "run", "other")

    def take_over():
        until = time.monotonic() + 60
        while (held := lease.holder(path)) is None or not held.has_started:
            assert time.monotonic() < until
            time.sleep(0.05)
        other.take(lambda: False)

    thread = threading.Thread(target=take_over)
    thread.start()
    with pytest.raises(RuntimeError, match="another attempt has taken over"):
        carry_out(request_for("import time; time.sleep(60)"))
    thread.join()
    assert not (tmp_path / "sweep" / "run" / "error.txt").exists()


def test_the_environment_is_that_of_the_command_except_for_what_the_node_decides(request_for, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # as Ray sets it for a task
    monkeypatch.setenv("OF_THE_NODE", "1")
    names = ("CUDA_VISIBLE_DEVICES", "XLA_FLAGS", "RAY_ADDRESS", "OF_THE_NODE", "OMP_NUM_THREADS")
    sent = {"CUDA_VISIBLE_DEVICES": "0", "XLA_FLAGS": "--of=command", "RAY_ADDRESS": "there:1"}
    code = f"import os; print([os.environ.get(name) for name in {names!r}], len(os.sched_getaffinity(0)))"
    carry_out(request_for(code, sent, gpus=1))
    carry_out(request_for(code, sent, cores=1))
    first, second = log(tmp_path).splitlines()
    assert first == f"['3', '--of=command', None, None, None] {len(os.sched_getaffinity(0))}"
    assert second == "['', '--of=command', None, None, '1'] 1"


def test_runs_on_one_node_have_cores_of_their_own_as_long_as_there_are_some():
    available = os.sched_getaffinity(0)
    with ray_task._own_cores(1) as first, ray_task._own_cores(len(available)) as too_many:
        assert len(first) == 1 and too_many is None
    with ray_task._own_cores(len(available)) as all_of_them:
        assert all_of_them == available


def test_a_run_ends_with_the_process_that_started_it(tmp_path):
    code = """if True:
        import os, sys
        from pathlib import Path
        from chimeramix_jax.sweep import processes
        processes.command = lambda arguments: [sys.executable, "-c", *arguments]
        task = processes.Task(("import time; time.sleep(60)",), (Path(sys.argv[1]),), "all")
        print(processes.RunProcess(task, os.environ, ends_with_parent=True).number, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        run = Path(f"/proc/{int(parent.stdout.readline())}")
        assert run.exists()
        parent.kill()
    until = time.monotonic() + 30
    while run.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not run.exists()
