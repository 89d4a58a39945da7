"""Settings that earlier versions had: what to write instead, and what a stored run means by them."""

from collections.abc import Mapping
from typing import Any

# What is said to somebody who sets one.
RETIRED: Mapping[str, str] = {
    "mixing.share": (
        "no longer a setting; a batch is now mixed as a whole, with mixing.probability (0.5 as published; 1.0 mixes "
        "every batch, as mixing.share=1.0 did)"
    )
}


def translated(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Reads stored settings, with dotted keys, in today's terms.

    Runs from before ``mixing.probability`` mixed every batch: as a whole, or a share of it. The latter is not what any
    probability does, so that such a share stays beside the probability, which is what it comes to on average: the run
    can be used, and is not taken for another one.
    """
    settings = dict(stored)
    if "mixing.probability" not in settings and "mixing.mask" in settings:
        share = settings.pop("mixing.share", 1.0)
        settings["mixing.probability"] = share
        if share != 1.0:
            settings["mixing.share"] = share
    return settings
