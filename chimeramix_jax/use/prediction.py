"""Classifies image files with the classifier of a finished run."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.config import catalog
from chimeramix_jax.data import image_paths
from chimeramix_jax.data.image_files import read_square_rgb
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.runs.calibration import temperature_of
from chimeramix_jax.runs.restore import finished_classifier, source_of
from chimeramix_jax.runtime import stopping
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training import classifier as training
from chimeramix_jax.use.explanation import explaining
from chimeramix_jax.use.labelled_folders import true_classes
from chimeramix_jax.use.prediction_formats import Prediction

MOST_CLASSES = 5  # reported per image

Probabilities = Float[np.ndarray, "batch classes"]


def predict(
    workdir: str | os.PathLike[str],
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    config: ConfigDict | None = None,
    on_unreadable: Callable[[InputError], None] | None = None,
    explain: str | os.PathLike[str] | None = None,
    reject_below: float | None = None,
) -> list[Prediction]:
    """Classifies image files, which are prepared like those of an image folder's test split.

    Probabilities are calibrated by the run's temperature, if it has one (``docs/calibration.md``).

    Args:
        workdir: the directory of a run with a finished classifier, or a model file.
        images: files, folders and patterns; see ``data.image_paths.find``.
        config: settings, which must equal the run's in everything that affects results; None: the run's own settings.
        on_unreadable: called with the error of each image that cannot be read, while the others are classified; None:
            the first such error is raised.
        explain: a new or empty folder for pictures of what speaks for each image's class, and a table of them; see
            ``use.explanation``. None: no pictures.
        reject_below: the answer for images whose most probable class has a lower probability than this, from 0 to 1,
            is "none of these"; None: every image is answered with its most probable class.

    Returns:
        One prediction for each image that could be read, in the order of ``image_paths.find``.

    Raises:
        InputError: there is no finished classifier, an image cannot be read, ``explain`` is not empty, or
            ``reject_below`` is not from 0 to 1.
        Stopped: the program was asked to stop.
    """
    if reject_below is not None and not 0 <= reject_below <= 1:
        raise InputError(f"reject_below: {reject_below!r}; it must be a number from 0 to 1")
    source = source_of(workdir)
    config = source.settings_like(config)
    temperature = temperature_of(source)
    paths = image_paths.find(images)
    trained = finished_classifier(source, config)
    true_class = true_classes(paths, trained.class_names)
    classify = _compiled(trained.network, config, temperature)
    batch_size = min(config.evaluation.batch_size, len(paths))
    predictions = []
    with explaining(explain, trained.network, trained.class_names, config.precision, temperature) as explainer:
        for read_paths, pixels in _batches(config, paths, batch_size, on_unreadable):
            missing = batch_size - len(read_paths)  # padded with black images, so that one program serves all batches
            padded = np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0)))
            probabilities = classify(padded)
            if explainer is not None:
                explainer.add(read_paths, padded, probabilities, [true_class.get(path) for path in read_paths])
            for path, row in zip(read_paths, probabilities, strict=False):
                best = np.argsort(-row, kind="stable")[:MOST_CLASSES]
                names, shares = tuple(trained.class_names[label] for label in best), tuple(row[best].tolist())
                answered = None if reject_below is None else shares[0] >= reject_below
                predictions.append(Prediction(path, names, shares, true_class.get(path), answered))
            stopping.raise_if_asked()
    return predictions


def _compiled(
    classifier: Classifier, config: ConfigDict, temperature: float
) -> Callable[[UInt8[np.ndarray, "batch side side 3"]], Probabilities]:
    """Returns a compiled function from images in 0..255 to the probabilities of all classes, at a temperature."""
    graph, (parameters, statistics) = nnx.graphdef(classifier), nnx.state(classifier, nnx.Param, nnx.BatchStat)

    def probabilities(parameters, statistics, images):
        logits = training.predict(graph, parameters, statistics, images, config.evaluation.mirror)
        return jax.nn.softmax(logits.astype(jnp.float32) / temperature)

    program = jax.jit(probabilities)

    def classify(images: UInt8[np.ndarray, "batch side side 3"]) -> Probabilities:
        with computing(config.precision):
            return np.asarray(program(parameters, statistics, images))

    return classify


def _batches(
    config: ConfigDict, paths: list[Path], size: int, on_unreadable: Callable[[InputError], None] | None
) -> Iterator[tuple[list[Path], UInt8[np.ndarray, "batch side side 3"]]]:
    """Yields the images that can be read, in batches of at most ``size``, with their paths."""
    read = partial(_read, catalog.stored_image_side(config.dataset))
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        for start in range(0, len(paths), size):
            read_paths, pixels = [], []
            chunk = paths[start : start + size]
            for path, image in zip(chunk, readers.map(read, chunk), strict=True):
                if isinstance(image, InputError):
                    if on_unreadable is None:
                        raise image
                    on_unreadable(image)
                else:
                    read_paths.append(path)
                    pixels.append(image)
            if read_paths:
                yield read_paths, resize(np.stack(pixels), config.classifier.image_side)


def _read(side: int, path: Path) -> UInt8[np.ndarray, "side side 3"] | InputError:
    """Reads an image; returns errors instead of raising them, since a raised error would end the pool's results."""
    try:
        return np.asarray(read_square_rgb(path, side, named_by="--images"))
    except InputError as error:
        return error
