"""Classifying image files with the classifier that a run has trained."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import catalog
from chimeramix_jax.data import image_paths
from chimeramix_jax.data.image_files import read_square_rgb
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training import classifier as training

MOST_CLASSES = 5  # of an image that are told

Probabilities = Float[np.ndarray, "batch classes"]


@dataclass(frozen=True)
class Prediction:
    """What a classifier makes of an image.

    Attributes:
        path: the image's file.
        classes: the most probable ones, the most probable first: five, or all where there are fewer.
        probabilities: of each of them, in [0, 1].
    """

    path: Path
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict(
    workdir: str | os.PathLike[str],
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    config: ConfigDict | None = None,
    on_unreadable: Callable[[InputError], None] | None = None,
) -> list[Prediction]:
    """Classifies images, prepared as those of an image folder and of the test split are.

    Args:
        workdir: the directory of a run with a finished classifier.
        images: files, folders and patterns; see ``data.image_paths.find``.
        config: settings that have to be the run's in all that affects its results; None: the run's own.
        on_unreadable: is called with the error of each image that cannot be read, and the others are classified; None:
            the first such error is raised.

    Returns:
        One prediction for each image that could be read, in the order of ``image_paths.find``.

    Raises:
        InputError: there is no finished classifier in the directory, or an image cannot be read.
    """
    directory = Workdir(workdir)
    run = directory.read_config() if config is None else config
    directory.refuse_other_settings(run)
    settings.check(run, environment=False, stored=True)
    paths = image_paths.find(images)
    trained = _finished(directory, run)
    classify = _compiled(trained.network, run.precision)
    batch_size = min(run.evaluation.batch_size, len(paths))
    predictions = []
    for found, pixels in _batches(run, paths, batch_size, on_unreadable):
        missing = batch_size - len(found)  # filled up with black images, so that one program serves all batches
        probabilities = classify(np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0))))
        predictions += [
            _most_probable(path, row, trained.class_names) for path, row in zip(found, probabilities, strict=False)
        ]
        stopping.raise_if_asked()
    return predictions


def _finished(directory: Workdir, config: ConfigDict) -> TrainedClassifier:
    """The run's classifier, if it has been trained to its last epoch."""
    unfinished = InputError(f"{directory.classifier}: holds no finished classifier; train it with --stage=classifier")
    if not directory.classifier.exists():
        raise unfinished
    trained = TrainedClassifier.newest(directory.classifier)
    if trained.epochs < config.classifier.epochs:
        raise unfinished
    return trained


def _compiled(
    classifier: Classifier, precision: str
) -> Callable[[UInt8[np.ndarray, "batch side side 3"]], Probabilities]:
    """A function from images in 0..255 to the probabilities of all classes."""
    graph, (parameters, statistics) = nnx.graphdef(classifier), nnx.state(classifier, nnx.Param, nnx.BatchStat)

    def probabilities(parameters, statistics, images):
        return jax.nn.softmax(training.predict(graph, parameters, statistics, images).astype(jnp.float32))

    program = jax.jit(probabilities)

    def classify(images: UInt8[np.ndarray, "batch side side 3"]) -> Probabilities:
        with computing(precision):
            return np.asarray(program(parameters, statistics, images))

    return classify


def _most_probable(path: Path, probabilities: Float[np.ndarray, "classes"], names: tuple[str, ...]) -> Prediction:
    best = np.argsort(-probabilities, kind="stable")[:MOST_CLASSES]
    return Prediction(path, tuple(names[label] for label in best), tuple(probabilities[best].tolist()))


def _batches(
    config: ConfigDict, paths: list[Path], size: int, on_unreadable: Callable[[InputError], None] | None
) -> Iterator[tuple[list[Path], UInt8[np.ndarray, "batch side side 3"]]]:
    """Reads as many images at once as are classified at once; those that cannot be read are left out."""
    read = partial(_read, catalog.stored_image_side(config.dataset))
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        for start in range(0, len(paths), size):
            found, pixels = [], []
            chunk = paths[start : start + size]
            for path, image in zip(chunk, readers.map(read, chunk), strict=True):
                if isinstance(image, InputError):
                    if on_unreadable is None:
                        raise image
                    on_unreadable(image)
                else:
                    found.append(path)
                    pixels.append(image)
            if found:
                yield found, resize(np.stack(pixels), config.classifier.image_side)


def _read(side: int, path: Path) -> UInt8[np.ndarray, "side side 3"] | InputError:
    """An image, or what is wrong with it, since a thread pool's results end at the first error that is raised."""
    try:
        return np.asarray(read_square_rgb(path, side, named_by="--images"))
    except InputError as error:
        return error
