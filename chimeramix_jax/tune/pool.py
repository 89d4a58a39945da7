"""Carries out the trials of a search, several at once if there are several workers."""

import time
from collections.abc import Callable, Generator, Sequence

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep import polling
from chimeramix_jax.sweep.display import Display
from chimeramix_jax.sweep.workers import Worker
from chimeramix_jax.tune.search import Search, Started
from chimeramix_jax.tune.trial import End, Outcome, Plan, TrialRun

SECONDS_BETWEEN_LOOKS = 10.0

MOST_FAILURES = 3  # in a row; then something else than the settings is wrong


def run(search: Search, plan: Plan, workers: Sequence[Worker], after_trial: Callable[[], None]) -> set[int]:
    """Carries out trials until none is left for this process; calls ``after_trial`` after each that has ended.

    Returns the numbers of trials whose process was stopped from outside; they are left for the next command.

    Raises:
        Stopped: a signal arrived; the trials in progress have written checkpoints.
        InputError: several trials failed one after the other.
    """
    with stopping.listening(), Display() as display:
        pool = _Pool(search, plan, workers, display, after_trial)
        polling.run(pool)
        return pool.stopped


class _Running:
    """A trial in progress."""

    def __init__(self, started: Started, trial_run: TrialRun):
        self.started, self.run = started, trial_run
        self.steps: Generator[None, None, Outcome] = trial_run.steps()
        self.since = time.monotonic()
        self.outcome: Outcome | None = None

    def step(self) -> Outcome | None:
        """Advances the trial; returns its outcome once it has ended.

        A trial in which an error was raised, which has ended the search, can be continued.
        """
        try:
            next(self.steps)
        except StopIteration as end:
            self.outcome = end.value or Outcome(End.STOPPED)
        return self.outcome


class _Pool:
    """The workers and their trials."""

    def __init__(
        self,
        search: Search,
        plan: Plan,
        workers: Sequence[Worker],
        display: Display,
        after_trial: Callable[[], None],
    ):
        self._search, self._plan, self._display, self._after_trial = search, plan, display, after_trial
        self._idle = list(workers)
        self._running: list[_Running] = []
        self._look_again_at = 0.0  # for trials that other processes have left behind, if none is to be begun
        self.stopped: set[int] = set()
        self._ended = 0
        self._failures = 0  # since the last trial that did not fail

    def is_running(self) -> bool:
        """Whether any trial is in progress."""
        return bool(self._running)

    def ask_to_stop(self) -> None:
        """Asks all trials to write a checkpoint and exit."""
        for running in self._running:
            running.run.ask_to_stop()

    def start(self) -> bool:
        """Starts trials on idle workers; returns whether any trial is running."""
        while self._idle and time.monotonic() >= self._look_again_at:
            if (started := self._search.next(self.stopped)) is None:
                self._look_again_at = time.monotonic() + SECONDS_BETWEEN_LOOKS
                break
            worker = self._idle.pop(0)

            def report(percent_done: int, accuracy: float, started: Started = started) -> bool:
                return self._search.report(started, percent_done, accuracy)

            trial_run = TrialRun(self._plan, started.number, started.values, worker, self._search.claims, report)
            self._running.append(_Running(started, trial_run))
        return bool(self._running)

    def collect(self, *, stopping_all: bool) -> None:
        """Goes on with all trials, and records those that have ended."""
        self._search.claims.renew()
        for running in list(self._running):
            if stopping_all and not running.run.has_process:
                running.steps.close()  # it only waits
                outcome: Outcome | None = Outcome(End.STOPPED)
            else:
                outcome = running.step()
            if outcome is None:
                continue
            self._running.remove(running)
            self._idle.append(running.run.worker)
            number = running.started.number
            if not self._search.finish(running.started, outcome):
                self._display.print(f"trial {number}: given up by another machine, which repeats it")
                continue
            if outcome.end is End.STOPPED:
                self.stopped.add(number)
            else:
                self._ended += 1
            self._display.print(f"trial {number}: {_in_words(outcome)}")
            if not stopping_all and (outcome.end is not End.STOPPED or outcome.problem):
                self._after_trial()
                self._refuse_failures(outcome)

    def _refuse_failures(self, outcome: Outcome) -> None:
        self._failures = self._failures + 1 if outcome.end in (End.FAILED, End.STOPPED) else 0
        if self._failures == MOST_FAILURES:
            raise InputError(f"{MOST_FAILURES} trials failed one after the other, the last with: {outcome.problem}")

    def show(self) -> None:
        """Shows the trials in progress."""
        running = [
            (f"trial {one.started.number}", time.monotonic() - one.since, one.run.last_line()) for one in self._running
        ]
        self._display.show(running, f"{self._ended} trials have ended here")


def _in_words(outcome: Outcome) -> str:
    """Describes how a trial ended."""
    return {
        End.DONE: f"{percent(outcome.accuracy, outcome.examples)} of {outcome.examples} images",
        End.PRUNED: "stopped early, because others were better",
        End.DIVERGED: "diverged",
        End.FAILED: f"failed: {outcome.problem}",
        End.STOPPED: f"{outcome.problem or 'stopped'}; the same command continues it",
    }[outcome.end]
