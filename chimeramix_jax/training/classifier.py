"""Stage 2: training the classifier, on mixed images where the experiment asks for them, with the generator frozen."""

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax import mixing
from chimeramix_jax.augment import geometry
from chimeramix_jax.data import sampling
from chimeramix_jax.models.generator import DOWNSAMPLING, Generator
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.precision import computation_dtype
from chimeramix_jax.training.generator import view_settings

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
        _, parameters, statistics = nnx.split(classifier, nnx.Param, nnx.BatchStat)
        return {
            "parameters": parameters,
            "batch_statistics": statistics,
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
    depth, width = map(int, re.fullmatch(r"wrn-(\d+)-(\d+)", settings.model).groups())
    dtype = computation_dtype(config.precision)
    return WideResNet(depth, width, num_classes, dropout_rate=settings.dropout_rate, dtype=dtype, rngs=rngs)


class ClassifierStage:
    """What the training loop needs to know to train the classifier."""

    name = "classifier"

    def __init__(
        self,
        config: ConfigDict,
        data: sampling.ResidentData,
        steps_per_epoch: int,
        num_classes: int,
        generator: Generator | None,
    ):
        """Prepares the stage for images already of ``config.classifier.image_side``; no generator, no mixing."""
        settings = config.classifier
        self.config, self.data, self.num_classes = config, data, num_classes
        self.epochs, self.batch_size, self.steps_per_epoch = settings.epochs, settings.batch_size, steps_per_epoch
        self._generator = None if generator is None else nnx.split(generator)
        classifier = build_classifier(config, num_classes, nnx.Rngs(0))
        self._evaluated = nnx.graphdef(classifier.eval())
        self._step = ClassificationStep(
            nnx.graphdef(classifier.train()),
            sgd(settings.learning_rate, settings.momentum, settings.weight_decay, self.epochs * steps_per_epoch),
        )

    def initial_state(self, key: PRNGKeyArray) -> State:
        """A freshly drawn classifier with its optimizer."""
        return self._step.initial_state(build_classifier(self.config, self.num_classes, nnx.Rngs(params=key)))

    def train_step(
        self, state: State, data: sampling.ResidentData, indices, example_mask, key: PRNGKeyArray
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """One update on the images at ``indices``, mixed with partners of their classes if there is a generator."""
        view_key, mix_key, dropout_key = jax.random.split(key, 3)
        views = view_settings(self.config, self.config.classifier.image_side)
        images = geometry.random_views(view_key, data.images, indices, **views)
        if self._generator is not None:
            images = self._mix(images, data, indices, views, mix_key)
        return self._step(state, images, data.labels[indices], dropout_key, example_mask)

    def _mix(self, images, data, indices, views, key: PRNGKeyArray) -> Float[Array, "batch side side 3"]:
        """Mixes each image with a view of a partner, at the generator's size."""
        partner_key, view_key, mask_key = jax.random.split(key, 3)
        partners = sampling.same_class_partners(partner_key, data, indices)
        others = geometry.random_views(view_key, data.images, partners, **views)
        side = self.config.generator.image_side
        mask = mixing.grid_masks(mask_key, indices.shape[0], side // DOWNSAMPLING, self.config.mixing.mix_size)
        a, b = (geometry.resize_align_corners(pictures, side) for pictures in (images, others))
        mixed = nnx.merge(*self._generator)(a, b, mask).astype(images.dtype)
        return geometry.resize_align_corners(mixed, images.shape[1])

    def predict(self, state: State, images: Float[Array, "batch side side 3"]) -> Float[Array, "batch classes"]:
        """Logits in evaluation mode of images in [-1, 1]."""
        return nnx.merge(self._evaluated, state["parameters"], state["batch_statistics"])(images)
