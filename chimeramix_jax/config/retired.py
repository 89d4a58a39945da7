"""Settings of earlier versions: what replaces them, and how to read them in stored runs."""

from collections.abc import Mapping
from typing import Any

# The error message for users who set them.
RETIRED: Mapping[str, str] = {
    "mixing.share": (
        "no longer a setting; a batch is now mixed as a whole, with mixing.probability (0.5 as published; 1.0 mixes "
        "every batch, as mixing.share=1.0 did)"
    )
}


def translated(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Converts stored settings, with dotted keys, to today's settings.

    Runs from before ``mixing.probability`` mixed every batch, either as a whole or a share of its images. No
    probability is equivalent to such a share. The share is therefore kept, and the probability is set to the same
    average: the run can still be used, and does not equal any run of today.
    """
    settings = dict(stored)
    if "mixing.probability" not in settings and "mixing.mask" in settings:
        share = settings.pop("mixing.share", 1.0)
        settings["mixing.probability"] = share
        if share != 1.0:
            settings["mixing.share"] = share
    return settings
