"""Calibrates a run's classifier: fits its temperature, and measures how far its probabilities can be trusted.

The temperature is fitted on the predictions of the folds' models for images that each had not seen, or else on
validation images. Test images are never used for that. Where the images that it was fitted on are also those that it is
measured on, it is measured by cross-fitting: the temperature of each fifth of the images is fitted on the others.
"""

import copy
import dataclasses
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from ml_collections import ConfigDict

from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.duplicates import near_any
from chimeramix_jax.data.image_paths import IgnoredFilesWarning
from chimeramix_jax.data.loading import load_few_shot
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import calibration_error
from chimeramix_jax.reporting.splits import FOLDS, split_name
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.out_of_fold import OutOfFold
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation import predicted_classes
from chimeramix_jax.training.temperature import fitted_temperature, probabilities

KEY = "calibration"  # the part of ``results.json`` about it
FEWEST_IMAGES = 20  # that a temperature is fitted on

_GROUPS = 5  # of images, for cross-fitting

Logits = Float[np.ndarray, "predictions classes"]


class MissingResultsWarning(UserWarning):
    """A run has no ``results.json``, so its temperature is not known."""


@dataclass(frozen=True)
class Predicted:
    """A classifier's logits of images that it was not trained on."""

    source: str  # of the images: "test", "validation" or ``FOLDS``
    logits: Logits
    labels: Integer[np.ndarray, "predictions"]
    images: tuple[str, ...]  # the digest of each, as in ``DataIdentity``; copies have the same
    left_out: int = 0  # other images of this source, which are copies or near duplicates of images used otherwise

    def at(self, positions: Integer[np.ndarray, "chosen"]) -> "Predicted":
        """Returns the predictions at these positions."""
        images = tuple(self.images[position] for position in positions)
        return Predicted(self.source, self.logits[positions], self.labels[positions], images)


def calibration_of(
    config: ConfigDict,
    dataset: FewShotDataset,
    logits: Logits,
    folds: OutOfFold | None,
    part: str,
    logits_of: Callable[[np.ndarray], Logits],
) -> dict[str, Any]:
    """Returns the part of ``results.json`` about a classifier's calibration.

    Args:
        config: the run's settings.
        dataset: its data.
        logits: those of the held-out images; if there are none, those of the folds.
        folds: the predictions of the folds; None: there are none.
        part: "classifier" or "baseline".
        logits_of: returns the classifier's logits of other images, which are in 0..255 at its side.
    """
    of_folds = None if folds is None else Predicted(FOLDS, folds.logits[part], folds.images.labels, folds.digests)
    if folds is not None and of_folds is not None and not len(dataset.held_out.labels):
        measured = of_folds.at(np.arange(folds.count))  # every image once, also if it was predicted several times
    else:
        images = dataset.identity.held_out.images
        measured = Predicted(config.dataset.evaluate_on, logits, dataset.held_out.labels, images)
    fitting = of_folds
    if fitting is None:
        fitting = measured if measured.source == "validation" else _of_validation(config, dataset, logits_of)
    return calibrated_results(measured, fitting, has_own_images=dataset.directory is not None)


def calibrated_results(
    measured: Predicted, fitting: Predicted | None, *, has_own_images: bool = True
) -> dict[str, Any]:
    """Fits a temperature and measures the calibration with and without it; returns both in the form of the results.

    Args:
        measured: the images to measure on.
        fitting: the images to fit the temperature on; None: there are none.
        has_own_images: whether the images are in a folder, to which validation images could be added.
    """
    content: dict[str, Any] = {"temperature": None, "measured_on": measured.source, "images": len(measured.labels)}
    if not np.all(np.isfinite(measured.logits)):
        return content | {"explanation": "No temperature was fitted, because the classifier's outputs are not finite."}
    right = predicted_classes(measured.logits, measured.labels) == measured.labels
    before = probabilities(measured.logits).max(axis=1)
    content["before"] = dataclasses.asdict(calibration_error.calibration(before, right))
    explanation = _why_not(fitting, has_own_images)
    if explanation is not None:
        content["explanation"] = explanation
        return content | {"rejection": _rejection(before, right)}
    assert fitting is not None
    temperature = fitted_temperature(fitting.logits, fitting.labels)
    cross_fitted = measured.source == fitting.source
    of_each = _cross_fitted(measured, fitting) if cross_fitted else temperature
    after = probabilities(measured.logits, of_each).max(axis=1)
    return content | {
        "temperature": temperature,
        "fitted_on": fitting.source,
        "fitted_images": len(set(fitting.images)),
        "cross_fitted": cross_fitted,
        "after": dataclasses.asdict(calibration_error.calibration(after, right)),
        "rejection": _rejection(after, right),
    }


def temperature_of(source: Workdir | ModelArchive) -> float:
    """Returns the temperature of a run or a model file; 1 if none was fitted, which changes nothing.

    Issues a ``MissingResultsWarning`` if the run has no results. Raises InputError if the stored temperature cannot be
    used.
    """
    if isinstance(source, ModelArchive):
        results, name, advice = source.about.get("results"), source.path, "export the model again"
    else:
        results = source.read_results() if source.results.exists() else None
        if results is None:
            warnings.warn(
                f"{source.path}: holds no results.json, so probabilities are used as they are, without a temperature; "
                f"write it with --stage=evaluate --workdir={source.trained_by}",
                MissingResultsWarning,
                stacklevel=2,
            )
        name, advice = source.results, "write it again with --stage=evaluate"
    calibration = results.get(KEY) if isinstance(results, dict) else None
    temperature = calibration.get("temperature") if isinstance(calibration, dict) else None
    if temperature is None:
        return 1.0
    is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        raise InputError(f"{name}: has the temperature {temperature!r}; it must be a positive number; {advice}")
    return float(temperature)


def _why_not(fitting: Predicted | None, has_own_images: bool) -> str | None:
    """Returns why no temperature can be fitted, and what to do, in a sentence; None if it can."""
    if fitting is None:
        validation = ", or add validation images (val/ beside train/)" if has_own_images else ""
        return (
            "No temperature was fitted, because fitting it takes images that are neither training nor test images; "
            f"train with --folds=5{validation}."
        )
    images = len(set(fitting.images))
    if images < FEWEST_IMAGES:
        others = ""
        if fitting.left_out:
            others = f" that are neither copies nor near duplicates of training or test images ({fitting.left_out} are)"
        return (
            f"No temperature was fitted, because there are only {images} different "
            f"{split_name(fitting.source)} images{others}; it takes at least {FEWEST_IMAGES}."
        )
    if not np.all(np.isfinite(fitting.logits)):
        return "No temperature was fitted, because the outputs for the images to fit it on are not finite."
    return None


def _of_validation(
    config: ConfigDict, dataset: FewShotDataset, logits_of: Callable[[np.ndarray], Logits]
) -> Predicted | None:
    """Classifies the user's own validation images, if any; leaves out those that look like training or test images."""
    if not dataset.own_validation:
        return None
    settings = copy.deepcopy(config.dataset)
    settings.evaluate_on = "validation"
    with warnings.catch_warnings():
        for category in (IgnoredFilesWarning, SkippedWarning):  # already seen when the run's data were loaded
            warnings.simplefilter("ignore", category)
        loaded = load_few_shot(settings, config.max_labels_per_class, config.seed)
    digests, validation = loaded.identity.held_out.images, loaded.held_out
    is_copy = _are_copies(loaded, dataset)
    new = np.flatnonzero(~is_copy)
    logits = np.zeros((0, len(dataset.class_names)), np.float32)
    if len(new):
        logits = logits_of(resize(validation.images[new], config.classifier.image_side))
    images = tuple(digests[position] for position in new)
    return Predicted("validation", logits, validation.labels[new], images, left_out=int(is_copy.sum()))


def _are_copies(validation: FewShotDataset, dataset: FewShotDataset) -> Bool[np.ndarray, "images"]:
    """Whether each held-out image of ``validation`` is a copy or near duplicate of one that ``dataset`` uses."""
    known = {*dataset.identity.train.images, *dataset.identity.held_out.images}
    exact = np.array([digest in known for digest in validation.identity.held_out.images], bool)
    own, other = validation.originals, dataset.originals
    if own is None or other is None:
        return exact
    hashes, others = (
        [original.perceptual_hash for original in originals]
        for originals in (own.held_out, other.train + other.held_out)
    )
    return exact | near_any(hashes, others)


def _cross_fitted(measured: Predicted, fitting: Predicted) -> Float[np.ndarray, "predictions"]:
    """Returns a temperature for each measured prediction, fitted without the image and others of its group."""
    group_of = {image: rank % _GROUPS for rank, image in enumerate(sorted(set(fitting.images)))}
    groups = np.array([group_of[image] for image in fitting.images])
    without = [
        fitted_temperature(fitting.logits[groups != group], fitting.labels[groups != group]) for group in range(_GROUPS)
    ]
    return np.array([without[group_of[image]] for image in measured.images])


def _rejection(confidences: Float[np.ndarray, "examples"], right: np.ndarray) -> list[dict[str, Any]]:
    return [dataclasses.asdict(row) for row in calibration_error.rejections(confidences, right)]
