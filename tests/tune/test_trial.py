"""A trial in progress, with processes that train nothing."""

import contextlib
import json
import os
import sys
import time

import optuna
import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.runs import lock
from chimeramix_jax.sweep import local, polling, processes
from chimeramix_jax.sweep.display import Display
from chimeramix_jax.tune import pool
from chimeramix_jax.tune.claims import SECONDS_UNTIL_LOST, Claims
from chimeramix_jax.tune.search import Search, Started
from chimeramix_jax.tune.trial import End, Plan, TrialRun

STOPS_WHEN_ASKED = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(143)); time.sleep(60)"


class FakeSearch(Search):
    """A search of given trials, which are recorded nowhere else."""

    def __init__(self, folder, trials=1):
        self.claims, self.outcomes, self._left = Claims(folder / "claims"), [], list(range(trials))
        self._trial = optuna.create_study().ask()

    def next(self, leaving_out=()):
        return Started(self._left.pop(0), {}, self._trial) if self._left else None

    def report(self, started, percent, accuracy):
        return False

    def finish(self, started, outcome):
        self.outcomes.append(outcome)
        return True


@pytest.fixture
def plan(tmp_path):
    """Makes the plan of a search."""

    def make(experiment="baseline", prunes=False):
        source = f"digits:{experiment}"
        return Plan(tmp_path, source, (), settings.load(source), prunes)

    return make


@pytest.fixture
def worker():
    return local.LocalWorker(frozenset(os.sched_getaffinity(0)))


@pytest.fixture
def runs_of(monkeypatch):
    """Makes runs carry out Python code instead of the program."""
    monkeypatch.setattr(polling, "SECONDS_BETWEEN_POLLS", 0.02)

    def set_code(code):
        monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", code])

    return set_code


def pool_of(searching, plan, workers):
    return pool._Pool(searching, plan, workers, Display(), lambda: None)


def step_until(steps, condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        next(steps)
        time.sleep(0.02)


def outcome_of(steps, most=1000):
    """Advances a trial that only waits for its process; returns how it ends."""
    for _ in range(most):
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        time.sleep(0.02)
    raise AssertionError("still waits")


def test_a_search_ends_with_the_error_that_was_raised_inside_a_trial(tmp_path, plan, worker, runs_of, monkeypatch):
    runs_of("exit('no room')")

    def full(path, text):
        raise StorageError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(processes.files, "write_text", full)
    searching = FakeSearch(tmp_path, trials=2)
    running = pool_of(searching, plan(), [worker, worker])
    with pytest.raises(StorageError, match="No space left"):
        polling.run(running)
    assert not running.is_running()
    assert [outcome.end for outcome in searching.outcomes] == [End.STOPPED, End.STOPPED]  # can be continued


def test_an_error_inside_a_trial_stops_its_process_first(tmp_path, plan, worker, runs_of):
    runs_of(STOPS_WHEN_ASKED)
    calls = []

    def report(*_):
        calls.append(1)
        raise OSError("the journal is not there")

    trial = TrialRun(plan(prunes=True), 0, {}, worker, Claims(tmp_path / "claims"), report)
    steps = trial.steps()
    next(steps)
    process = trial._process
    log = tmp_path / "trials" / "0" / "classifier" / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"stage": "classifier", "epoch": 1, "step": 1, "validation_top1": 0.5}) + "\n")
    with pytest.raises(OSError, match="the journal"):
        step_until(steps, lambda: False)
    assert process.poll() is not None and calls and not trial.has_process


def test_metrics_that_cannot_be_read_neither_end_a_trial_nor_stop_it(tmp_path, plan, worker, runs_of):
    runs_of(STOPS_WHEN_ASKED)
    reports = []
    trial = TrialRun(
        plan(prunes=True), 0, {}, worker, Claims(tmp_path / "claims"), lambda *report: bool(reports.append(report))
    )
    steps = trial.steps()
    next(steps)
    log = tmp_path / "trials" / "0" / "classifier" / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    line = json.dumps({"stage": "classifier", "epoch": 1, "step": 1, "validation_top1": 0.5}) + "\n"
    log.write_text("\0\0\0\n" + line)
    for _ in range(5):
        next(steps)
    assert trial.has_process and not reports
    log.write_text(line)
    step_until(steps, lambda: reports)
    trial.ask_to_stop()
    assert outcome_of(steps).end in (End.STOPPED, End.PRUNED)


@pytest.fixture
def lost_generator(tmp_path, plan):
    """The plan of a search whose generator another machine claimed, and was training, long ago."""
    searched = plan("chimeramix_grid")
    folder = searched.generator_folder(searched.config, 0)
    claim = tmp_path / "claims" / f"generator-{folder.name}" / "lock.json"
    then = time.time() - SECONDS_UNTIL_LOST - 60
    for path in (claim, folder / "lock.json", folder / "log.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"host": "elsewhere", "process": 7}))
        os.utime(path, (then, then))
    return searched, folder, claim


# Leaves what a search reads of a finished run.
FINISHES = """
import json, pathlib, sys
arguments = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
workdir = pathlib.Path(arguments["workdir"])
(workdir / "generator").mkdir(exist_ok=True)
(workdir / "mixing.png").touch()
if arguments["stage"] != "generator":
    (workdir / "results.json").write_text(json.dumps({"validation": {"top1": 0.5, "examples": 10}}))
"""


REFUSED_WHILE_LOCKED = """
import pathlib, sys
if (pathlib.Path(sys.argv[-2].partition("=")[2]) / "lock.json").exists():
    sys.exit("chimeramix: in use")
"""


def test_a_process_that_a_killed_search_had_just_started_is_waited_for(tmp_path, plan, worker, monkeypatch):
    folder, start, starts = tmp_path / "trials" / "0", local.LocalWorker.start, []
    code = REFUSED_WHILE_LOCKED + FINISHES
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", code, *arguments])
    other = contextlib.ExitStack()

    def start_behind_another(worker, task):
        starts.append(task)
        folder.mkdir(parents=True, exist_ok=True)
        if len(starts) == 1:
            other.enter_context(lock.locked(folder))
        return start(worker, task)

    monkeypatch.setattr(local.LocalWorker, "start", start_behind_another)
    trial = TrialRun(plan(), 0, {}, worker, Claims(tmp_path / "claims"), lambda *_: False)
    steps = trial.steps()
    with other:
        step_until(steps, lambda: starts and not trial.has_process)
    assert outcome_of(steps).end is End.DONE
    assert len(starts) == 2 and not (folder / "error.txt").exists()


def test_a_generator_that_a_lost_machine_was_training_is_taken_over(tmp_path, lost_generator, worker, monkeypatch):
    searched, folder, _ = lost_generator
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", FINISHES, *arguments])
    claims = Claims(tmp_path / "claims")
    steps = TrialRun(searched, 0, {}, worker, claims, lambda *_: False).steps()
    assert outcome_of(steps).end is End.DONE
    assert not (folder / "lock.json").exists()


@pytest.mark.parametrize("renewed", ["claim", "log of the run"])
def test_a_generator_is_left_to_a_machine_that_shows_signs_of_life(tmp_path, lost_generator, worker, renewed):
    searched, folder, claim = lost_generator
    os.utime(claim if renewed == "claim" else folder / "log.txt")
    steps = TrialRun(searched, 0, {}, worker, Claims(tmp_path / "claims"), lambda *_: False).steps()
    for _ in range(5):
        next(steps)
    assert claim.exists() and (folder / "lock.json").exists()


def test_a_run_that_another_machine_may_be_in_is_left_with_a_message_that_names_its_lock(
    tmp_path, plan, worker, capsys
):
    for number in range(4):
        path = tmp_path / "trials" / str(number) / "lock.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"host": "elsewhere", "process": 7}))
    searching = FakeSearch(tmp_path, trials=4)
    message = r"^3 trials failed one after the other, the last with: .*elsewhere.*remove .*trials/2/lock\.json$"
    with pytest.raises(InputError, match=message):
        polling.run(pool_of(searching, plan(), [worker]))
    assert [outcome.end for outcome in searching.outcomes] == [End.STOPPED] * 3  # none is given up for good
    assert f"remove {tmp_path}/trials/0/lock.json; the same command continues it" in capsys.readouterr().err
