"""Says how a classifier was calibrated, in the line that the command line prints after a run."""

from collections.abc import Mapping
from typing import Any

from chimeramix_jax.reporting.splits import split_name
from chimeramix_jax.reporting.statistics import percent

_EXACT = 1000  # errors get one decimal, as accuracies on this many images do


def closing_line(calibration: Mapping[str, Any]) -> str:
    """Returns the line, given the part of the results about the calibration."""
    if "before" not in calibration:
        return f"probabilities: {_as_continuation(calibration['explanation'])}"
    before = percent(calibration["before"]["error"], _EXACT)
    if calibration["temperature"] is None:
        return f"probabilities: calibration error {before}; {_as_continuation(calibration['explanation'])}"
    source, after = calibration["fitted_on"], calibration["after"]
    return (
        f"probabilities: temperature {calibration['temperature']:.2f}, from {calibration['fitted_images']} "
        f"{split_name(source)} images; calibration error {percent(after['error'], _EXACT)}, without the "
        f"temperature {before}; chance alone would give up to {percent(after['error_by_chance'], _EXACT)}"
    )


def _as_continuation(sentence: str) -> str:
    """Returns a sentence as the end of another one."""
    return sentence[0].lower() + sentence[1:].removesuffix(".")
