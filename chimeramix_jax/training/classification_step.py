"""A classifier's training step: the loss and the update of parameters and statistics, as pure functions."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from chimeramix_jax.augment.blend import Blend
from chimeramix_jax.models.ensemble import Network
from chimeramix_jax.training.averaging import AVERAGE, initial_average, updated_average
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.classification_loss import loss_of
from chimeramix_jax.training.networks import parameters_and_statistics
from chimeramix_jax.training.schedules import Schedule


class LossDetails(NamedTuple):
    """What the forward pass yields besides the loss: updated batch statistics, and the accuracy on the batch."""

    batch_statistics: PyTree
    accuracy: Float[Array, ""]


@dataclass(frozen=True)
class ClassificationStep:
    """The loss and the SGD update of a classifier training step, as pure functions.

    The state is a dictionary of ``parameters``, ``batch_statistics`` and ``optimizer``. If the step ``averages``, there
    is also the moving average ``average``, of which ``average_decay`` is the decay per step.
    """

    classifier: nnx.GraphDef[Network]
    optimizer: optax.GradientTransformation
    label_smoothing: float = 0.0
    averages: bool = False
    average_decay: Float[Array, ""] | float = 0.0
    loss_name: str = "cross_entropy"  # see ``classification_loss.loss_of``
    loss_code: str = ""

    def initial_state(self, classifier: Network) -> State:
        """Returns the state that starts from the network's parameters and statistics."""
        parameters, statistics = parameters_and_statistics(classifier)
        state = {
            "parameters": parameters,
            "batch_statistics": statistics,
            "optimizer": self.optimizer.init(parameters),
        }
        return state | ({AVERAGE: initial_average(parameters, statistics)} if self.averages else {})

    def with_arguments(
        self, optimizer: optax.GradientTransformation, average_decay: Float[Array, ""]
    ) -> "ClassificationStep":
        """Returns the step with another optimizer, whose state has the same structure, and another decay."""
        return dataclasses.replace(self, optimizer=optimizer, average_decay=average_decay)

    def update(
        self,
        state: State,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None = None,
        example_mask: Bool[Array, "batch"] | None = None,
        blend: Blend | None = None,
        class_weights: Float[Array, "classes"] | None = None,
    ) -> tuple[State, Metrics]:
        """Updates the classifier on a batch.

        Args:
            state: before the step.
            images: in [-1, 1].
            labels: their classes, from 0.
            dropout_key: the source of dropout's random numbers; may be None if the rate is 0.
            example_mask: False for images that do not count; None: all count.
            blend: combines images and losses; None: nothing does. The accuracy is that for the images' own labels.
            class_weights: multiply the losses of each class's images; None: all count alike.

        Returns:
            The state after the step, and the batch's loss and accuracy.
        """
        parameters, average = state["parameters"], state.get(AVERAGE)
        (loss, details), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            parameters, state["batch_statistics"], images, labels, dropout_key, example_mask, blend, class_weights
        )
        updates, optimizer = self.optimizer.update(gradients, state["optimizer"], parameters)
        state = {
            "parameters": optax.apply_updates(parameters, updates),
            "batch_statistics": details.batch_statistics,
            "optimizer": optimizer,
        }
        if average is not None:
            newest = state["parameters"], state["batch_statistics"]
            state[AVERAGE] = updated_average(average, *newest, self.average_decay)
        return state, {"loss": loss, "accuracy": details.accuracy}

    def loss(
        self,
        parameters: PyTree,
        statistics: PyTree,
        images: Float[Array, "batch side side 3"],
        labels: Int[Array, "batch"],
        dropout_key: PRNGKeyArray | None,
        example_mask: Bool[Array, "batch"] | None,
        blend: Blend | None,
        class_weights: Float[Array, "classes"] | None = None,
    ) -> tuple[Float[Array, ""], LossDetails]:
        """Returns the mean loss of a batch; the arguments are those of ``update``."""
        classifier = nnx.merge(self.classifier, parameters, statistics, copy=True)
        images = images if blend is None else blend.blend(images)
        logits = classifier(images, example_mask=example_mask, dropout_key=dropout_key)
        per_image = loss_of(self.loss_name, self.loss_code)
        loss = partial(per_image, smoothing=self.label_smoothing, class_weights=class_weights)
        losses = loss(logits, labels) if blend is None else blend.losses(logits, labels, loss)
        correct = jnp.argmax(logits, axis=-1) == labels
        mean = jnp.mean(losses, where=example_mask)
        return mean, LossDetails(nnx.state(classifier, nnx.BatchStat), jnp.mean(correct, where=example_mask))


def evaluated(state: State) -> tuple[PyTree, PyTree]:
    """Returns the parameters and batch statistics that are evaluated and predict: averaged ones if there are any."""
    source = state.get(AVERAGE, state)
    return source["parameters"], source["batch_statistics"]


def with_statistics(state: State, statistics: PyTree) -> State:
    """Returns the state with other batch statistics in place of those that ``evaluated`` returns."""
    if AVERAGE in state:
        return state | {AVERAGE: state[AVERAGE] | {"batch_statistics": statistics}}
    return state | {"batch_statistics": statistics}


def evaluated_entries(classifier: Network, *, averages: bool) -> State:
    """Returns the shapes of the entries of a stored state that ``evaluated`` needs, for a classifier without values."""
    parameters, statistics = parameters_and_statistics(classifier)
    if averages:
        return {AVERAGE: jax.eval_shape(initial_average, parameters, statistics)}
    return {"parameters": parameters, "batch_statistics": statistics}


def sgd(schedule: Schedule, momentum: float, weight_decay: float | Float[Array, ""]) -> optax.GradientTransformation:
    """Returns Nesterov SGD as in PyTorch: the L2 decay of every parameter is added to its gradient."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum, nesterov=True))
