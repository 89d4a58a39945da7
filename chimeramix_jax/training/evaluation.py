"""Measures a classifier on the whole test split, counting every image once."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from chimeramix_jax.runtime import stopping

# Maps images in 0..255 to several outputs, such as logits and features.
Network = Callable[[UInt8[Array, "batch side side 3"]], tuple[Float[Array, "batch _"], ...]]


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
        self._batches = jnp.asarray(_in_batches(images, max(min(batch_size, len(images)), 1)))

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
        return self.outputs(lambda images: (predict(images),))[0]

    def outputs(self, network: Network) -> tuple[Float[np.ndarray, "examples _"], ...]:
        """Returns all outputs of a network that has several, for all images, in their order; may raise Stopped, too."""
        return _outputs(network, self._batches, len(self.labels))

    def outputs_of(
        self, images: UInt8[np.ndarray, "others side side 3"], network: Network
    ) -> tuple[Float[np.ndarray, "others _"], ...]:
        """Returns the same for other images, in batches of the same size, so that nothing is compiled anew."""
        return _outputs(network, _in_batches(images, self._batches.shape[1]), len(images))


def _in_batches(
    images: UInt8[np.ndarray, "examples side side 3"], size: int
) -> UInt8[np.ndarray, "batches batch side side 3"]:
    """Divides images into batches; black images pad the last one."""
    padding = np.zeros((-len(images) % size, *images.shape[1:]), images.dtype)
    return np.concatenate([images, padding]).reshape(-1, size, *images.shape[1:])


def _outputs(
    network: Network, batches: UInt8[Array | np.ndarray, "batches batch side side 3"], count: int
) -> tuple[Float[np.ndarray, "{count} _"], ...]:
    """Returns a network's outputs for the first ``count`` images of the batches."""
    outputs = []
    for batch in batches:
        outputs.append([np.asarray(output, np.float32) for output in network(jnp.asarray(batch))])
        stopping.raise_if_asked()
    return tuple(np.concatenate(parts)[:count] for parts in zip(*outputs, strict=True))


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
