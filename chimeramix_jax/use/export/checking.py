"""Checks an exported file on held-out images: it must give the probabilities that ``predict`` gives for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import ProgressOfLongWork
from chimeramix_jax.runtime import stopping
from chimeramix_jax.use.export.program import Program, of_squares

TOLERANCE = 1e-4  # of a probability
HALF_TOLERANCE = 1e-2  # the same with float16 weights

MOST_IMAGES = 1000  # that are compared, evenly spaced among the held-out images
_BATCH_SIZE = 100
_PHOTOS = 4  # images that are also enlarged to each of these shapes
# Height and width, in sides of the stored images. Not taller, because Pillow's versions differ there (squaring.py).
_PHOTO_SHAPES = ((2.3, 3.1), (2.8, 2.2))

Pixels = UInt8[np.ndarray, "batch height width 3"]
Runner = Callable[[Pixels], Float[np.ndarray, "batch classes"]]
_Batch = tuple[Int[np.ndarray, "batch"], Pixels]  # the places of images, and the images


@dataclass(frozen=True)
class Agreement:
    """How well a file agrees with the classifier."""

    images: int  # the number of images compared
    difference: float  # the largest difference of a probability
    kind: str = "held-out"  # of images
    near_ties: int = 0  # images with another class, whose two most probable classes are nearly equal


def check(program: Program, run_file: Runner, held_out: Pixels, kind: str = "held-out") -> Agreement:
    """Compares a file with its program's classifier on held-out images, as they are stored and some also enlarged.

    Raises InputError unless all probabilities agree within the tolerance. Then a class can only be another one where
    the two most probable differ by no more than twice the tolerance; such images are counted.
    """
    tolerance = HALF_TOLERANCE if program.half else TOLERANCE
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(len(held_out), MOST_IMAGES)).round().astype(int)]
    of_program = partial(of_squares, program.network, views=program.views, temperature=program.temperature)
    classify, largest, near_ties = jax.jit(of_program), 0.0, set[int]()
    for places, images in _shown(_batches(chosen), len(chosen)):
        expected, actual = np.asarray(classify(_prepared(images, program))), run_file(images)
        stopping.raise_if_asked()
        difference = np.abs(expected - actual).max() if actual.shape == expected.shape else np.inf
        largest = max(largest, float(difference))
        if not difference <= tolerance:
            raise InputError(
                f"--stage=export: the file's probabilities differ by up to {difference:.1g} from the classifier's, "
                f"more than the {tolerance:g} allowed, so it was not written"
            )
        near_ties.update(places[expected.argmax(axis=1) != actual.argmax(axis=1)].tolist())
    return Agreement(len(chosen), largest, kind, len(near_ties))


def _shown(batches: Iterator[_Batch], images: int) -> Iterator[_Batch]:
    """Yields the batches, and shows on standard error how many of the images are compared, if that takes long."""
    done = 0
    with ProgressOfLongWork("export: comparing", images, "image") as progress:
        for batch in batches:
            progress.update(min(done, images))
            yield batch
            done += len(batch)
        progress.update(images)


def _batches(images: Pixels) -> Iterator[_Batch]:
    """Yields the images in batches of equal size, the last filled up with the first, then enlarged ones.

    Each batch is with the places of its images.
    """
    size = min(_BATCH_SIZE, len(images))
    for start in range(0, len(images), size):
        places = np.arange(start, start + size)
        places[places >= len(images)] -= len(images)
        yield places, images[places]
    side = images.shape[1]
    for height, width in _PHOTO_SHAPES:
        shape = round(width * side), round(height * side)
        enlarged = [np.asarray(Image.fromarray(image).resize(shape)) for image in images[:_PHOTOS]]
        yield np.arange(len(enlarged)), np.stack(enlarged)


def _prepared(images: Pixels, program: Program) -> UInt8[np.ndarray, "batch side side 3"]:
    """Returns the images as ``predict`` prepares photos."""
    side = program.sides[0]
    fitted = np.stack([np.asarray(squared(Image.fromarray(image), side, program.fit)) for image in images])
    return resize(fitted, program.sides[-1])
