"""What is said about an ensemble: how accurate its members are alone."""

from collections.abc import Mapping
from typing import Any

from chimeramix_jax.reporting import statistics


def members_in_words(members: Mapping[str, Any] | None, examples: int) -> str:
    """Returns a sentence about the members, as the results describe them; empty if there is a single network.

    ``examples`` is the number of images that the accuracies were measured on.
    """
    if not members or not members.get("top1"):
        return ""
    accuracies = members["top1"]
    mean, low, high = (
        statistics.percent(value, examples)
        for value in (sum(accuracies) / len(accuracies), min(accuracies), max(accuracies))
    )
    return f"an ensemble of {len(accuracies)} networks, each of which alone has {mean} on average ({low} to {high})"
