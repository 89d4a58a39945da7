"""Keeps a stage to its time, by leaving out epochs while its steps take longer than when the epochs were planned.

The learning rate, the sides of the images and all random numbers depend on the number of an epoch. So a stage that
leaves out some on the way still ends as planned: at the full side, with a learning rate of nearly 0. Those that it
leaves out are spread evenly over what remains, and the last epoch is always trained.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

TOLERANCE = 0.01  # share of the remaining time by which the remaining epochs may exceed it
LONGEST_STRIDE = 4.0  # at least one epoch of four is trained: rather late than with a learning rate that collapses
_HALF_LIFE = 0.03  # share of the stage's epochs after which a measured time counts half
_LEAST_HALF_LIFE = 2.0  # epochs


@dataclass(frozen=True)
class TimeLimit:
    """The time that a stage may take, and what its epochs took when they were planned.

    Attributes:
        until: when the stage has to be over, in seconds of ``time.monotonic``.
        seconds_per_epoch: the mean time of an epoch, without compiling.
        weights: the time of a step at each of the growing sides, from the smallest, in any unit; empty if the sides do
            not grow, or if the times are unknown.
    """

    until: float
    seconds_per_epoch: float
    weights: tuple[float, ...] = ()

    def shared_by(self, stages: int) -> "TimeLimit":
        """Returns the limit of the next of several equal stages that follow each other: its part of what is left."""
        now = time.monotonic()
        return replace(self, until=now + (self.until - now) / stages)


class Pace:
    """Compares a stage's progress with the plan."""

    def __init__(
        self,
        limit: TimeLimit,
        epochs: int,
        work: Callable[[int], float],
        programs: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
    ):
        """Begins with the stage's first epoch, or with the one that it resumes with.

        Args:
            limit: of the stage.
            epochs: how many there are in all.
            work: returns how much work the first epochs are, in any unit.
            programs: returns how many programs have been compiled.
            now: returns the time in seconds.
        """
        self._work, self._seconds_per_work = work, limit.seconds_per_epoch * epochs / work(epochs)
        self._until, self._epochs, self._programs, self._now = limit.until, epochs, programs, now
        self._kept = 0.5 ** (1 / max(_HALF_LIFE * epochs, _LEAST_HALF_LIFE))
        self._took = self._was_to_take = 0.0  # the epochs so far, the latest counting most
        self._last_end, self._compiled, self._owed = now(), 0, 0.0

    def left_out_after(self, completed: int) -> int:
        """Returns how many epochs to leave out before the next one, when this many are over."""
        self._measure(completed)
        left = self._until - self._now()
        needed = self._slowdown * (self._planned(self._epochs) - self._planned(completed))
        if needed <= (1 + TOLERANCE) * left:
            self._owed = 0.0
            return 0
        stride = min(needed / left, LONGEST_STRIDE) if left > 0 else LONGEST_STRIDE
        self._owed += stride - 1
        left_out = max(min(int(self._owed), self._epochs - 1 - completed), 0)
        self._owed -= left_out
        return left_out

    def _planned(self, completed: int) -> float:
        """Returns the seconds that the first epochs were to take."""
        return self._seconds_per_work * self._work(completed)

    @property
    def _slowdown(self) -> float:
        """How many times longer than planned the latest epochs took."""
        return self._took / self._was_to_take if self._was_to_take else 1.0

    def _measure(self, completed: int) -> None:
        """Compares the epoch that is just over with the plan, unless a program was compiled for it."""
        now, compiled = self._now(), self._programs()
        if compiled == self._compiled:
            planned = self._planned(completed) - self._planned(completed - 1)
            self._took = self._kept * self._took + now - self._last_end
            self._was_to_take = self._kept * self._was_to_take + planned
        self._last_end, self._compiled = now, compiled
