import os
import signal
import sys
import time

import pytest

from chimeramix_jax.errors import StorageError
from chimeramix_jax.sweep import processes
from chimeramix_jax.sweep.processes import RunProcess, Task, last_error


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts Python code instead of the program."""

    def start_code(code, **environment):
        monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", *arguments])
        return RunProcess(Task((code,), (tmp_path / "run",), "all"), os.environ | environment)

    return start_code


def test_output_is_appended_to_the_log_of_earlier_attempts(start, tmp_path):
    assert start("print('first')").wait(60) == 0
    second = start("import sys; print('second', file=sys.stderr)")
    assert second.wait(60) == 0
    assert (tmp_path / "run" / "log.txt").read_text() == "first\nsecond\n"
    assert second.last_line() == "second"
    assert last_error(tmp_path / "run") is None


def test_a_failed_run_leaves_its_last_output_as_error_until_the_next_attempt(start, tmp_path):
    start("print('earlier')").wait(60)
    assert start("print('at work'); raise ValueError('no')").wait(60) == 1
    error = (tmp_path / "run" / "error.txt").read_text()
    assert "earlier" not in error and "Traceback" in error
    assert last_error(tmp_path / "run") == "ValueError: no"
    start("pass").wait(60)
    assert last_error(tmp_path / "run") is None


def test_runs_of_one_process_all_get_its_log_and_unfinished_ones_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", *arguments])
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "log.txt").write_text("alone\n")
    results = '{"test": {"top1": 0.5}}'
    code = f"open({str(first / 'results.json')!r}, 'w').write({results!r}); import sys; sys.exit('no')"
    assert RunProcess(Task((code,), (first, second), "all"), os.environ).wait(60) == 1
    assert (first / "log.txt").read_text() == "no\n"
    assert (second / "log.txt").read_text() == "alone\nno\n"
    assert (last_error(first), last_error(second)) == (None, "no")


def test_a_run_that_fails_after_its_results_has_an_error(start, tmp_path):
    results = tmp_path / "run" / "results.json"
    assert start(f"open({str(results)!r}, 'w').write('{{\"test\": {{\"top1\": 0.5}}}}'); exit('no room')").wait(60) == 1
    assert last_error(tmp_path / "run") == "no room"


def test_an_error_that_cannot_be_written_is_raised_once(start, monkeypatch):
    def full(path, text):
        raise StorageError(f"{path}: cannot be written")

    process = start("exit('no')")
    monkeypatch.setattr(processes.files, "write_text", full)
    with pytest.raises(StorageError):
        process.wait(60)
    assert process.poll() == 1


def test_a_killed_run_has_failed_and_the_signal_is_named(start, tmp_path):
    assert start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").wait(60) == -signal.SIGKILL
    assert last_error(tmp_path / "run") == "ended by SIGKILL"


def test_a_run_that_fails_without_output_has_an_error(start, tmp_path):
    assert start("import os; os._exit(3)").wait(60) == 3
    assert last_error(tmp_path / "run") == "exit code 3"


def test_a_run_that_was_asked_to_stop_has_not_failed(start, tmp_path):
    process = start("import time; print('here', flush=True); time.sleep(60)")
    while process.last_line() != "here":
        time.sleep(0.05)
    assert process.wait(0.1) is None
    process.ask_to_stop()
    assert process.wait(60) in processes.STOPPED
    assert last_error(tmp_path / "run") is None


def test_a_run_uses_only_its_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", *arguments])
    cpu = max(os.sched_getaffinity(0))
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    process = RunProcess(Task((code,), (tmp_path / "run",), "all"), os.environ, {cpu})
    assert process.wait(60) == 0
    assert process.last_line() == f"[{cpu}]"


def test_a_process_is_restricted_to_its_cpus_before_it_starts_and_this_process_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", *arguments])
    own = os.sched_getaffinity(0)
    inherited, start = [], processes.subprocess.Popen

    def record(*arguments, **options):
        inherited.append(os.sched_getaffinity(0))  # the process inherits it
        return start(*arguments, **options)

    monkeypatch.setattr(processes.subprocess, "Popen", record)
    cpu = min(own)
    task = Task(("import os; print(os.sched_getaffinity(0))",), (tmp_path / "run",), "all")
    assert RunProcess(task, os.environ, {cpu}).wait(60) == 0
    assert (tmp_path / "run" / "log.txt").read_text() == f"{ {cpu} }\n"
    assert inherited == [{cpu}] and os.sched_getaffinity(0) == own
