"""Stage 2: trains the classifier; if the experiment mixes, on batches mixed with the generator frozen."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.augment import geometry
from chimeramix_jax.augment.mixup import Mixup, draw_mixup
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.mixer import Mixer, Parameters
from chimeramix_jax.models import classifier as models
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computation_dtype, computing
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.evaluation import Evaluation, TestSet, evaluate_logits
from chimeramix_jax.training.stage_data import StageData


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierInputs:
    """What training steps read: the training images, and the parameters of the frozen networks that mix them."""

    data: sampling.ResidentData
    networks: Parameters


class ClassifierStage:
    """Classifier training as the training loop sees it: its data, its initial state, its step and its evaluation."""

    name = "classifier"

    def __init__(
        self,
        config: ConfigDict,
        data: StageData,
        num_classes: int,
        test_set: TestSet,
        mixes: bool,
        generator: Generator | None = None,
        discriminator: Discriminator | None = None,
    ):
        """Prepares training on the given data.

        Args:
            config: the run's settings.
            data: the training images.
            num_classes: how many classes there are.
            test_set: the held-out images.
            mixes: whether batches are mixed at all; the baseline's are not.
            generator: mixes features; None: pixels are mixed instead.
            discriminator: chooses among several mixes of an image, if ``config.mixing`` has more than one candidate.
        """
        settings, plan = config.classifier, data.plan
        self.config, self.epochs, self.plan, self.num_classes = config, settings.epochs, plan, num_classes
        self._augmentation = data.augmentation
        self._mixer: Mixer | None = None
        networks: Parameters = {}
        if mixes:
            self._mixer, networks = Mixer.of(config, data.augmentation, generator, discriminator)
        self.inputs, self.test_set = ClassifierInputs(data.images, networks), test_set
        classifier = nnx.eval_shape(lambda: build_classifier(config, num_classes, nnx.Rngs(0)))
        total_steps = self.epochs * plan.steps
        self._schedule = learning_rate_schedule(settings.learning_rate, total_steps)
        self._step = ClassificationStep(
            nnx.graphdef(classifier.train()),
            sgd(settings.learning_rate, settings.momentum, settings.weight_decay, total_steps),
        )
        self._predict = jax.jit(partial(predict, nnx.graphdef(classifier.eval())))

    def train_step(
        self,
        state: State,
        inputs: ClassifierInputs,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """Updates the classifier once, as a pure function.

        Args:
            state: parameters, batch statistics and optimizer state.
            inputs: the training images and the frozen networks.
            indices: positions of the batch's images among the training images.
            example_mask: False where an image only pads an incomplete batch; None if there is no padding.
            key: the source of the step's random numbers, except for the coin.
            shared_key: the coin's key, the same for every seed.
        """
        image_key, dropout_key, mixup_key = jax.random.split(key, 3)

        # Coin: is the whole batch mixed, or none of it?
        mixed = self.mixes_batch(shared_key)

        # Images: mixed with others of their classes, or only augmented; labels stay the same either way.
        images = self.images(image_key, inputs, indices, mixed)
        labels = inputs.data.labels[indices]

        # Mixup, in experiments that use it; it leaves a mixed batch alone.
        mixup = draw_mixup(mixup_key, len(indices), example_mask) if self.config.augment.mixup else None
        if mixup is not None and self._mixer is not None:
            mixup = mixup.unless(mixed)

        # Loss and update.
        with computing(self.config.precision):
            return self._step.update(state, images, labels, dropout_key, example_mask, mixup)

    def mixes_batch(self, shared_key: PRNGKeyArray) -> Bool[Array, ""]:
        """Tosses the coin that decides whether a whole batch is mixed; heads has ``config.mixing.probability``.

        The released program tosses a fair coin for each batch. Seeds that train together share the coin, so that a
        batch that is not mixed costs none of them the encoding and decoding.
        """
        probability = 0.0 if self._mixer is None else self.config.mixing.probability
        if probability in (0.0, 1.0):
            return jnp.asarray(probability == 1.0)  # a constant, so that XLA compiles only one branch
        return jax.random.bernoulli(shared_key, probability)

    def images(
        self,
        key: PRNGKeyArray,
        inputs: ClassifierInputs,
        indices: Int[Array, "batch"],
        mixed: Bool[Array, ""] | bool,
    ) -> Float[Array, "batch side side 3"]:
        """Returns the images to train the classifier on, in [-1, 1]: mixes if ``mixed``, else augmented views."""
        view_key, mix_key = jax.random.split(key)

        def views() -> Float[Array, "batch side side 3"]:
            return self._augmentation(view_key, inputs.data, indices).images

        if self._mixer is None:
            return views()
        mixes = partial(self._mixer, mix_key, inputs.data, indices, inputs.networks)
        return jax.lax.cond(mixed, mixes, views)

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Draws a classifier and initialises its optimizer."""
        return self._step.initial_state(build_classifier(self.config, self.num_classes, nnx.Rngs(params=key)))

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate at a step, counted from 0."""
        return float(self._schedule(step))

    def evaluate(self, state: State) -> dict[str, float]:
        """Returns top-1 accuracy and loss on the held-out images, if any, named after the split they come from."""
        if not len(self.test_set.labels):
            return {}
        evaluation, split = self.measure(state), self.config.dataset.evaluate_on
        return {f"{split}_top1": evaluation.top1, f"{split}_loss": evaluation.loss}

    def measure(self, state: State) -> Evaluation:
        """Returns all metrics of the held-out images."""
        return evaluate_logits(self.logits(state), self.test_set.labels)

    def logits(self, state: State) -> Float[np.ndarray, "examples classes"]:
        """Returns the logits of the held-out images, in their order."""
        with computing(self.config.precision):
            return self.test_set.logits(partial(self._predict, state["parameters"], state["batch_statistics"]))


class LossDetails(NamedTuple):
    """What the forward pass yields besides the loss: updated batch statistics, and the accuracy on the batch."""

    batch_statistics: PyTree
    accuracy: Float[Array, ""]


@dataclass(frozen=True)
class ClassificationStep:
    """The loss and the SGD update of a classifier training step, as pure functions.

    The state is a dictionary of ``parameters``, ``batch_statistics`` and ``optimizer``.
    """

    classifier: nnx.GraphDef
    optimizer: optax.GradientTransformation

    def initial_state(self, classifier: Classifier) -> State:
        """Returns the state that starts from the network's parameters and statistics."""
        parameters = nnx.state(classifier, nnx.Param)
        return {
            "parameters": parameters,
            "batch_statistics": nnx.state(classifier, nnx.BatchStat),
            "optimizer": self.optimizer.init(parameters),
        }

    def update(
        self,
        state: State,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None = None,
        example_mask: Bool[Array, "batch"] | None = None,
        mixup: Mixup | None = None,
    ) -> tuple[State, Metrics]:
        """Updates the classifier on a batch.

        Args:
            state: before the step.
            images: in [-1, 1].
            labels: their classes, from 0.
            dropout_key: the source of dropout's random numbers; may be None if the rate is 0.
            example_mask: False for images that do not count; None: all count.
            mixup: blends images and losses; None: no mixup. The accuracy is that for the images' own labels.

        Returns:
            The state after the step, and the batch's loss and accuracy.
        """
        parameters = state["parameters"]
        (loss, details), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            parameters, state["batch_statistics"], images, labels, dropout_key, example_mask, mixup
        )
        updates, optimizer = self.optimizer.update(gradients, state["optimizer"], parameters)
        state = {
            "parameters": optax.apply_updates(parameters, updates),
            "batch_statistics": details.batch_statistics,
            "optimizer": optimizer,
        }
        return state, {"loss": loss, "accuracy": details.accuracy}

    def loss(
        self,
        parameters: PyTree,
        statistics: PyTree,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None,
        example_mask: Bool[Array, "batch"] | None,
        mixup: Mixup | None,
    ) -> tuple[Float[Array, ""], LossDetails]:
        """Returns the mean cross entropy of a batch; the arguments are those of ``update``."""
        classifier = nnx.merge(self.classifier, parameters, statistics, copy=True)
        images = images if mixup is None else mixup.blend(images)
        logits = classifier(images, example_mask=example_mask, dropout_key=dropout_key)
        entropy = optax.softmax_cross_entropy_with_integer_labels if mixup is None else mixup.cross_entropy
        entropies = entropy(logits, labels)
        correct = jnp.argmax(logits, axis=-1) == labels
        mean = jnp.mean(entropies, where=example_mask)
        return mean, LossDetails(nnx.state(classifier, nnx.BatchStat), jnp.mean(correct, where=example_mask))


def learning_rate_schedule(learning_rate: float, total_steps: int) -> optax.Schedule:
    """Returns a schedule that falls from ``learning_rate`` to 0 along a cosine."""
    return optax.cosine_decay_schedule(learning_rate, total_steps)


def sgd(learning_rate: float, momentum: float, weight_decay: float, total_steps: int) -> optax.GradientTransformation:
    """Returns Nesterov SGD as in PyTorch, with a cosine schedule: L2 decay of every parameter joins its gradient."""
    schedule = learning_rate_schedule(learning_rate, total_steps)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum, nesterov=True))


def build_classifier(config: ConfigDict, num_classes: int, rngs: nnx.Rngs) -> Classifier:
    """Builds the classifier described by the settings, in training mode."""
    settings = config.classifier
    dtype = computation_dtype(config.precision)
    return models.build(settings.model, num_classes, dropout_rate=settings.dropout_rate, dtype=dtype, rngs=rngs)


def predict(
    classifier: nnx.GraphDef, parameters: PyTree, statistics: PyTree, images: UInt8[Array, "batch side side 3"]
) -> Float[Array, "batch classes"]:
    """Returns the logits of images in 0..255, by a classifier in evaluation mode."""
    return nnx.merge(classifier, parameters, statistics)(geometry.normalize(images))
