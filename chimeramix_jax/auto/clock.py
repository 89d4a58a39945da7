"""The time that may be used, over interruptions."""

import time
from collections.abc import Callable


class Clock:
    """Counts the seconds of a budget; time between an interruption and its continuation does not count."""

    def __init__(self, budget: float, used: float = 0.0, now: Callable[[], float] = time.monotonic):
        """Starts the clock with what earlier processes have used; ``now`` returns the current time in seconds."""
        self.budget, self._now = budget, now
        self._started_at = now() - used

    def used(self) -> float:
        """Returns the seconds that have passed."""
        return self._now() - self._started_at

    def end(self) -> float:
        """Returns when the budget will be used up, by the clock that ``now`` reads."""
        return self._started_at + self.budget

    def left(self) -> float:
        """Returns the seconds that are left; negative if the budget is exceeded."""
        return self.budget - self.used()
