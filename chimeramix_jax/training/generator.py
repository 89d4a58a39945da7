"""Stage 1: trains the generator and the discriminator against each other (section 3 of the paper)."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.data import sampling
from chimeramix_jax.mixing import sources
from chimeramix_jax.mixing.blending import blend_many, encoded, mixed_from_many
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computing
from chimeramix_jax.training import losses
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.networks import build_discriminator, build_generator
from chimeramix_jax.training.plain_stage import PlainStage
from chimeramix_jax.training.schedules import Drops, Schedule, WarmCosine
from chimeramix_jax.training.stage_data import ScheduledData, StageData

Images = Float[Array, "batch side side 3"]
Sources = Float[Array, "images batch side side 3"]
Partition = Float[Array, "images batch mask_side mask_side 1"]
ExampleWeights = Float[Array, "batch"] | None

_WARM_UP = 0.03  # share of the steps of a cosine schedule in which the learning rate rises


class GeneratorStage(PlainStage):
    """Generator training as the training loop sees it: its data, its initial state and its step."""

    name = "generator"
    inputs: ScheduledData

    def __init__(self, config: ConfigDict, data: StageData):
        """Prepares training on the given data."""
        settings, plan = config.generator, data.plan
        self.config, self.epochs, self.plan = config, settings.epochs, plan
        self.inputs = ScheduledData(data.images, learning_rate_schedule(settings, plan.steps))
        self._augmentation = data.augmentation
        self._masks = MaskRule.of(config.mixing, Generator.features_side(settings.image_side))
        generator, discriminator = nnx.eval_shape(lambda: self._networks(jax.random.key(0)))
        self._step = AdversarialStep(
            generator=nnx.graphdef(generator),
            discriminator=nnx.graphdef(discriminator),
            optimizer=self._optimizer(self.inputs.schedule),
            reconstruction_weight=settings.reconstruction_weight,
            adversarial_weight=settings.adversarial_weight,
            perceptual_weight=settings.perceptual_weight,
        )

    def train_step(
        self,
        state: State,
        inputs: ScheduledData,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """Updates both networks once; the arguments are those of ``epochs.TrainStep``.

        Seeds share no random numbers in this stage.
        """
        del shared_key
        view_key, mask_key, fake_mask_key, coin_key = jax.random.split(key, 4)

        # Sources: every image gets partners from its own class, and all are augmented independently.
        images, segments = self._draw_sources(view_key, inputs.data, indices)

        # Masks: one for the mixes that train the generator, another for those that train the discriminator.
        partition = self._draw_partition(mask_key, inputs.data, len(indices), segments)
        fake_partition = self._draw_partition(fake_mask_key, inputs.data, len(indices), segments)

        # Real images: one of every mix's sources, the first ones or their first partners, ...
        real = images[self._draw_real(coin_key)]

        # Losses and updates: first the generator, then the discriminator on mixes by the updated generator.
        weights = None if example_mask is None else example_mask.astype(images.dtype)
        step = self._step.with_optimizer(self._optimizer(inputs.schedule))
        with computing(self.config.precision):
            return step.update(state, images, partition, fake_partition, real, weights)

    def _draw_sources(
        self, key: PRNGKeyArray, data: sampling.ResidentData, indices: Int[Array, "batch"]
    ) -> tuple[Sources, Integer[Array, "batch side side"] | None]:
        """Draws partners and views; returns the images of every mix, and the last ones' segments if masks follow them.

        For pairs, the images are the batch's images *a* and their partners *b*.
        """
        number = self.config.generator.images
        keys = jax.random.split(key, 2 * number - 1)
        partner_keys, view_keys = keys[: number - 1], keys[number - 1 :]
        drawn = sources.draw(partner_keys, view_keys, self._augmentation, data, indices)
        return drawn.views, drawn.segments

    def _draw_partition(
        self,
        key: PRNGKeyArray,
        data: sampling.ResidentData,
        batch_size: int,
        segments: Integer[Array, "batch_size side side"] | None,
    ) -> Partition:
        """Draws masks of the features' size; ``segments`` are those of the last images, if masks follow segments."""
        number = self.config.generator.images
        return self._masks.partitions(key, batch_size, segments, data.segment_labels, number)

    def _draw_real(self, key: PRNGKeyArray) -> Int[Array, ""]:
        """Draws which of the sources the whole batch shows the discriminator as real; for pairs by a fair coin."""
        number = self.config.generator.images
        if number == 2:
            return jnp.where(jax.random.bernoulli(key), 0, 1)
        return jax.random.randint(key, (), 0, number)

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Draws both networks and initialises their optimizers."""
        return self._step.initial_state(*self._networks(key))

    def _optimizer(self, schedule: Schedule) -> optax.GradientTransformation:
        settings = self.config.generator
        return optax.adam(schedule, b1=settings.adam_b1, b2=settings.adam_b2)

    def _networks(self, key: PRNGKeyArray) -> tuple[Generator, Discriminator]:
        rngs = nnx.Rngs(params=key)
        return build_generator(self.config, rngs), build_discriminator(self.config, rngs)

    def generator(self, state: State) -> Generator:
        """Returns the generator with the parameters of a state."""
        return nnx.merge(self._step.generator, state["generator"])


@dataclass(frozen=True)
class AdversarialStep:
    """The losses and updates of an adversarial training step, as pure functions.

    The state is a dictionary of ``generator`` and ``discriminator`` parameters and of ``generator_optimizer`` and
    ``discriminator_optimizer`` states. Example weights are 1, or 0 for images that only pad an incomplete batch.
    """

    generator: nnx.GraphDef[Generator]
    discriminator: nnx.GraphDef[Discriminator]
    optimizer: optax.GradientTransformation
    reconstruction_weight: float = 1000.0
    adversarial_weight: float = 1.0
    perceptual_weight: float = 1.0

    def initial_state(self, generator: Generator, discriminator: Discriminator) -> State:
        """Returns the state that starts from the parameters of the two networks."""
        parameters = {"generator": nnx.state(generator), "discriminator": nnx.state(discriminator)}
        return parameters | {f"{name}_optimizer": self.optimizer.init(value) for name, value in parameters.items()}

    def with_optimizer(self, optimizer: optax.GradientTransformation) -> "AdversarialStep":
        """Returns the step with another optimizer, whose state has the same structure."""
        return dataclasses.replace(self, optimizer=optimizer)

    def update(
        self,
        state: State,
        images: Sources,
        partition: Partition,
        fake_partition: Partition,
        real: Images,
        weights: ExampleWeights = None,
    ) -> tuple[State, Metrics]:
        """Updates the generator, then the discriminator.

        Args:
            state: before the step.
            images: the sources of every mix, in [-1, 1]; for pairs the images a, then the images b.
            partition: mixes them for the generator's update.
            fake_partition: mixes them for the discriminator's update.
            real: the images that the discriminator is to call real.
            weights: of the mixes in the losses; None: all the same.

        Returns:
            The state after the step, and the losses.
        """
        # The generator, scored by the discriminator as it is.
        gradients, metrics = jax.grad(self.generator_loss, has_aux=True)(
            state["generator"], state["discriminator"], images, partition, weights
        )
        state = self._updated(state, "generator", gradients)

        # The discriminator, on new mixes by the updated generator.
        fake = mixed_from_many(nnx.merge(self.generator, state["generator"]), images, fake_partition).astype(
            images.dtype
        )
        loss, gradients = jax.value_and_grad(self.discriminator_loss)(state["discriminator"], real, fake, weights)
        return self._updated(state, "discriminator", gradients), metrics | {"discriminator": loss}

    def generator_loss(
        self, parameters: PyTree, discriminator: PyTree, images: Sources, partition: Partition, weights: ExampleWeights
    ) -> tuple[Float[Array, ""], Metrics]:
        """Returns the generator's loss and its terms; decodes every mix and each of its sources.

        The terms of the reconstructions are sums over a pair, as published. For more images they are twice the mean
        over the sources, so that they keep their weight beside the adversarial term.
        """
        generator = nnx.merge(self.generator, parameters)
        features = encoded(generator, images)
        blends = blend_many(features, partition)
        decoded = generator.decode(jnp.concatenate([blends, *features])).astype(images.dtype)
        mixed, *reconstructions = jnp.split(decoded, len(images) + 1)
        scores = nnx.merge(self.discriminator, discriminator)(mixed).astype(images.dtype)

        def of_a_pair(loss):
            pairs = zip(reconstructions, images, strict=True)
            return sum(loss(reconstruction, image, weights) for reconstruction, image in pairs) * (2 / len(images))

        terms = {
            "reconstruction": of_a_pair(losses.reconstruction_loss),
            "adversarial": losses.least_squares_loss(scores, 1.0, weights),
            "perceptual": of_a_pair(losses.laplacian_pyramid_loss),
        }
        total = (
            self.reconstruction_weight * terms["reconstruction"]
            + self.adversarial_weight * terms["adversarial"]
            + self.perceptual_weight * terms["perceptual"]
        )
        return total, terms | {"generator": total}

    def discriminator_loss(
        self, parameters: PyTree, real: Images, fake: Images, weights: ExampleWeights
    ) -> Float[Array, ""]:
        """Returns the discriminator's loss: real images should score 1, mixes 0."""
        discriminator = nnx.merge(self.discriminator, parameters)
        scores = discriminator(jnp.concatenate([real, fake])).astype(real.dtype)
        real_scores, fake_scores = jnp.split(scores, 2)
        return losses.least_squares_loss(real_scores, 1.0, weights) + losses.least_squares_loss(
            fake_scores, 0.0, weights
        )

    def _updated(self, state: State, name: str, gradients: PyTree) -> State:
        updates, optimizer = self.optimizer.update(gradients, state[f"{name}_optimizer"], state[name])
        return state | {name: optax.apply_updates(state[name], updates), f"{name}_optimizer": optimizer}


def learning_rate_schedule(settings: ConfigDict, steps_per_epoch: int) -> Drops | WarmCosine:
    """Returns the schedule of ``config.generator``, in steps.

    ``drops``, as published, multiplies the rate by ``learning_rate_drop_factor`` at each of ``learning_rate_drops``.
    The drops are given as shares of all epochs and rounded to the nearest end of an epoch, the first epoch's at the
    earliest. If several drops round to the same end, the rate is multiplied once for each.

    ``cosine`` rises evenly in the first 3 % of the steps and then falls to 0 along a cosine.
    """
    if settings.learning_rate_schedule == "cosine":
        return WarmCosine.over(settings.learning_rate, settings.epochs * steps_per_epoch, _WARM_UP)
    ends = [max(round(share * settings.epochs), 1) * steps_per_epoch for share in settings.learning_rate_drops]
    return Drops.at(settings.learning_rate, ends, settings.learning_rate_drop_factor)
