"""Contrastive pretraining of the classifier's network on the training images alone, without their labels (SimCLR)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.augment.contrastive import contrastive_views
from chimeramix_jax.data.sampling import ResidentData
from chimeramix_jax.models.ensemble import Network
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.models.projection import ProjectionHead
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.contrastive_loss import contrastive_loss
from chimeramix_jax.training.networks import build_classifier, parameters_and_statistics
from chimeramix_jax.training.plain_stage import PlainStage
from chimeramix_jax.training.schedules import WarmCosine
from chimeramix_jax.training.stage_data import StageData


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PretrainingInputs:
    """What the steps of pretraining read.

    Attributes:
        data: the images.
        numbers: of each image, equal for copies, as a fold's run has them.
        schedule: of the learning rate.
    """

    data: ResidentData
    numbers: Int[Array, "*seeds examples"]
    schedule: WarmCosine


_WARM_UP = 0.05  # share of the steps in which the learning rate rises: 10 of 200 epochs


class PretrainingStage(PlainStage):
    """Contrastive pretraining as the training loop sees it: its data, its initial state and its step.

    Chen et al., *A simple framework for contrastive learning of visual representations*, ICML 2020. Ours: Adam instead
    of LARS, since batches are small, and views of the same image are never told apart (``contrastive_loss``).

    The state is a dictionary of ``parameters``, ``batch_statistics``, ``projection`` (parameters) and ``optimizer``.
    """

    name = "pretraining"
    inputs: PretrainingInputs

    def __init__(self, config: ConfigDict, data: StageData, num_classes: int):
        """Prepares pretraining on the given data, of which only the images and the plan are used."""
        settings, plan = config.pretraining, data.plan
        self.config, self.epochs, self.plan = config, settings.epochs, plan
        self._num_classes = num_classes
        schedule = WarmCosine.over(settings.learning_rate, self.epochs * plan.steps, _WARM_UP)
        self.inputs = PretrainingInputs(data.images, _numbers_without_copies(data.images), schedule)
        network, projection = nnx.eval_shape(lambda: self._networks(jax.random.key(0)))
        self._network: nnx.GraphDef[Network] = nnx.graphdef(network)
        self._projection: nnx.GraphDef[ProjectionHead] = nnx.graphdef(projection)

    def train_step(
        self,
        state: State,
        inputs: PretrainingInputs,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """Updates the network and the projection once; the arguments are those of ``epochs.TrainStep``.

        Seeds share no random numbers in this stage.
        """
        del shared_key
        first_key, second_key, dropout_key = jax.random.split(key, 3)
        images, mirror = inputs.data.images[indices], self.config.augment.horizontal_flip
        views = jnp.concatenate(
            [contrastive_views(own_key, images, mirror=mirror) for own_key in (first_key, second_key)]
        )
        counts = None if example_mask is None else jnp.concatenate([example_mask, example_mask])

        def loss(trained: dict[str, PyTree]) -> tuple[Array, tuple[PyTree, Array]]:
            network = nnx.merge(self._network, trained["parameters"], state["batch_statistics"], copy=True)
            maps = network.feature_maps(views, example_mask=counts, dropout_key=dropout_key)
            vectors = nnx.merge(self._projection, trained["projection"])(mean_over_pixels(maps))
            first, second = jnp.split(vectors, 2)
            temperature = self.config.pretraining.temperature
            value, found = contrastive_loss(first, second, inputs.numbers[indices], temperature, example_mask)
            return value, (nnx.state(network, nnx.BatchStat), found)

        trained = {name: state[name] for name in ("parameters", "projection")}
        with computing(self.config.precision):
            (value, (statistics, found)), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, optimizer = optax.adam(inputs.schedule).update(gradients, state["optimizer"], trained)
        updated = optax.apply_updates(trained, updates)
        return {**updated, "batch_statistics": statistics, "optimizer": optimizer}, {"loss": value, "accuracy": found}

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Draws the network and the projection, and initialises their optimizer."""
        network, projection = self._networks(key)
        parameters, statistics = parameters_and_statistics(network)
        trained = {"parameters": parameters, "projection": nnx.state(projection)}
        optimizer = optax.adam(self.inputs.schedule).init(trained)
        return {**trained, "batch_statistics": statistics, "optimizer": optimizer}

    def _networks(self, key: PRNGKeyArray) -> tuple[Network, ProjectionHead]:
        rngs = nnx.Rngs(params=key)
        network = build_classifier(self.config, self._num_classes, rngs)
        channels = network.head.kernel[...].shape[0]
        return network, ProjectionHead(channels, self.config.pretraining.projection_size, rngs=rngs)


def _numbers_without_copies(data: ResidentData) -> Int[Array, "examples"]:
    """Returns a number for each image, from 0, that images of the same pixels share."""
    seen: dict[bytes, int] = {}
    numbers = [seen.setdefault(image.tobytes(), len(seen)) for image in np.asarray(data.images)]
    return jnp.asarray(numbers, jnp.int32)
