"""Stage 2: training the classifier, on mixed images where the experiment asks for them, with the generator frozen."""

from dataclasses import dataclass
from functools import partial

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
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.evaluation import Evaluation, TestSet, evaluate_logits
from chimeramix_jax.training.stage_data import StageData


@dataclass(frozen=True)
class ClassificationStep:
    """One SGD update on labelled images, as a pure function of the state.

    The state is a dictionary of ``parameters``, ``batch_statistics`` and ``optimizer``.
    """

    classifier: nnx.GraphDef
    optimizer: optax.GradientTransformation

    def initial_state(self, classifier: Classifier) -> State:
        """The state that starts from the network's parameters and statistics."""
        parameters = nnx.state(classifier, nnx.Param)
        return {
            "parameters": parameters,
            "batch_statistics": nnx.state(classifier, nnx.BatchStat),
            "optimizer": self.optimizer.init(parameters),
        }

    def loss(
        self,
        parameters: PyTree,
        statistics: PyTree,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None,
        example_mask: Bool[Array, "batch"] | None,
        mixup: Mixup | None,
    ) -> tuple[Float[Array, ""], tuple[PyTree, Float[Array, ""]]]:
        """Mean cross entropy; beside it the new statistics and the share of images classified right."""
        classifier = nnx.merge(self.classifier, parameters, statistics, copy=True)
        images = images if mixup is None else mixup.blend(images)
        logits = classifier(images, example_mask=example_mask, dropout_key=dropout_key)
        entropy = optax.softmax_cross_entropy_with_integer_labels if mixup is None else mixup.cross_entropy
        entropies = entropy(logits, labels)
        right = jnp.argmax(logits, axis=-1) == labels
        mean = jnp.mean(entropies, where=example_mask)
        return mean, (nnx.state(classifier, nnx.BatchStat), jnp.mean(right, where=example_mask))

    def __call__(
        self,
        state: State,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None = None,
        example_mask: Bool[Array, "batch"] | None = None,
        mixup: Mixup | None = None,
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """Updates the classifier; examples where ``example_mask`` is False do not count.

        With ``mixup``, images and losses are blended by it; the accuracy is that for the images' own labels.
        """
        parameters = state["parameters"]
        (loss, (statistics, accuracy)), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            parameters, state["batch_statistics"], images, labels, dropout_key, example_mask, mixup
        )
        updates, optimizer = self.optimizer.update(gradients, state["optimizer"], parameters)
        parameters = optax.apply_updates(parameters, updates)
        state = {"parameters": parameters, "batch_statistics": statistics, "optimizer": optimizer}
        return state, {"loss": loss, "accuracy": accuracy}


def learning_rate_schedule(learning_rate: float, total_steps: int) -> optax.Schedule:
    """The rate falls along a cosine, from the given one to 0."""
    return optax.cosine_decay_schedule(learning_rate, total_steps)


def sgd(learning_rate: float, momentum: float, weight_decay: float, total_steps: int) -> optax.GradientTransformation:
    """Nesterov SGD as in PyTorch: L2 decay of every parameter added to its gradient, cosine schedule to 0."""
    schedule = learning_rate_schedule(learning_rate, total_steps)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum, nesterov=True))


def build_classifier(config: ConfigDict, num_classes: int, rngs: nnx.Rngs) -> Classifier:
    """A classifier as the config describes it, in training mode."""
    settings = config.classifier
    dtype = computation_dtype(config.precision)
    return models.build(settings.model, num_classes, dropout_rate=settings.dropout_rate, dtype=dtype, rngs=rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierInputs:
    """What the classifier's steps read: the training images and the parameters of the frozen networks that mix them."""

    data: sampling.ResidentData
    networks: Parameters


class ClassifierStage:
    """What the training loop needs to know to train the classifier."""

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
        """Prepares the stage for the images that it is to work on.

        It mixes images if ``mixes``: their features if there is a generator, else their pixels.
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

    def initial_state(self, key: PRNGKeyArray) -> State:
        """A freshly drawn classifier with its optimizer."""
        return self._step.initial_state(build_classifier(self.config, self.num_classes, nnx.Rngs(params=key)))

    def train_step(
        self,
        state: State,
        inputs: ClassifierInputs,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """One update on the images at ``indices``, shown as they are or mixed with others of their classes."""
        image_key, dropout_key, mixup_key = jax.random.split(key, 3)
        mixed = self.mixes_batch(shared_key)
        images = self.images(image_key, inputs, indices, mixed)
        labels = inputs.data.labels[indices]
        mixup = draw_mixup(mixup_key, len(indices), example_mask) if self.config.augment.mixup else None
        if mixup is not None and self._mixer is not None:
            mixup = mixup.unless(mixed)
        with computing(self.config.precision):
            return self._step(state, images, labels, dropout_key, example_mask, mixup)

    def mixes_batch(self, shared_key: PRNGKeyArray) -> Bool[Array, ""]:
        """Tosses the coin that decides whether a whole batch is mixed: heads by ``config.mixing.probability``.

        So does the released program, with a fair coin. Seeds that are trained together share it, so that a batch that
        is not mixed costs none of them the encoding and decoding.
        """
        probability = 0.0 if self._mixer is None else self.config.mixing.probability
        if probability in (0.0, 1.0):
            return jnp.asarray(probability == 1.0)  # a constant, for which XLA compiles one side only
        return jax.random.bernoulli(shared_key, probability)

    def images(
        self,
        key: PRNGKeyArray,
        inputs: ClassifierInputs,
        indices: Int[Array, "batch"],
        mixed: Bool[Array, ""] | bool,
    ) -> Float[Array, "batch side side 3"]:
        """What the classifier is shown of the images at ``indices``, in [-1, 1]: mixed if ``mixed``, else augmented."""
        plain_key, mix_key = jax.random.split(key)

        def plain() -> Float[Array, "batch side side 3"]:
            return self._augmentation(plain_key, inputs.data, indices).images

        if self._mixer is None:
            return plain()
        mix = partial(self._mixer, mix_key, inputs.data, indices, inputs.networks)
        return jax.lax.cond(mixed, mix, plain)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, the first one being step 0."""
        return float(self._schedule(step))

    def evaluate(self, state: State) -> dict[str, float]:
        """Top-1 accuracy and loss on all images held out, named after the split that they come from."""
        evaluation, split = self.measure(state), self.config.dataset.evaluate_on
        return {f"{split}_top1": evaluation.top1, f"{split}_loss": evaluation.loss}

    def measure(self, state: State) -> Evaluation:
        """All figures of the images held out."""
        return evaluate_logits(self.logits(state), self.test_set.labels)

    def logits(self, state: State) -> Float[np.ndarray, "examples classes"]:
        """What the classifier makes of each of the images held out."""
        with computing(self.config.precision):
            return self.test_set.logits(partial(self._predict, state["parameters"], state["batch_statistics"]))


def predict(
    classifier: nnx.GraphDef, parameters: PyTree, statistics: PyTree, images: UInt8[Array, "batch side side 3"]
) -> Float[Array, "batch classes"]:
    """Logits of images in 0..255 by a classifier in evaluation mode."""
    return nnx.merge(classifier, parameters, statistics)(geometry.normalize(images))
