"""Classifies images with the classifier of a finished run."""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.config import catalog
from chimeramix_jax.data.image_files import UnreadableFilesError
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import ProgressOfLongWork
from chimeramix_jax.runs.calibration import temperature_of
from chimeramix_jax.runs.restore import finished_classifier, source_of, training_images
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training.prediction import CompiledClassifier
from chimeramix_jax.use import outputs
from chimeramix_jax.use.explanation import Explainer, explaining
from chimeramix_jax.use.images import Images, Named, kept, named, squares
from chimeramix_jax.use.prediction_formats import Prediction

MOST_NAMED = 5  # unreadable images in an error

_Item = TypeVar("_Item")

Probabilities = Float[np.ndarray, "batch classes"]
Row = Float[np.ndarray, "classes"]
Pixels = UInt8[np.ndarray, "batch side side 3"]


def predict(
    workdir: str | os.PathLike[str],
    images: Images,
    *,
    config: ConfigDict | None = None,
    explain: str | os.PathLike[str] | None = None,
    reject_below: float | None = None,
    most_classes: int | None = None,
) -> list[Prediction]:
    """Classifies images, which are prepared like those of an image folder's test split.

    Restores the classifier in every call; a ``Predictor`` restores it once. Where it takes long, standard error shows
    the progress.

    Probabilities are calibrated by the run's temperature, if it has one (``docs/calibration.md``).

    Args:
        workdir: the directory of a run with a finished classifier, or a model file.
        images: an image or an iterable of images: files, folders and patterns (see ``data.image_paths``), images
            of Pillow, and arrays of uint8 in 0..255 with shape (height, width, 3) in RGB order, (height, width, 4) with
            opacity, or (height, width) in grey. They may differ in kind and size. An array of shape (images, height,
            width, channels) is several images.
        config: settings, which must equal the run's in everything that affects results; None: the run's own settings.
        explain: a new or empty folder for pictures of what speaks for each file's class, and a table of them; see
            ``use.explanation``. It must not be where the pictures would be taken for photos, in a folder of ``images``
            or of the run's images. None: no pictures.
        reject_below: the answer for images whose most probable class has a lower probability than this, from 0 to 1,
            is "none of these"; None: every image is answered with its most probable class.
        most_classes: how many of the most probable classes a prediction has, at least 1, which saves memory if there
            are many classes and images; None: all.

    Returns:
        A prediction for each image, in order; ``error`` of those that could not be read says why. An element of an
        iterable has exactly one, unless it is a folder or a pattern with matches: it has one for each of their files,
        sorted, and each once. A string may name several, separated by commas, and has one for each file.

    Raises:
        InputError: there is no finished classifier, no image can be read, a folder or pattern leads to no image,
            ``explain`` is not empty, or ``reject_below`` or ``most_classes`` is not allowed.
        Stopped: the program was asked to stop.
    """
    _check(reject_below, most_classes)
    predictor = Predictor(workdir, config=config)
    return predictor._predictions(images, explain, reject_below, most_classes, shows_progress=True)


class Predictor:
    """A trained classifier, restored once to classify images many times, also in several threads at the same time.

    Batches have powers of two as sizes, up to ``evaluation.batch_size``, and are padded. Each size is compiled when it
    is first needed, which takes seconds.
    """

    def __init__(self, workdir: str | os.PathLike[str], *, config: ConfigDict | None = None):
        """Restores the classifier; the arguments and errors are those of ``predict``."""
        source = source_of(workdir)
        self.config = source.settings_like(config)
        trained = finished_classifier(source, self.config)
        self.class_names: tuple[str, ...] = trained.class_names  # in the order of the classifier's logits
        self.network = trained.network
        self.temperature = temperature_of(source)  # 1 if none was fitted
        self._classifier = CompiledClassifier(trained.network, self.config)
        self._training_images = training_images(source, trained)  # None: not recorded
        self._compiled_sizes: set[int] = set()
        self._compiling = threading.Lock()

    def predict(
        self,
        images: Images,
        *,
        explain: str | os.PathLike[str] | None = None,
        reject_below: float | None = None,
        most_classes: int | None = None,
    ) -> list[Prediction]:
        """Classifies images like the function ``predict``, and raises the same errors, but shows no progress."""
        return self._predictions(images, explain, reject_below, most_classes)

    def _predictions(
        self,
        images: Images,
        explain: str | os.PathLike[str] | None,
        reject_below: float | None,
        most_classes: int | None,
        *,
        shows_progress: bool = False,
    ) -> list[Prediction]:
        _check(reject_below, most_classes)
        if explain is not None:
            images = kept(images)  # so that all paths can be looked at before the first is classified
            outputs.refuse_among_photos(outputs.target(explain, "--explain"), "--explain", images, self.config)
        with explaining(explain, self.network, self.class_names, self.config, self.temperature) as explainer:
            found = named(images, self.class_names)
            with _progress(found if shows_progress else None) as progress:
                predictions = list(self._classified(found, explainer, reject_below, most_classes, progress))
            _raise_if_all_unreadable(predictions)
        return predictions

    def stream(
        self, images: Images, *, reject_below: float | None = None, most_classes: int | None = None
    ) -> Iterator[Prediction]:
        """Yields what ``predict`` returns, batch by batch, without keeping anything; memory does not depend on length.

        Images that cannot be read are never raised as errors, not even if there are no others. Of an iterator, no more
        than a batch of paths is looked at together, so ``true_class`` is known only where a batch has files of several
        classes; a list is looked at as a whole.
        """
        _check(reject_below, most_classes)
        found = self._found_in_batches(images)
        return self._classified(found, None, reject_below, most_classes, _no_progress)

    def _found_in_batches(self, images: Images) -> Iterator[tuple[Named, object]]:
        yield from named(images, self.class_names, self.config.evaluation.batch_size)

    def _classified(
        self,
        found: Iterable[tuple[Named, object]],
        explainer: Explainer | None,
        reject_below: float | None,
        most_classes: int | None,
        progress: Callable[[int], None],
    ) -> Iterator[Prediction]:
        """Yields the predictions; ``progress`` gets the number of images that are read or, if requested, explained."""
        most, size, dataset = self.config.evaluation.batch_size, 0, self.config.dataset
        side, known = catalog.stored_image_side(dataset), self._training_images
        read = squares(found, side, dataset.fit, with_digests=known is not None)
        if explainer is None:
            read = _counted(read, progress)
        while batch := list(itertools.islice(read, most)):
            size = size or min(1 << (len(batch) - 1).bit_length(), most)  # one program serves all batches
            readable = [image for image, pixels in batch if not isinstance(pixels, InputError)]
            rows: Iterator[Row] = iter(())
            if readable:
                pixels = self._padded([pixels for _, pixels in batch if not isinstance(pixels, InputError)], size)
                probabilities = self._probabilities(pixels)
                if explainer is not None:
                    _explain(explainer, readable, pixels, probabilities, progress)
                rows = iter(probabilities)
            stopping.raise_if_asked()
            for image, result in batch:
                if isinstance(result, InputError):
                    yield Prediction(image.name, image.path, true_class=image.true_class, error=result)
                else:
                    trained_on = None if known is None else image.digest in known
                    yield _prediction(image, next(rows), self.class_names, reject_below, most_classes, trained_on)

    def _padded(self, images: Sequence[UInt8[np.ndarray, "stored stored 3"]], size: int) -> Pixels:
        """Returns images at the classifier's side, with black images added so that there are ``size``."""
        pixels = resize(np.stack(images), self.config.classifier.image_side)
        return np.pad(pixels, ((0, size - len(images)), (0, 0), (0, 0), (0, 0)))

    def _probabilities(self, pixels: Pixels) -> Probabilities:
        """Returns the probabilities of all classes; a new size of batch is compiled by one thread only."""
        if len(pixels) in self._compiled_sizes:
            return np.asarray(self._classifier.probabilities(pixels, self.temperature))
        with self._compiling:
            probabilities = np.asarray(self._classifier.probabilities(pixels, self.temperature))
            self._compiled_sizes.add(len(pixels))
        return probabilities


def _check(reject_below: float | None, most_classes: int | None) -> None:
    if reject_below is not None and not 0 <= reject_below <= 1:
        raise InputError(f"reject_below: {reject_below!r}; it must be a number from 0 to 1")
    if most_classes is not None and most_classes < 1:
        raise InputError(f"most_classes: {most_classes!r}; it must be at least 1")


def _prediction(
    image: Named,
    row: Row,
    class_names: Sequence[str],
    reject_below: float | None,
    most_classes: int | None,
    trained_on: bool | None,
) -> Prediction:
    order = np.argsort(-row, kind="stable")[:most_classes]
    names, shares = tuple(class_names[label] for label in order), tuple(row[order].tolist())
    answered = None if reject_below is None else bool(shares[0] >= reject_below)  # also of a NumPy number
    return Prediction(image.name, image.path, names, shares, image.true_class, answered, trained_on=trained_on)


@contextlib.contextmanager
def _progress(found: object) -> Iterator[Callable[[int], None]]:
    """Shows progress on standard error if ``found`` is a list of images; gives what gets the number of those done."""
    if not isinstance(found, Sequence):
        yield _no_progress
        return
    with ProgressOfLongWork("predict", len(found), "image") as progress:
        yield progress.update


def _no_progress(count: int) -> None:
    """Shows nothing."""


def _counted(items: Iterator[_Item], progress: Callable[[int], None]) -> Iterator[_Item]:
    """Yields the items, and reports the number of each."""
    for number, item in enumerate(items, start=1):
        progress(number)
        yield item


def _explain(
    explainer: Explainer,
    images: Sequence[Named],
    pixels: Pixels,
    probabilities: Probabilities,
    progress: Callable[[int], None],
) -> None:
    """Draws the images of a batch; raises InputError for those that cannot be read again, in memory or from a pipe."""
    paths = []
    for image in images:
        if image.path is None or not image.path.is_file():
            place = "in memory" if image.path is None else "a pipe or a device"
            raise InputError(f"explain: takes files only, and {image.name} is {place}; save it as a file first")
        paths.append(image.path)
    explainer.add(paths, pixels, probabilities, [image.true_class for image in images], progress)


def _raise_if_all_unreadable(predictions: Sequence[Prediction]) -> None:
    """Raises a single error if there are images and none of them could be read."""
    errors = [prediction.error for prediction in predictions if prediction.error is not None]
    if not errors or len(errors) < len(predictions):
        return
    if len(errors) == 1:
        raise errors[0]
    reasons = [str(error).removeprefix("--images: ") for error in errors[:MOST_NAMED]]
    more = [f"and {len(errors) - MOST_NAMED} more"] if len(errors) > MOST_NAMED else []
    raise UnreadableFilesError(f"--images: none of {len(errors)} images can be read: {'; '.join([*reasons, *more])}")
