"""Says in words what was left out of a training so that it ended in time."""

from collections.abc import Mapping
from typing import Any


def epochs_left_out(results: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each stage that left out epochs, given the content of ``results.json``.

    Most runs have none, and those of earlier versions do not say how many.
    """
    sentences = []
    for part, left_out in results.get("epochs_left_out", {}).items():
        if left_out:
            settings = results["config"][part]
            planned = settings["epochs"] * settings.get("members", 1)  # a generator has no members
            left_out_of = f"{left_out} of the {planned} epochs were left out to keep to the time"
            sentences.append(f"{part}: {left_out_of}, since steps took longer than when the epochs were planned")
    return sentences
