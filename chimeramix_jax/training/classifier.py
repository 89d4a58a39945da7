"""Stage 2: trains the classifier; if the experiment mixes, on batches mixed with the generator frozen."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from chimeramix_jax.augment import geometry
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.mixer import Mixer, Parameters
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.ensemble import Network
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training import averaging
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.classification_step import (
    ClassificationStep,
    evaluated,
    sgd,
    with_statistics,
)
from chimeramix_jax.training.classifier_batches import ClassifierBatches
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.growing import GrowingSides
from chimeramix_jax.training.measured_classifier import MeasuredClassifier
from chimeramix_jax.training.networks import build_classifier, update_all_but_head
from chimeramix_jax.training.schedules import Cosine, advanced
from chimeramix_jax.training.stage_data import StageData
from chimeramix_jax.training.unmixed_statistics import UnmixedStatistics


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierInputs:
    """What training steps read.

    Attributes:
        data: the training images.
        networks: the parameters of the frozen networks that mix them.
        schedule: of the learning rate.
        weight_decay: L2, of every parameter.
        average_decay: of the moving average of the parameters, per step; 0 if there is none.
    """

    data: sampling.ResidentData
    networks: Parameters
    schedule: Cosine
    weight_decay: Float[Array, "*seeds"]
    average_decay: Float[Array, "*seeds"]

    @classmethod
    def of(
        cls, settings: ConfigDict, images: sampling.ResidentData, networks: Parameters, total_steps: int
    ) -> "ClassifierInputs":
        """Returns the inputs of a training of so many steps, with the settings of ``config.classifier``."""
        return cls(
            images,
            networks,
            Cosine.over(settings.learning_rate, total_steps),
            weight_decay=jnp.asarray(settings.weight_decay, jnp.float32),
            average_decay=jnp.asarray(averaging.decay(settings, total_steps), jnp.float32),
        )


class ClassifierStage:
    """Classifier training as the training loop sees it: its data, its initial state, its step and its evaluation.

    Attributes:
        batches: makes what the classifier is shown.
        classifier: measures the states of the training.
    """

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
        pretrained: State | None = None,
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
            pretrained: a state of pretraining, from whose network the training starts; None: from a random one.
        """
        settings, plan = config.classifier, data.plan
        self.config, self.epochs, self.plan, self.num_classes = config, settings.epochs, plan, num_classes
        self._pretrained = pretrained
        mixer, networks = Mixer.of(config, data.augmentation, generator, discriminator) if mixes else (None, {})
        self.batches = ClassifierBatches(config, data.augmentation, mixer)
        total_steps = self.epochs * plan.steps
        self.inputs = ClassifierInputs.of(settings, data.images, networks, total_steps)
        network: Network = nnx.eval_shape(lambda: build_classifier(config, num_classes, nnx.Rngs(0)))
        self.growing = GrowingSides.of(settings.growing_sides, settings.image_side, total_steps)
        self._step = ClassificationStep(
            nnx.graphdef(network.train()),
            self._optimizer(self.inputs),
            settings.label_smoothing,
            averaging.averages(settings),
            loss_name=settings.loss,
            loss_code=settings.loss_code,
        )
        self._unmixed: UnmixedStatistics | None = None
        if settings.batch_statistics == "unmixed":
            balanced = settings.class_balance == "sampling"
            self._unmixed = UnmixedStatistics(network, data.augmentation, settings.batch_size, balanced=balanced)
        self.classifier = MeasuredClassifier(network.eval(), test_set, config)

    def _optimizer(self, inputs: ClassifierInputs) -> optax.GradientTransformation:
        return sgd(inputs.schedule, self.config.classifier.momentum, inputs.weight_decay)

    def train_step(
        self,
        state: State,
        inputs: ClassifierInputs,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
        side: int | None = None,
    ) -> tuple[State, Metrics]:
        """Updates the classifier once, as a pure function.

        Args:
            state: parameters, batch statistics and optimizer state.
            inputs: the training images and the frozen networks.
            indices: positions of the batch's images among the training images.
            example_mask: False where an image only pads an incomplete batch; None if there is no padding.
            key: the source of the step's random numbers, except for the coin.
            shared_key: the coin's key, the same for every seed.
            side: pixels per side at which the classifier sees the batch; None: ``config.classifier.image_side``.
        """
        image_key, dropout_key, blend_key = jax.random.split(key, 3)

        # Balance: images of small classes more often, or with more weight.
        indices, class_weights = self.batches.balanced(key, inputs.data, indices)

        # Coin: is the whole batch mixed, or none of it?
        mixed = self.batches.is_mixed(shared_key)

        # Images: mixed with others of their classes, or only augmented; labels stay the same either way.
        images = self.batches.images(image_key, inputs.data, inputs.networks, indices, mixed)
        labels = inputs.data.labels[indices]

        # Growing sides: smaller images at first. Mixup is linear, so blending them afterwards is the same.
        images = images if side is None else geometry.resize_antialiased(images, side)

        # Mixup or CutMix, in experiments that use it; unless set otherwise, it leaves a mixed batch alone.
        blend = self.batches.blend(blend_key, images, example_mask, mixed)

        # Loss and update.
        step = self._step.with_arguments(self._optimizer(inputs), inputs.average_decay)
        with computing(self.config.precision):
            return step.update(state, images, labels, dropout_key, example_mask, blend, class_weights)

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Draws a classifier, of which pretraining leaves only the head random, and initialises its optimizer."""
        classifier = build_classifier(self.config, self.num_classes, nnx.Rngs(params=key))
        if self._pretrained is not None:
            update_all_but_head(classifier, self._pretrained)
        return self._step.initial_state(classifier)

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate at a step, counted from 0."""
        return float(self.inputs.schedule(step))

    def skip(self, state: State, steps: int) -> State:
        """Returns the state with the learning rate that follows further steps, and with an average that has aged."""
        state = advanced(state, steps)
        if averaging.AVERAGE not in state:
            return state
        aged = averaging.aged_average(state[averaging.AVERAGE], self.inputs.average_decay, steps)
        return state | {averaging.AVERAGE: aged}

    def finished(self, state: State, key: PRNGKeyArray) -> State:
        """Returns the state with the batch statistics that are to predict (``config.classifier.batch_statistics``)."""
        if self._unmixed is None:
            return state
        with computing(self.config.precision):
            return with_statistics(state, self._unmixed(*evaluated(state), self.inputs.data, key))

    def evaluate(self, state: State) -> dict[str, float]:
        """Returns top-1 accuracy and loss on the held-out images; see ``MeasuredClassifier.evaluate``."""
        return self.classifier.evaluate(state)
