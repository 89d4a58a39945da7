"""What a classifier made of every held-out image: its prediction, its loss, and the training images nearest to it.

The list is stored as ``held_out.csv``, highest loss first. Images are nearest if the cosine of the angle between their
features is largest. These are the means of the last feature maps, from which the head computes the logits, so near
images look alike to the classifier. They are not the images that caused a prediction.
"""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flax import nnx
from jaxtyping import Float, Int, UInt8

from chimeramix_jax import files
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.paths import printable
from chimeramix_jax.reporting.csv_rows import csv_rows
from chimeramix_jax.runs.nearest import Neighbours, nearest_by_cosine
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.classification_step import evaluated
from chimeramix_jax.training.contrast_maps import ContrastMaps
from chimeramix_jax.training.evaluation import predicted_classes
from chimeramix_jax.training.measured_classifier import MeasuredClassifier

NEAREST = 3  # training images that are listed for each held-out image
MOST_EXPLAINED = 20  # misclassified images that get a map


@dataclass(frozen=True)
class HeldOutPredictions:
    """A classifier's predictions of the held-out images, in the data set's order."""

    labels: Int[np.ndarray, "examples"]
    predicted: Int[np.ndarray, "examples"]  # a tie with the true class goes to the other class, as in the accuracy
    probabilities: Float[np.ndarray, "examples"]  # of the predicted class
    true_probabilities: Float[np.ndarray, "examples"]  # of the true class
    losses: Float[np.ndarray, "examples"]  # cross entropies in nats, at temperature 1 as in the results
    nearest: Neighbours  # positions in the training set
    # Maps of misclassified images by position, at most ``MOST_EXPLAINED``, those with the highest loss. Positive
    # values speak for the predicted class, negative ones for the true class; see ``models.class_activation``.
    maps: dict[int, Float[np.ndarray, "map_height map_width"]]

    def by_loss(self) -> Int[np.ndarray, "examples"]:
        """Returns the positions of the images by decreasing loss; losses that are not a number come first."""
        return np.argsort(-np.where(np.isnan(self.losses), np.inf, self.losses), kind="stable")

    def mistakes(self) -> Int[np.ndarray, "mistakes"]:
        """Returns the positions of the misclassified images by decreasing loss."""
        order = self.by_loss()
        return order[self.predicted[order] != self.labels[order]]

    def at_temperature(
        self, logits: Float[np.ndarray, "predictions classes"], temperature: float
    ) -> "HeldOutPredictions":
        """Returns the predictions with probabilities, and their maps, at a temperature; losses stay as they are.

        ``logits`` are those of the images, and may go on with further predictions.
        """
        if temperature == 1:
            return self
        shares = np.exp(_log_softmax(logits[: len(self.labels)] / temperature))
        rows = np.arange(len(self.labels))
        return dataclasses.replace(
            self,
            probabilities=shares[rows, self.predicted],
            true_probabilities=shares[rows, self.labels],
            maps={position: heat / np.float32(temperature) for position, heat in self.maps.items()},
        )


def describe(
    classifier: MeasuredClassifier, state: State, dataset: FewShotDataset
) -> tuple[Float[np.ndarray, "examples classes"], HeldOutPredictions]:
    """Returns a classifier's logits of the held-out images, and what they and its features say about each image."""
    side, labels = classifier.config.classifier.image_side, dataset.held_out.labels
    logits, features = classifier.logits_and_features(state)
    distinct = dataset.distinct_training
    training_features = classifier.features(state, resize(dataset.train.images[distinct], side))
    nearest = nearest_by_cosine(features, training_features, NEAREST)
    predicted = predicted_classes(logits, labels)
    rows = np.arange(len(labels))
    log_probabilities = _log_softmax(logits)
    predictions = HeldOutPredictions(
        labels=labels,
        predicted=predicted,
        probabilities=np.exp(log_probabilities[rows, predicted]),
        true_probabilities=np.exp(log_probabilities[rows, labels]),
        losses=-log_probabilities[rows, labels],
        nearest=Neighbours(distinct[nearest.indices], nearest.similarities),
        maps={},
    )
    explained = predictions.mistakes()[:MOST_EXPLAINED]
    if len(explained):
        pixels = resize(dataset.held_out.images[explained], side)
        maps = _maps(classifier, state, pixels, predicted[explained], labels[explained])
        predictions.maps.update(zip(explained.tolist(), maps, strict=True))
    return logits, predictions


def joined(
    parts: Sequence[tuple[HeldOutPredictions, Int[np.ndarray, "_"]]],
) -> HeldOutPredictions:
    """Returns the predictions of several classifiers, each of other images, one after another.

    Only the misclassified images with the highest loss of all keep their maps.

    Args:
        parts: the predictions of each, and the position in the common training set of each of its training images.
    """
    count = min(part.nearest.indices.shape[1] for part, _ in parts)
    starts = np.cumsum([0, *(len(part.labels) for part, _ in parts)]).tolist()
    predictions = HeldOutPredictions(
        labels=np.concatenate([part.labels for part, _ in parts]),
        predicted=np.concatenate([part.predicted for part, _ in parts]),
        probabilities=np.concatenate([part.probabilities for part, _ in parts]),
        true_probabilities=np.concatenate([part.true_probabilities for part, _ in parts]),
        losses=np.concatenate([part.losses for part, _ in parts]),
        nearest=Neighbours(
            np.concatenate([positions[part.nearest.indices[:, :count]] for part, positions in parts]),
            np.concatenate([part.nearest.similarities[:, :count] for part, _ in parts]),
        ),
        maps={},
    )
    maps = {
        start + position: values
        for start, (part, _) in zip(starts, parts, strict=False)
        for position, values in part.maps.items()
    }
    explained = predictions.mistakes()[:MOST_EXPLAINED].tolist()
    predictions.maps.update({position: maps[position] for position in explained})
    return predictions


def write_table(path: str | os.PathLike[str], predictions: HeldOutPredictions, dataset: FewShotDataset) -> None:
    """Writes the CSV file: a line per held-out image, highest loss first."""
    names, train = dataset.class_names, dataset.train
    count = predictions.nearest.indices.shape[1]
    nearest = [f"nearest_{place}{part}" for place in range(1, count + 1) for part in ("", "_class", "_similarity")]
    columns = ["image", "true_class", "predicted_class", "probability", "probability_of_true_class", "loss", *nearest]
    rows = [columns]
    for index in predictions.by_loss():
        row = [
            printable(dataset.held_out.names[index]),
            names[predictions.labels[index]],
            names[predictions.predicted[index]],
            f"{predictions.probabilities[index]:.6g}",
            f"{predictions.true_probabilities[index]:.6g}",
            f"{predictions.losses[index]:.6g}",
        ]
        neighbours = zip(predictions.nearest.indices[index], predictions.nearest.similarities[index], strict=True)
        for neighbour, similarity in neighbours:
            row += [printable(train.names[neighbour]), names[train.labels[neighbour]], f"{similarity:.4f}"]
        rows.append(row)
    files.write_bytes(path, csv_rows(rows).encode())


def _log_softmax(logits: Float[np.ndarray, "examples classes"]) -> Float[np.ndarray, "examples classes"]:
    with np.errstate(invalid="ignore"):  # logits of a classifier that has diverged may be infinite
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def _maps(
    classifier: MeasuredClassifier,
    state: State,
    images: UInt8[np.ndarray, "explained side side 3"],
    classes: Int[np.ndarray, "explained"],
    rivals: Int[np.ndarray, "explained"],
) -> Float[np.ndarray, "explained map_height map_width"]:
    """Returns the maps of at most ``MOST_EXPLAINED`` images; they are padded to this number, which is compiled once."""
    missing = MOST_EXPLAINED - len(images)
    padded = [np.pad(values, ((0, missing), *((0, 0),) * (values.ndim - 1))) for values in (images, classes, rivals)]
    network = nnx.merge(classifier.network, *evaluated(state))
    return ContrastMaps(network, classifier.config.precision, temperature=1.0)(*padded)[: len(images)]
