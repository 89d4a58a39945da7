"""Stage 2: training the classifier, on mixed images where the experiment asks for them, with the generator frozen."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, UInt8
from ml_collections import ConfigDict

from chimeramix_jax import mixing
from chimeramix_jax.augment import geometry
from chimeramix_jax.config import ENCODER_STRIDE
from chimeramix_jax.data import sampling
from chimeramix_jax.evaluation import Evaluation, TestSet
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.precision import computation_dtype

State = dict[str, PyTree]


@dataclass(frozen=True)
class ClassificationStep:
    """One SGD update on labelled images, as a pure function of the state.

    The state is a dictionary of ``parameters``, ``batch_statistics`` and ``optimizer``.
    """

    classifier: nnx.GraphDef
    optimizer: optax.GradientTransformation

    def initial_state(self, classifier: WideResNet) -> State:
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
    ) -> tuple[Float[Array, ""], tuple[PyTree, Float[Array, ""]]]:
        """Mean cross entropy; beside it the new statistics and the share of images classified right."""
        classifier = nnx.merge(self.classifier, parameters, statistics, copy=True)
        logits = classifier(images, example_mask=example_mask, dropout_key=dropout_key)
        entropies = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
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
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """Updates the classifier; examples where ``example_mask`` is False do not count."""
        parameters = state["parameters"]
        (loss, (statistics, accuracy)), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            parameters, state["batch_statistics"], images, labels, dropout_key, example_mask
        )
        updates, optimizer = self.optimizer.update(gradients, state["optimizer"], parameters)
        parameters = optax.apply_updates(parameters, updates)
        state = {"parameters": parameters, "batch_statistics": statistics, "optimizer": optimizer}
        return state, {"loss": loss, "accuracy": accuracy}


def sgd(learning_rate: float, momentum: float, weight_decay: float, total_steps: int) -> optax.GradientTransformation:
    """Nesterov SGD as in PyTorch: L2 decay of every parameter added to its gradient, cosine schedule to 0."""
    schedule = optax.cosine_decay_schedule(learning_rate, total_steps)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum, nesterov=True))


def build_classifier(config: ConfigDict, num_classes: int, rngs: nnx.Rngs) -> WideResNet:
    """A classifier as the config describes it, in training mode."""
    settings = config.classifier
    depth, width = map(int, settings.model.removeprefix("wrn-").split("-"))
    dtype = computation_dtype(config.precision)
    return WideResNet(depth, width, num_classes, dropout_rate=settings.dropout_rate, dtype=dtype, rngs=rngs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierInputs:
    """What the classifier's steps read: the training images and the frozen generator's parameters, if any."""

    data: sampling.ResidentData
    generator: PyTree | None


class ClassifierStage:
    """What the training loop needs to know to train the classifier."""

    name = "classifier"

    def __init__(
        self,
        config: ConfigDict,
        data: sampling.ResidentData,
        plan: sampling.EpochPlan,
        num_classes: int,
        generator: Generator | None,
        test_set: TestSet,
    ):
        """Prepares the stage for images already of ``config.classifier.image_side``; no generator, no mixing."""
        settings = config.classifier
        self.config, self.epochs, self.plan, self.num_classes = config, settings.epochs, plan, num_classes
        self._views = geometry.RandomViews.of(config.augment, settings.image_side)
        self._generator = None if generator is None else nnx.graphdef(generator)
        self.inputs = ClassifierInputs(data, None if generator is None else nnx.state(generator))
        self.test_set = test_set
        classifier = nnx.eval_shape(lambda: build_classifier(config, num_classes, nnx.Rngs(0)))
        self._step = ClassificationStep(
            nnx.graphdef(classifier.train()),
            sgd(settings.learning_rate, settings.momentum, settings.weight_decay, self.epochs * plan.steps),
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
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """One update on the images at ``indices``, mixed with partners of their classes if there is a generator."""
        view_key, mix_key, dropout_key = jax.random.split(key, 3)
        images = self._views(view_key, inputs.data.images, indices)
        if self._generator is not None:
            images = self._mix(mix_key, images, inputs, indices, nnx.merge(self._generator, inputs.generator))
        return self._step(state, images, inputs.data.labels[indices], dropout_key, example_mask)

    def _mix(self, key: PRNGKeyArray, images, inputs: ClassifierInputs, indices, generator: Generator):
        """Mixes each image with a view of a partner, at the generator's size."""
        partner_key, view_key, mask_key = jax.random.split(key, 3)
        partners = sampling.same_class_partners(partner_key, inputs.data, indices)
        others = self._views(view_key, inputs.data.images, partners)
        side = self.config.generator.image_side
        mask = mixing.grid_masks(mask_key, len(indices), side // ENCODER_STRIDE, self.config.mixing.mix_size)
        a, b = (geometry.resize_align_corners(pictures, side) for pictures in (images, others))
        return geometry.resize_align_corners(generator(a, b, mask).astype(images.dtype), images.shape[1])

    def evaluate(self, state: State) -> dict[str, float]:
        """Top-1 accuracy and loss on all images held out, named after the split that they come from."""
        evaluation, split = self.measure(state), self.config.dataset.evaluate_on
        return {f"{split}_top1": evaluation.top1, f"{split}_loss": evaluation.loss}

    def measure(self, state: State) -> Evaluation:
        """All figures of the images held out."""
        return self.test_set.evaluate(partial(self._predict, state["parameters"], state["batch_statistics"]))


def predict(
    classifier: nnx.GraphDef, parameters: PyTree, statistics: PyTree, images: UInt8[Array, "batch side side 3"]
) -> Float[Array, "batch classes"]:
    """Logits of images in 0..255 by a classifier in evaluation mode."""
    return nnx.merge(classifier, parameters, statistics)(geometry.normalize(images))
