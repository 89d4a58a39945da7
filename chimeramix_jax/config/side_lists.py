"""Parses lists of image sides: ``classifier.growing_sides = "16:0.4,24:0.3"`` and ``larger_sides = "48,64"``."""

import itertools
import math
import re

from chimeramix_jax.config.rules import SIDE, SIDE_MULTIPLE, SMALLEST_SIDE
from chimeramix_jax.errors import InputError

_FORM = (
    "growing sides, in pixels or as fractions of classifier.image_side, each with its share of the steps, such as "
    "16:0.4,24:0.3 or 1/2:0.4,3/4:0.3 (the other steps are at image_side)"
)
_PART = re.compile(r"\s*([1-9][0-9]{0,3})(?:/([1-9][0-9]?))?\s*:\s*([0-9]{0,9}\.?[0-9]{1,9})\s*", re.ASCII)


def parse_growing_sides(text: str, image_side: int) -> tuple[tuple[int, float], ...]:
    """Returns the smaller sides in a text, in pixels, with their shares of the steps; an empty tuple for an empty text.

    A fraction of ``image_side`` is rounded to what a side may be. If that is ``image_side`` itself or the side before,
    as can happen with small images, its steps are at that side.

    Raises InputError unless the sides grow, all are below ``image_side``, and the shares leave steps for it.
    """
    pairs: list[tuple[int, float]] = []
    shares: list[float] = []
    for part in text.split(",") if text else []:
        numbers = _PART.fullmatch(part)
        if numbers is None or not 0 < float(numbers[3]) < 1:
            raise _refused(text, f"is not allowed; it must be {_FORM}")
        side, share = _side(text, numbers[1], numbers[2], image_side), float(numbers[3])
        shares.append(share)
        if pairs and numbers[2] and side == pairs[-1][0]:
            pairs[-1] = side, pairs[-1][1] + share
        elif pairs and side <= pairs[-1][0]:
            raise _refused(text, f"has {side} after {pairs[-1][0]}; the sides must grow")
        elif side < image_side:
            pairs.append((side, share))
    if math.fsum(shares) >= 1:
        raise _refused(text, f"leaves no steps for image_side ({image_side}); the shares must add up to less than 1")
    return tuple(pairs)


def parse_larger_sides(text: str, image_side: int) -> tuple[int, ...]:
    """Returns the sides in a text that are larger than ``image_side``, in pixels; an empty tuple for an empty text.

    Raises InputError unless the sides grow and can be sides of images.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    sides = [int(part) if re.fullmatch("[1-9][0-9]{0,3}", part, re.ASCII) else 0 for part in parts]
    if not all(map(SIDE.holds, sides)) or any(later <= side for side, later in itertools.pairwise(sides)):
        raise InputError(
            f"larger_sides: {text!r} is not allowed; it must be growing sides of images, such as 48,64, each "
            f"{SIDE.allowed}"
        )
    return tuple(side for side in sides if side > image_side)


def _side(text: str, number: str, divisor: str | None, image_side: int) -> int:
    if divisor is None:
        side = int(number)
        if not SIDE.holds(side) or side >= image_side:
            raise _refused(text, f"has a side of {side}; it must be {SIDE.allowed}, below image_side ({image_side})")
        return side
    if int(number) >= int(divisor):
        raise _refused(text, f"has a side of {number}/{divisor}; a fraction of image_side must be below 1")
    multiples = round(image_side * int(number) / (int(divisor) * SIDE_MULTIPLE))
    return max(multiples * SIDE_MULTIPLE, SMALLEST_SIDE)


def _refused(text: str, reason: str) -> InputError:
    return InputError(f"classifier.growing_sides: {text!r} {reason}")
