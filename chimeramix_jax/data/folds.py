"""Divides training images into folds by their content: each fold is predicted by a model trained on the others.

What is said here of an image holds for a unit of images that are not to be separated (``kept_together``), too, such as
copies of an image: its images count once.

Every pair of an image and a fold has a number, hashed from the image's pixels, the seed and the fold. The pairs are
taken from the highest number to the lowest, and an image joins the fold if it is in none yet and the fold has a place
left for its class. The division therefore does not depend on names of files, dates or the order of the images, and:

1. All copies of an image are in the same fold, even copies in other classes.
2. The folds' numbers of different images of a class differ by one at most, except where classes have copies of each
   other's images.
3. Adding images to other classes never moves an image, unless a copy of it is added. A new image in a class of
   *n* images may take another image's place, which then moves on in the same way: with five folds, one other moves on
   average, whatever *n* is, and with ten folds two. Dealing the images in a shuffled order would move most of them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64

from chimeramix_jax.data.content_numbers import classes_of_images, number_of
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.wording import counted


def fold_of_each(
    images: Sequence[str],
    labels: Int[np.ndarray, "examples"],
    count: int,
    seed: str,
    class_names: Sequence[str],
) -> Int64[np.ndarray, "examples"]:
    """Returns the fold of every image, from 0, by the rules above; raises InputError if a class has too few images.

    Args:
        images: the name of each image, the same for images that are not to be separated, from ``kept_together``.
        labels: the class of each image.
        count: the number of folds, at least 2.
        seed: the seed of the division.
        class_names: by label.
    """
    classes = classes_of_images(images, labels)
    members = [{image for image in classes if label in classes[image]} for label in range(len(class_names))]
    smallest = min(range(len(members)), key=lambda label: len(members[label]))
    if len(members[smallest]) < count:
        raise InputError(
            f"folds: {count}, but class {class_names[smallest]!r} has only "
            f"{counted(len(members[smallest]), 'different training image')} (copies and groups count once); "
            f"{_allowed(len(members[smallest]))}"
        )
    scores = {image: [number_of(f"{seed} {fold} {image}") for fold in range(count)] for image in classes}
    chosen = {image: int(np.argmax(scores[image])) for image in classes if len(classes[image]) > 1}
    for label, name in enumerate(class_names):
        own = members[label] - chosen.keys()
        taken = np.bincount([chosen[image] for image in members[label] & chosen.keys()], minlength=count)
        places = _places(taken, len(own), [number_of(f"{seed} {fold} class {name}") for fold in range(count)])
        chosen |= _joined(own, scores, places)
        if len({chosen[image] for image in members[label]}) == 1:
            raise InputError(
                f"folds: {count}, but all training images of class {name!r} are in one fold, because other classes "
                "have copies of them; remove these"
            )
    return np.array([chosen[image] for image in images], np.int64)


def filled_training_positions(
    folds: Int64[np.ndarray, "examples"], labels: Int[np.ndarray, "examples"], held_out: int
) -> Int64[np.ndarray, "training"]:
    """Returns the positions of the training images of a fold, some of them twice, so that all folds have equally many.

    Each class is filled up to its largest number of training images in any fold, by repeating its first ones. Then the
    arrays of all folds have the same shapes, and one compiled program serves them all.

    Args:
        folds: the fold of every image.
        labels: the class of every image.
        held_out: the fold that is not trained on.
    """
    positions = np.flatnonzero(folds != held_out)
    classes = int(labels.max()) + 1
    by_fold = np.zeros((int(folds.max()) + 1, classes), np.int64)
    np.add.at(by_fold, (folds, labels), 1)
    most = (by_fold.sum(axis=0) - by_fold).max(axis=0)
    filling = []
    for label in range(classes):
        of_class = positions[labels[positions] == label]
        filling.append(np.resize(of_class, most[label])[len(of_class) :])
    return np.concatenate([positions, *filling])


def _allowed(images: int) -> str:
    """Says what the smallest class allows."""
    if images < 2:
        return "folds need at least two images of every class"
    return "folds must be 2" if images == 2 else f"folds must be from 2 to {images}"


def _places(taken: Int[np.ndarray, "folds"], images: int, order: Sequence[int]) -> list[int]:
    """Returns how many of a class's own images each fold takes: as evenly as possible, the lowest in order first."""
    filled = taken.tolist()
    for _ in range(images):
        filled[min(range(len(filled)), key=lambda fold: (filled[fold], order[fold]))] += 1
    return [after - before for after, before in zip(filled, taken.tolist(), strict=True)]


def _joined(images: set[str], scores: dict[str, list[int]], places: list[int]) -> dict[str, int]:
    """Lets images join folds with free places, the pairs with the highest scores first."""
    pairs = sorted((-score, image, fold) for image in images for fold, score in enumerate(scores[image]))
    joined: dict[str, int] = {}
    for _, image, fold in pairs:
        if image not in joined and places[fold]:
            joined[image] = fold
            places[fold] -= 1
    return joined
