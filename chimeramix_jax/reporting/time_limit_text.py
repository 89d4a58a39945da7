"""Says in words what was left out of a training so that it ended in time."""

from collections.abc import Mapping
from typing import Any


def epochs_left_out(results: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each stage that left out epochs, given the content of ``results.json``; most have none."""
    sentences, settings = [], results.get("config", {})
    for part, left_out in results.get("epochs_left_out", {}).items():
        if left_out:
            planned = settings[part]["epochs"] * settings[part].get("members", 1)
            left_out_of = f"{left_out} of the {planned} epochs were left out to keep to the time"
            sentences.append(f"{part}: {left_out_of}, since steps took longer than when the epochs were planned")
    return sentences
