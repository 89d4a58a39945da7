"""Measures a classifier on the whole test split, counting every image once."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from chimeramix_jax.runtime import stopping


@dataclass(frozen=True)
class Evaluation:
    """Metrics on a test split.

    Attributes:
        top1: share of the images whose class has the highest logit, in [0, 1].
        top5: share of the images whose class is among the five highest logits (or among all, if there are fewer).
        macro_accuracy: accuracy averaged over the classes in the split.
        loss: mean cross entropy, in nats.
        examples: number of images.
        confusion: number of images by true class (row) and predicted class (column).
    """

    top1: float
    top5: float
    macro_accuracy: float
    loss: float
    examples: int
    confusion: Int[np.ndarray, "classes classes"]


class TestSet:
    """A test split in device memory; it may be empty, but then there is nothing to measure."""

    __test__ = False  # pytest would take the class for a test because of its name

    def __init__(
        self, images: UInt8[np.ndarray, "examples side side 3"], labels: Int[np.ndarray, "examples"], batch_size: int
    ):
        """Puts the images on the default device; the last batch is padded with black images, which do not count."""
        self.labels = np.asarray(labels)
        batch_size = max(min(batch_size, len(images)), 1)
        missing = -len(images) % batch_size
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
        self._batches = jnp.asarray(padded.reshape(-1, batch_size, *images.shape[1:]))

    def evaluate(
        self, predict: Callable[[UInt8[Array, "batch side side 3"]], Float[Array, "batch classes"]]
    ) -> Evaluation:
        """Measures a function that maps images in 0..255 to logits.

        Raises:
            Stopped: the run was asked to stop.
        """
        return evaluate_logits(self.logits(predict), self.labels)

    def logits(
        self, predict: Callable[[UInt8[Array, "batch side side 3"]], Float[Array, "batch classes"]]
    ) -> Float[np.ndarray, "examples classes"]:
        """Returns the logits that the function gives for all images, in their order.

        Raises:
            Stopped: the run was asked to stop.
        """
        logits = []
        for batch in self._batches:
            logits.append(np.asarray(predict(batch), np.float32))
            stopping.raise_if_asked()
        return np.concatenate(logits)[: len(self.labels)]


def predicted_classes(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, "examples"]
) -> Int[np.ndarray, "examples"]:
    """Returns the class with the highest logit of every image; a tie with the true class goes to another class.

    So a prediction is correct only if the true class has a higher logit than all others, as in top-1 accuracy. A
    constant classifier, or one that has diverged to NaN, is never correct.
    """
    rivals = _rivals(logits, labels)
    comparable = np.where(np.isnan(logits), np.inf, logits)
    highest = np.max(comparable, axis=1, where=rivals, initial=-np.inf)
    strongest_rival = np.argmax(rivals & (comparable == highest[:, None]), axis=1)
    return np.where(rivals.any(axis=1), strongest_rival, labels)


def _rivals(
    logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, "examples"]
) -> Bool[np.ndarray, "examples classes"]:
    """Marks the classes, other than the true one, whose logit is not lower than the true class's, or is NaN."""
    rows = np.arange(len(labels))
    rivals = ~(logits < logits[rows, labels][:, None])
    rivals[rows, labels] = False
    return rivals


def evaluate_logits(logits: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, "examples"]) -> Evaluation:
    """Computes the metrics of given logits; ties count against the classifier."""
    examples, classes = logits.shape
    of_true_class = logits[np.arange(examples), labels]
    rivals = _rivals(logits, labels).sum(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted_classes(logits, labels)), 1)
    present = np.bincount(labels, minlength=classes) > 0
    correct_by_class = np.bincount(labels, weights=rivals == 0, minlength=classes)[present]
    return Evaluation(
        top1=float(np.mean(rivals == 0)),
        top5=float(np.mean(rivals < 5)),
        macro_accuracy=float(np.mean(correct_by_class / np.bincount(labels, minlength=classes)[present])),
        loss=float(np.mean(jax.scipy.special.logsumexp(logits, axis=1) - of_true_class)),
        examples=examples,
        confusion=confusion,
    )
