"""Formats the accuracy of predictions whose true classes are known, and their confusion matrix, as text."""

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from rich.cells import cell_len

from chimeramix_jax.reporting import statistics
from chimeramix_jax.reporting.text_table import aligned

if TYPE_CHECKING:  # which would load JAX
    from chimeramix_jax.use.prediction_formats import Prediction

WIDTH = 100  # columns of a terminal that a matrix may take with names above its columns
MOST_CLASSES_IN_A_MATRIX = 20  # a wider one does not fit on a terminal; then the most confused pairs are listed
MOST_PAIRS = 10


def accuracy_text(predictions: Sequence["Prediction"], class_names: Sequence[str]) -> str:
    """Returns the accuracy and the confusion matrix of images that could be read, as text.

    At least one true class must be known. Images that the classifier was trained on do not count, unless all were.
    """
    labelled = [prediction for prediction in predictions if prediction.true_class is not None]
    new = [prediction for prediction in labelled if not prediction.trained_on]
    counted = new or labelled
    labels = {name: label for label, name in enumerate(class_names)}
    matrix, images = np.zeros((len(class_names), len(class_names)), np.int64), len(counted)
    for prediction in counted:
        assert prediction.true_class is not None
        matrix[labels[prediction.true_class], labels[prediction.predicted_class]] += 1
    right = int(np.trace(matrix))
    low, high = (statistics.percent(bound, images) for bound in statistics.wilson_interval(right, images))
    lines = [
        f"accuracy{'' if new else ' on training images'}: {statistics.percent(right / images, images)} ({right} of "
        f"{images} images in folders named after classes; 95 % interval {low} to {high})"
    ]
    lines += _of_answered(counted)
    if not new:
        lines.append("All of them were trained on, so this says nothing about new images.")
    elif trained := len(labelled) - images:
        lines.append(
            f"{trained} of {len(labelled)} images were trained on, so accuracy and matrix leave them out: the "
            "classifier has learned their classes."
        )
    if others := len(predictions) - len(labelled):
        lines.append(f"not counted: {others} {'image' if others == 1 else 'images'} in other folders")
    few = len(class_names) <= MOST_CLASSES_IN_A_MATRIX
    return "\n".join([*lines, "", *(_matrix(matrix, class_names) if few else _pairs(matrix, class_names))]) + "\n"


def _of_answered(predictions: Sequence["Prediction"]) -> list[str]:
    """Returns a line about the images that were not rejected; none if no threshold was given."""
    if all(prediction.answered is None for prediction in predictions):
        return []
    answered = [prediction for prediction in predictions if prediction.answered]
    if not answered:
        return [f"answered: none of {len(predictions)}"]
    right, count = sum(prediction.classes[0] == prediction.true_class for prediction in answered), len(answered)
    low, high = (statistics.percent(bound, count) for bound in statistics.wilson_interval(right, count))
    accuracy = statistics.percent(right / count, count)
    return [
        f"answered: {count} of {len(predictions)}, of which {right} are right ({accuracy}, 95 % interval {low} to "
        f"{high}); accuracy and matrix count all images by their most probable class"
    ]


def _matrix(matrix: Int[np.ndarray, "classes classes"], class_names: Sequence[str]) -> list[str]:
    """Returns the lines of a confusion matrix.

    Above its columns are the names or, if these do not fit, numbers that the rows have, too; letters if a class has a
    number as its name.
    """
    cells = [[str(count) if count else "." for count in counts] for counts in matrix.tolist()]
    rows = [["true class", *class_names], *([name, *row] for name, row in zip(class_names, cells, strict=True))]
    if max(map(cell_len, aligned(rows).split("\n"))) > WIDTH:
        numbers = [str(number) for number in range(1, len(class_names) + 1)]
        short = string.ascii_uppercase if any(name.isdecimal() for name in class_names) else numbers
        rows = [["true class", *short[: len(class_names)]]]
        for head, name, row in zip(rows[0][1:], class_names, cells, strict=True):
            rows.append([f"{head}  {name}", *row])
    return ["confusion matrix: images by true class (row) and predicted class (column)", *aligned(rows).split("\n")]


def _pairs(matrix: Int[np.ndarray, "classes classes"], class_names: Sequence[str]) -> list[str]:
    """Returns a line for each of the pairs of classes that are confused most often."""
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    rows = [["true class", "predicted as", "images"]]
    for place in order.tolist():
        true, predicted = divmod(place, len(matrix))
        if wrong[true, predicted]:
            rows.append([class_names[true], class_names[predicted], str(wrong[true, predicted])])
    return ["most confused classes", *aligned(rows).split("\n")] if len(rows) > 1 else ["no image was misclassified"]
