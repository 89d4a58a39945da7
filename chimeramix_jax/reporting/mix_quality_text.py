"""Says how good the generator's mixes are, beside new photos."""

from collections.abc import Mapping
from typing import Any

from chimeramix_jax.reporting.clustered import accuracy_interval
from chimeramix_jax.reporting.splits import split_name
from chimeramix_jax.reporting.statistics import is_significant, percent

_OR_PATCHES = " or works on patches (--config.generator.architecture=patches)"


def in_words(results: Mapping[str, Any], split: str) -> str:
    """Returns what was measured; empty without mixes of a generator, or without a baseline that could recognise them.

    Args:
        results: the content of ``results.json``.
        split: the images that the baseline was evaluated on, as the key of their metrics.
    """
    if "mixes" not in results:
        return ""
    mixes, baseline = results["mixes"], results["baseline"][split]
    recognized = percent(mixes["recognized"], mixes["examples"])
    return (
        f"The baseline, which was trained without mixes, recognises the class of {recognized} of {mixes['examples']} "
        f"mixes and of {percent(baseline['top1'], baseline['examples'])} of the {split_name(split)} images."
    )


def distance_in_words(results: Mapping[str, Any]) -> str:
    """Returns how new the mixes are; empty if they were not measured."""
    if "mixes" not in results:
        return ""
    distance = results["mixes"]["distance"]
    return f"A mix differs from the nearest of its images by {distance:.0%} of what two images of a class differ by."


def warning(results: Mapping[str, Any], split: str) -> str:
    """Returns a warning if mixes are recognised less often than new images, and an empty text otherwise.

    Less often means that the 95 % intervals do not overlap. If the classifier is significantly better than the baseline
    all the same, there is nothing to warn of. The arguments are those of ``in_words``.
    """
    if "mixes" not in results or _gained(results):
        return ""
    mixes, baseline = results["mixes"], results["baseline"][split]
    if accuracy_interval(mixes, mixes["recognized"]).high >= accuracy_interval(baseline, baseline["top1"]).low:
        return ""
    patches = "" if results["config"]["generator"]["architecture"] == "patches" else _OR_PATCHES
    return (
        "So the mixes show their class less clearly than photos do, and a classifier that learns from them may become "
        f"worse. A generator that is trained for longer (--config.generator.epochs){patches} may make clearer mixes; "
        "other recipes do not mix at all."
    )


def _gained(results: Mapping[str, Any]) -> bool:
    """Returns whether the classifier is significantly better than the baseline."""
    paired = results.get("against_baseline")
    if paired is None:
        return False
    return paired["only_classifier_right"] > paired["only_baseline_right"] and is_significant(paired["mcnemar_p"])
