"""Growing sides: the side at which each step of the classifier's training shows its images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chimeramix_jax.config import parse_growing_sides


@dataclass(frozen=True)
class GrowingSides:
    """The sides at which a stage's steps see their images, from the smallest to the full side.

    The side depends on the step's number alone, so a resumed run changes it where an uninterrupted one does. It is part
    of the compiled program: there is a program for every side.

    Attributes:
        sides: pixels per side; the last is the full side.
        starts: the stage's first step at each of these sides, from 0; a side may have no steps in a short training.
    """

    sides: tuple[int, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str, image_side: int, total_steps: int) -> "GrowingSides":
        """Returns the sides of a stage of ``total_steps``; ``text`` is ``config.classifier.growing_sides``."""
        pairs = parse_growing_sides(text, image_side)
        shares = [share for _, share in pairs]
        starts = [round(total_steps * math.fsum(shares[:place])) for place in range(len(pairs) + 1)]
        return cls((*(side for side, _ in pairs), image_side), tuple(starts))

    def side(self, step: int) -> int:
        """Returns the side at a step of the stage, counted from 0."""
        return self.sides[sum(start <= step for start in self.starts) - 1]

    def next_start(self, step: int) -> int | None:
        """Returns the first later step at another side; None if there is none."""
        return min((start for start in self.starts if start > step), default=None)

    def work(self, steps: int, weights: Sequence[float] = ()) -> float:
        """Returns the work of the stage's first ``steps`` steps, in steps at the full side.

        ``weights`` are the measured times of a step at each side, in any unit. Without one for each, the time of a step
        is taken to be proportional to the number of pixels.
        """
        if len(weights) != len(self.sides):
            weights = [side**2 for side in self.sides]
        ends = (*self.starts[1:], max(steps, self.starts[-1]))
        return math.fsum(
            max(min(steps, end) - start, 0) * weight / weights[-1]
            for weight, start, end in zip(weights, self.starts, ends, strict=True)
        )
