"""Chooses the held-out images of a folder without a test part, by their content.

What is said here of an image holds for a unit of images that are not to be separated (``kept_together``), too, such as
copies of an image: its images count once.

Every distinct image has a number between 0 and 1, hashed from its pixels and the seed. It is held out if that number is
below the requested share. The choice therefore does not depend on other images, names or dates, except that small
classes need a minimum and a maximum. For every class the following holds:

1. All copies of an image are on the same side, even copies in other classes.
2. At least one image is held out and at least one is kept, if the class has two different images. If classes consist of
   copies of each other's images, this may be impossible; then the folder is refused.
3. Of the images that are in no other class, only so many are held out that the class stays within twice the requested
   share, rounded up: a class of five images does not lose most of them.
4. Adding images to other classes never moves an image, unless a copy of it is added. Within a class, new images move
   others only while rules 2 and 3 overrule the numbers: if no number is below the share, the image with the lowest
   number is held out until a new number is below the share; if too many are below it, only the lowest are held out
   until the class has grown. With a share of 0.2 this applies to 39 % of classes with five images, 14 % with ten, 2 %
   with twenty and 0.03 % with fifty.

Without stored state more is impossible: a rule that splits every pair of images and never moves an image when a third
one is added would have to split three images so that every two of them are on different sides.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from chimeramix_jax.data.content_numbers import NUMBERS, classes_of_images, number_of
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.wording import counted


def held_out(
    images: Sequence[str],
    labels: Int[np.ndarray, "examples"],
    share: float,
    seed: str,
    class_names: Sequence[str],
) -> Bool[np.ndarray, "examples"]:
    """Returns whether each image is held out, by the rules above; raises InputError if a class cannot be divided.

    Args:
        images: the name of each image, the same for images that are not to be separated, from ``kept_together``.
        labels: the class of each image.
        share: the requested share of each class's distinct images, above 0 and below 1.
        seed: the seed of the images' numbers.
        class_names: by label, for error messages.
    """
    classes = classes_of_images(images, labels)
    numbers = {image: number_of(f"{seed} {image}") / NUMBERS for image in classes}  # from 0 to below 1
    out = {image for image in classes if len(classes[image]) > 1 and numbers[image] < share}
    members = {
        class_names[label]: sorted((image for image in classes if label in classes[image]), key=numbers.__getitem__)
        for label in np.unique(labels).tolist()  # a published data set may name classes of which it has no images
    }
    for distinct in members.values():
        own = [image for image in distinct if len(classes[image]) == 1]
        most = max(math.ceil(2 * share * len(distinct) - 1e-9), 1) - len(out.intersection(distinct))
        below = sum(numbers[image] < share for image in own)
        out.update(own[: max(min(below, most), 0)])
        if not out.intersection(distinct):
            out.add(next(iter(own or distinct)))
        elif out.issuperset(distinct):
            out.remove((own or distinct)[-1])
    for name, distinct in members.items():
        if out.isdisjoint(distinct) or out.issuperset(distinct):
            raise InputError(
                f"dataset.holdout_fraction: class {name!r} cannot be divided: it has "
                f"{counted(len(distinct), 'different image')} (copies and groups count once); without test images "
                "each class needs two of its own, one to train and one to test"
            )
    return np.array([image in out for image in images], dtype=bool)
