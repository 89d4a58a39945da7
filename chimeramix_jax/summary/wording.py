"""How summaries speak of numbers of images, seeds and values of settings."""

from collections.abc import Sequence
from typing import Any

NOT_SET = "not set"  # stands for the value of a setting that another version of the program does not have


def images_in_words(images_per_class: int | None) -> str:
    """Formats a number of images per class: "5", or "all"."""
    return "all" if images_per_class is None else str(images_per_class)


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Formats seeds in increasing order: "seed 0", or "seeds 0, 1"."""
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, sorted(seeds)))


def value_in_words(value: Any) -> str:
    """Formats the value of a setting; an empty text as two quotation marks."""
    return "(" + ", ".join(map(str, value)) + ")" if isinstance(value, tuple) else str(value) or "''"
