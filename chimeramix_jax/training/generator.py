"""Stage 1: trains the generator and the discriminator against each other (section 3 of the paper)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.blending import blend, mixed_images
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computation_dtype, computing
from chimeramix_jax.training import losses
from chimeramix_jax.training.calls import Metrics, State
from chimeramix_jax.training.stage_data import StageData

Images = Float[Array, "batch side side 3"]
Mask = Float[Array, "batch mask_side mask_side 1"]
ExampleWeights = Float[Array, "batch"] | None


class GeneratorStage:
    """Generator training as the training loop sees it: its data, its initial state and its step."""

    name = "generator"

    def __init__(self, config: ConfigDict, data: StageData):
        """Prepares training on the given data."""
        settings, plan = config.generator, data.plan
        self.config, self.epochs, self.plan, self.inputs = config, settings.epochs, plan, data.images
        self._augmentation = data.augmentation
        self._masks = MaskRule.of(config.mixing, Generator.features_side(settings.image_side))
        self._schedule = learning_rate_schedule(settings, plan.steps)
        generator, discriminator = nnx.eval_shape(lambda: self._networks(jax.random.key(0)))
        self._step = AdversarialStep(
            generator=nnx.graphdef(generator),
            discriminator=nnx.graphdef(discriminator),
            optimizer=optax.adam(self._schedule, b1=settings.adam_b1, b2=settings.adam_b2),
            reconstruction_weight=settings.reconstruction_weight,
            adversarial_weight=settings.adversarial_weight,
            perceptual_weight=settings.perceptual_weight,
        )

    def train_step(
        self,
        state: State,
        inputs: sampling.ResidentData,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """Updates both networks once, as a pure function.

        Args:
            state: parameters and optimizer states.
            inputs: the training images.
            indices: positions of the batch's images among them.
            example_mask: False where an image only pads an incomplete batch; None if there is no padding.
            key: the source of the step's random numbers.
            shared_key: the same for every seed; not used, since seeds share no random numbers in this stage.
        """
        del shared_key
        view_key, mask_key, fake_mask_key, coin_key = jax.random.split(key, 4)

        # Pairs: every image a gets a partner b from its own class, and both are augmented independently.
        partner_key, key_a, key_b = jax.random.split(view_key, 3)
        partners = sampling.same_class_partners(partner_key, inputs, indices)
        a, _ = self._augmentation(key_a, inputs, indices)
        b, segments = self._augmentation(key_b, inputs, partners)

        # Masks: one for the mixes that train the generator, another for those that train the discriminator.
        mask = self._draw_masks(mask_key, inputs, len(indices), segments)
        fake_mask = self._draw_masks(fake_mask_key, inputs, len(indices), segments)

        # Real images: either all a or all b, decided by one fair coin for the batch.
        real = jnp.where(jax.random.bernoulli(coin_key), a, b)

        # Losses and updates: first the generator, then the discriminator on mixes by the updated generator.
        weights = None if example_mask is None else example_mask.astype(a.dtype)
        with computing(self.config.precision):
            return self._step.update(state, a, b, mask, fake_mask, real, weights)

    def _draw_masks(
        self,
        key: PRNGKeyArray,
        data: sampling.ResidentData,
        batch_size: int,
        segments: Integer[Array, "batch_size side side"] | None,
    ) -> Mask:
        """Draws masks of the features' size; ``segments`` are those of the images b, if masks follow segments."""
        return self._masks.partitions(key, batch_size, segments, data.segment_labels)[0]

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Draws both networks and initialises their optimizers."""
        return self._step.initial_state(*self._networks(key))

    def _networks(self, key: PRNGKeyArray) -> tuple[Generator, Discriminator]:
        rngs = nnx.Rngs(params=key)
        return build_generator(self.config, rngs), build_discriminator(self.config, rngs)

    def generator(self, state: State) -> Generator:
        """Returns the generator with the parameters of a state."""
        return nnx.merge(self._step.generator, state["generator"])

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of both optimizers at a step, counted from 0."""
        return float(self._schedule(step))

    def evaluate(self, state: State) -> dict[str, float]:
        """Returns no metrics: generator training is measured by its losses alone."""
        return {}


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

    def update(
        self,
        state: State,
        a: Images,
        b: Images,
        mask: Mask,
        fake_mask: Mask,
        real: Images,
        weights: ExampleWeights = None,
    ) -> tuple[State, Metrics]:
        """Updates the generator, then the discriminator.

        Args:
            state: before the step.
            a: the pairs' first images, in [-1, 1].
            b: their second images.
            mask: mixes a and b for the generator's update.
            fake_mask: mixes them for the discriminator's update.
            real: the images that the discriminator is to call real: a or b.
            weights: of the pairs in the losses; None: all the same.

        Returns:
            The state after the step, and the losses.
        """
        # The generator, scored by the discriminator as it is.
        gradients, metrics = jax.grad(self.generator_loss, has_aux=True)(
            state["generator"], state["discriminator"], a, b, mask, weights
        )
        state = self._updated(state, "generator", gradients)

        # The discriminator, on new mixes by the updated generator.
        fake = mixed_images(nnx.merge(self.generator, state["generator"]), a, b, fake_mask).astype(a.dtype)
        loss, gradients = jax.value_and_grad(self.discriminator_loss)(state["discriminator"], real, fake, weights)
        return self._updated(state, "discriminator", gradients), metrics | {"discriminator": loss}

    def generator_loss(
        self, parameters: PyTree, discriminator: PyTree, a: Images, b: Images, mask: Mask, weights: ExampleWeights
    ) -> tuple[Float[Array, ""], Metrics]:
        """Returns the generator's loss and its terms; decodes three times per pair: the mix, a and b."""
        generator = nnx.merge(self.generator, parameters)
        features_a, features_b = jnp.split(generator.encode(jnp.concatenate([a, b])), 2)
        features = jnp.concatenate([blend(features_a, features_b, mask), features_a, features_b])
        decoded = generator.decode(features).astype(a.dtype)
        mixed, reconstruction_a, reconstruction_b = jnp.split(decoded, 3)
        scores = nnx.merge(self.discriminator, discriminator)(mixed).astype(a.dtype)

        def both(loss):
            return loss(reconstruction_a, a, weights) + loss(reconstruction_b, b, weights)

        terms = {
            "reconstruction": both(losses.reconstruction_loss),
            "adversarial": losses.least_squares_loss(scores, 1.0, weights),
            "perceptual": both(losses.laplacian_pyramid_loss),
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


def learning_rate_schedule(settings: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Returns a schedule that multiplies the rate by ``learning_rate_drop_factor`` at each of ``learning_rate_drops``.

    The drops are given as shares of all epochs and rounded to the nearest end of an epoch, the first epoch's at the
    earliest. If several drops round to the same end, the rate is multiplied once for each.
    """
    ends = [max(round(share * settings.epochs), 1) * steps_per_epoch for share in settings.learning_rate_drops]
    factors = {end: settings.learning_rate_drop_factor ** ends.count(end) for end in ends}
    return optax.piecewise_constant_schedule(settings.learning_rate, factors)


def build_generator(config: ConfigDict, rngs: nnx.Rngs) -> Generator:
    """Builds the generator described by the settings."""
    settings = config.generator
    return Generator(
        settings.channels,
        settings.residual_blocks,
        settings.decoder_residual_blocks,
        dtype=computation_dtype(config.precision),
        rngs=rngs,
    )


def build_discriminator(config: ConfigDict, rngs: nnx.Rngs) -> Discriminator:
    """Builds the discriminator described by the settings."""
    return Discriminator(config.generator.discriminator_channels, dtype=computation_dtype(config.precision), rngs=rngs)
