"""Parses the smaller sides at which a classifier begins: ``classifier.growing_sides = "16:0.4,24:0.3"``."""

import math
import re

from chimeramix_jax.config.rules import SIDE
from chimeramix_jax.errors import InputError

_FORM = (
    "growing sides in pixels, each with its share of the steps, such as 16:0.4,24:0.3 (the other steps are at "
    "classifier.image_side)"
)


def parse_growing_sides(text: str, image_side: int) -> tuple[tuple[int, float], ...]:
    """Returns the smaller sides in a text with their shares of the steps; an empty tuple for an empty text.

    Raises InputError unless the sides grow, all are below ``image_side``, and the shares leave steps for it.
    """
    pairs: list[tuple[int, float]] = []
    for part in text.split(",") if text else []:
        numbers = re.fullmatch(r"\s*([0-9]{1,4})\s*:\s*([0-9]{0,9}\.?[0-9]{1,9})\s*", part, re.ASCII)
        if numbers is None or not 0 < float(numbers[2]) < 1:
            raise _refused(text, f"is not allowed; it must be {_FORM}")
        side = int(numbers[1])
        if not SIDE.holds(side) or side >= image_side:
            raise _refused(text, f"has a side of {side}; it must be {SIDE.allowed}, below image_side ({image_side})")
        if pairs and side <= pairs[-1][0]:
            raise _refused(text, f"has {side} after {pairs[-1][0]}; the sides must grow")
        pairs.append((side, float(numbers[2])))
    if math.fsum(share for _, share in pairs) >= 1:
        raise _refused(text, f"leaves no steps for image_side ({image_side}); the shares must add up to less than 1")
    return tuple(pairs)


def _refused(text: str, reason: str) -> InputError:
    return InputError(f"classifier.growing_sides: {text!r} {reason}")
