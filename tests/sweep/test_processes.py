import os
import signal
import sys
import time

import pytest

from chimeramix_jax.sweep import processes, program
from chimeramix_jax.sweep.processes import RunProcess, Task, last_error


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts Python code in the place of the program."""

    def begin(code, **environment):
        monkeypatch.setattr(program, "command", lambda arguments: [sys.executable, "-c", *arguments])
        return RunProcess(Task((code,), (tmp_path / "run",), "all"), os.environ | environment)

    return begin


def test_what_a_run_says_goes_to_its_log_behind_what_earlier_attempts_said(start, tmp_path):
    assert start("print('first')").wait(60) == 0
    second = start("import sys; print('second', file=sys.stderr)")
    assert second.wait(60) == 0
    assert (tmp_path / "run" / "log.txt").read_text() == "first\nsecond\n"
    assert second.last_line() == "second"
    assert last_error(tmp_path / "run") is None


def test_a_run_that_fails_leaves_the_end_of_what_it_said_and_the_next_attempt_takes_that_away(start, tmp_path):
    start("print('earlier')").wait(60)
    assert start("print('at work'); raise ValueError('no')").wait(60) == 1
    error = (tmp_path / "run" / "error.txt").read_text()
    assert "earlier" not in error and "Traceback" in error
    assert last_error(tmp_path / "run") == "ValueError: no"
    start("pass").wait(60)
    assert last_error(tmp_path / "run") is None


def test_runs_that_share_a_process_each_have_its_log_and_the_unfinished_ones_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "command", lambda arguments: [sys.executable, "-c", *arguments])
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "log.txt").write_text("alone\n")
    code = f"open({str(first / 'results.json')!r}, 'w').write('{{}}'); import sys; sys.exit('no')"
    assert RunProcess(Task((code,), (first, second), "all"), os.environ).wait(60) == 1
    assert (first / "log.txt").read_text() == "no\n"
    assert (second / "log.txt").read_text() == "alone\nno\n"
    assert (last_error(first), last_error(second)) == (None, "no")


def test_a_run_that_was_killed_has_failed_and_says_by_what(start, tmp_path):
    assert start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").wait(60) == -signal.SIGKILL
    assert last_error(tmp_path / "run") == "ended by SIGKILL"


def test_a_run_that_fails_without_a_word_has_an_error_all_the_same(start, tmp_path):
    assert start("import os; os._exit(3)").wait(60) == 3
    assert last_error(tmp_path / "run") == "exit code 3"


def test_a_run_that_is_asked_to_stop_has_not_failed(start, tmp_path):
    process = start("import time; print('here', flush=True); time.sleep(60)")
    while process.last_line() != "here":
        time.sleep(0.05)
    assert process.wait(0.1) is None
    process.ask_to_stop()
    assert process.wait(60) in processes.STOPPED
    assert last_error(tmp_path / "run") is None


def test_a_run_keeps_to_its_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "command", lambda arguments: [sys.executable, "-c", *arguments])
    cpu = max(os.sched_getaffinity(0))
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    process = RunProcess(Task((code,), (tmp_path / "run",), "all"), os.environ, {cpu})
    assert process.wait(60) == 0
    assert process.last_line() == f"[{cpu}]"


def test_a_process_is_confined_to_its_cpus_before_it_runs_and_nobody_else_is(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "command", lambda arguments: [sys.executable, "-c", *arguments])
    own = os.sched_getaffinity(0)
    confined, start = [], processes.subprocess.Popen

    def noting(*arguments, **options):
        confined.append(os.sched_getaffinity(0))  # what the process inherits
        return start(*arguments, **options)

    monkeypatch.setattr(processes.subprocess, "Popen", noting)
    one = min(own)
    task = Task(("import os; print(os.sched_getaffinity(0))",), (tmp_path / "run",), "all")
    assert RunProcess(task, os.environ, {one}).wait(60) == 0
    assert (tmp_path / "run" / "log.txt").read_text() == f"{ {one} }\n"
    assert confined == [{one}] and os.sched_getaffinity(0) == own
