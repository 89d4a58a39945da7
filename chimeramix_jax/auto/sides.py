"""Chooses the side of the final model's images by the time that is left for it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ml_collections import ConfigDict

from chimeramix_jax.auto.halving import Cost, Schedule, schedules

# A side is used if the time is enough for this share of the recipe's usual epochs at it. More pixels show more of a
# photo, but each step at them takes longer: with a quarter of the epochs, twice the side lost 2 to 10 points on three
# sets of photos (docs/results.md, "Larger images in the same time"). Shares between a quarter and 1 were not tried.
LEAST_SHARE = 1.0


def config_at(config: ConfigDict, side: int) -> ConfigDict:
    """Returns settings whose images have another side, in pixels; lengths that belong to the images scale with it."""
    changed = copy.deepcopy(config)
    changed.augment.cutout_side = max(round(config.augment.cutout_side * side / config.dataset.image_side), 1)
    changed.dataset.image_side = changed.classifier.image_side = side
    return changed


def cost_at(cost: Cost, before: int, side: int, measuring: float) -> Cost:
    """Returns the cost of a recipe without a generator at another side: times are proportional to an image's pixels.

    ``measuring`` is the part of the set-up in which the test images are classified, in seconds.
    """
    more = (side / before) ** 2
    setup = cost.setup + (more - 1) * measuring
    return replace(cost, setup=setup, classifier_epoch=cost.classifier_epoch * more)


def chosen(
    image_side: int,
    larger: Sequence[int],
    of_photos: int,
    seconds: float,
    cost: Cost,
    usual: Schedule,
    measuring: float,
) -> int:
    """Returns the largest side at which the time is enough for ``LEAST_SHARE`` of the usual epochs.

    Args:
        image_side: the side that needs no reason, in pixels.
        larger: the sides that may be chosen instead.
        of_photos: the median of the photos' shorter sides, in pixels; enlarged photos show nothing more.
        seconds: the time for the final training.
        cost: of the recipe at ``image_side``; it has no generator.
        usual: its usual schedule.
        measuring: the part of the set-up in which the test images are classified, in seconds.
    """
    affordable = [
        side
        for side in larger
        if side <= of_photos
        and _epochs(seconds, cost_at(cost, image_side, side, measuring), usual) >= LEAST_SHARE * usual.classifier
    ]
    return max([image_side, *affordable])


def _epochs(seconds: float, cost: Cost, usual: Schedule) -> int:
    recipe: Mapping[str, Cost] = {"": cost}
    return schedules(seconds, 1, recipe, {"": usual}, {"": ""})[""].classifier
