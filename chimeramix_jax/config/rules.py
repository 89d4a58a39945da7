"""Kinds of allowed values of settings; ``defaults.py`` says which setting has which."""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

POLICIES = ("none", "autoaugment", "randaugment", "trivialaugment")  # implemented in augment/policies.py
AUTOAUGMENT_POLICIES = ("cifar10", "imagenet")  # the data sets on which AutoAugment's policies were found

# Implemented in data/fitting.py and, for exported files, in use/export/squaring.py and onnx_squaring.py.
Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)

KEPT_TOGETHER = ("copies", "near_duplicates")  # implemented in data/kept_together.py

LOSSES = ("cross_entropy", "cosine")  # implemented in training/classification_loss.py

HEADS = ("linear", "tvmf")  # implemented in models/heads.py

BATCH_STATISTICS = ("running", "unmixed")  # the latter in training/unmixed_statistics.py

CONVOLUTIONS = ("standard", "harmonic")  # implemented in models/harmonic.py

MASKS = ("grid", "segmentation", "none")  # drawn by MaskRule in mixing/masks.py; "none": no mixing

PUBLISHED = "published"  # fair coins for a grid's cells, bounds for segments
SHARES = (PUBLISHED, "equal", "dirichlet", "stick_breaking")  # implemented in mixing/masks.py

LARGEST_SEED = 2**31 - 1  # JAX uses 32 bits of a seed, so larger seeds would silently equal smaller ones


@dataclass(frozen=True)
class Rule:
    """The allowed values of a setting: ``allowed`` is their description, ``holds`` a test that never raises.

    ``names`` are those of the program if a name may also be that of a registered idea, which ``config/own_code.py``
    knows.
    """

    allowed: str
    holds: Callable[[Any], bool]
    names: tuple[str, ...] = ()


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True equals 1 in Python, but here it is a mistake


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def integer(minimum: int, maximum: int, multiple_of: int = 1) -> Rule:
    """Returns the rule for whole numbers in a range."""
    kind = "a whole number" if multiple_of == 1 else f"a multiple of {multiple_of}"

    def holds(value: Any) -> bool:
        return _is_integer(value) and minimum <= value <= maximum and value % multiple_of == 0

    return Rule(f"{kind} from {minimum} to {maximum}", holds)


def _number(allowed: str, within: Callable[[float], bool]) -> Rule:
    return Rule(allowed, lambda value: _is_number(value) and within(value))


def choice(*names: str) -> Rule:
    """Returns the rule for one of these names."""
    return Rule("one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names)


def choice_or_own(*names: str) -> Rule:
    """Returns the rule for one of these names, or that of a registered idea."""
    allowed = f"one of {', '.join(filter(None, names))}, or the name of your own"
    return Rule(allowed, lambda value: isinstance(value, str) and (value in names or NAME.holds(value)), names)


def _increasing_shares(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not all(_is_number(share) and 0 < share < 1 for share in value):
        return False
    return all(earlier < later for earlier, later in itertools.pairwise(value))


YES_OR_NO = Rule("true or false", lambda value: isinstance(value, bool))
TEXT = Rule("text", lambda value: isinstance(value, str))
NAME = Rule(
    "a name of letters, digits, '_', '-' and '.'",
    lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
)
# The upper limits are far beyond any sensible run; they keep a typing error from exhausting the memory.
_MOST = 1_000_000
NEVER = _MOST  # as an interval in epochs, it is longer than any training
COUNT = integer(1, _MOST)
COUNT_OR_0 = integer(0, _MOST)
FOLDS = Rule(
    "0 for none, or a whole number from 2 to 1000",
    lambda value: _is_integer(value) and (value == 0 or 2 <= value <= 1000),
)
ONE_OR_FIVE = Rule("1 or 5", lambda value: _is_integer(value) and value in (1, 5))
FEW = integer(1, 64)
FEW_OR_NONE = integer(0, 64)
BATCH_SIZE = integer(1, 65_536)
CHANNELS = integer(1, 1024)
COUNT_OR_ALL = Rule(f"{COUNT.allowed}, or None for all images", lambda value: value is None or COUNT.holds(value))
SEED = integer(0, LARGEST_SEED)
SMALLEST_SIDE, SIDE_MULTIPLE = 8, 4  # pixels
SIDE = integer(SMALLEST_SIDE, 1024, multiple_of=SIDE_MULTIPLE)
POSITIVE = _number("a number above 0 and up to 1e30", lambda value: 0 < value <= 1e30)
NOT_NEGATIVE = _number("a number from 0 to 1e30", lambda value: 0 <= value <= 1e30)
BELOW_ONE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)
BETWEEN_0_AND_1 = _number("a number between 0 and 1", lambda value: 0 < value < 1)
PROBABILITY = _number("a number from 0 to 1", lambda value: 0 <= value <= 1)
ABOVE_0_UP_TO_1 = _number("a number above 0 and up to 1", lambda value: 0 < value <= 1)
UP_TO_HALF = _number("a number from 0 to 0.5", lambda value: 0 <= value <= 0.5)
UP_TO_100 = _number("a number from 0 to 100", lambda value: 0 <= value <= 100)
INCREASING_SHARES = Rule("increasing numbers between 0 and 1, such as (0.3, 0.6)", _increasing_shares)
