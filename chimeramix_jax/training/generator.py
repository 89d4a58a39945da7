"""Stage 1: training the mixing generator against the discriminator (method of the paper, §3)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax import losses, mixing
from chimeramix_jax.augment import geometry
from chimeramix_jax.data import sampling
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import DOWNSAMPLING, Generator
from chimeramix_jax.precision import computation_dtype

Images = Float[Array, "batch side side 3"]
Mask = Float[Array, "batch side/4 side/4 1"]
ExampleWeights = Float[Array, "batch"] | None
State = dict[str, PyTree]


@dataclass(frozen=True)
class AdversarialStep:
    """Both updates of one iteration, as a pure function of the state.

    The state is a dictionary of ``generator`` and ``discriminator`` parameters, and of ``generator_optimizer`` and
    ``discriminator_optimizer`` states. Example weights are 1, or 0 where an image fills up an incomplete batch.
    """

    generator: nnx.GraphDef
    discriminator: nnx.GraphDef
    optimizer: optax.GradientTransformation
    reconstruction_weight: float = 1000.0
    adversarial_weight: float = 1.0
    perceptual_weight: float = 1.0

    def initial_state(self, generator: Generator, discriminator: Discriminator) -> State:
        """The state that starts from the two networks' parameters."""
        parameters = {"generator": nnx.state(generator), "discriminator": nnx.state(discriminator)}
        return parameters | {f"{name}_optimizer": self.optimizer.init(value) for name, value in parameters.items()}

    def generator_loss(
        self, parameters: PyTree, discriminator: PyTree, a: Images, b: Images, mask: Mask, weights: ExampleWeights
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The generator's loss and its terms: three decodes per pair, of the mix and of both images."""
        generator = nnx.merge(self.generator, parameters)
        features_a, features_b = jnp.split(generator.encode(jnp.concatenate([a, b])), 2)
        features = jnp.concatenate([mixing.blend(features_a, features_b, mask), features_a, features_b])
        decoded = generator.decode(features).astype(a.dtype)
        mixed, reconstruction_a, reconstruction_b = jnp.split(decoded, 3)
        scores = nnx.merge(self.discriminator, discriminator)(mixed).astype(a.dtype)
        pairs = ((reconstruction_a, a), (reconstruction_b, b))
        terms = {
            "reconstruction": sum(losses.reconstruction_loss(*pair, weights) for pair in pairs),
            "adversarial": losses.least_squares_loss(scores, 1.0, weights),
            "perceptual": sum(losses.laplacian_pyramid_loss(*pair, weights) for pair in pairs),
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
        """The discriminator's loss: real images should score 1, mixed ones 0."""
        discriminator = nnx.merge(self.discriminator, parameters)
        scores = discriminator(jnp.concatenate([real, fake])).astype(real.dtype)
        real_scores, fake_scores = jnp.split(scores, 2)
        return losses.least_squares_loss(real_scores, 1.0, weights) + losses.least_squares_loss(
            fake_scores, 0.0, weights
        )

    def __call__(
        self, state: State, a: Images, b: Images, masks: tuple[Mask, Mask], real: Images, weights: ExampleWeights = None
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """Updates the generator with the first mask, then the discriminator on mixes with the second.

        ``real`` are the images shown to the discriminator as real: a or b.
        """
        gradients, metrics = jax.grad(self.generator_loss, has_aux=True)(
            state["generator"], state["discriminator"], a, b, masks[0], weights
        )
        state = self._apply(state, "generator", gradients)
        fake = nnx.merge(self.generator, state["generator"])(a, b, masks[1]).astype(a.dtype)
        loss, gradients = jax.value_and_grad(self.discriminator_loss)(state["discriminator"], real, fake, weights)
        return self._apply(state, "discriminator", gradients), metrics | {"discriminator": loss}

    def _apply(self, state: State, name: str, gradients: PyTree) -> State:
        updates, optimizer = self.optimizer.update(gradients, state[f"{name}_optimizer"], state[name])
        return state | {name: optax.apply_updates(state[name], updates), f"{name}_optimizer": optimizer}


def learning_rate_schedule(settings: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The rate drops by ``learning_rate_drop_factor`` where each of ``learning_rate_drops`` of the epochs is over."""
    boundaries = [round(share * settings.epochs) * steps_per_epoch for share in settings.learning_rate_drops]
    factor = settings.learning_rate_drop_factor
    return optax.piecewise_constant_schedule(settings.learning_rate, dict.fromkeys(boundaries, factor))


def build_generator(config: ConfigDict, rngs: nnx.Rngs) -> Generator:
    """A generator as the config describes it."""
    settings = config.generator
    return Generator(
        settings.channels,
        settings.residual_blocks,
        settings.decoder_residual_blocks,
        dtype=computation_dtype(config.precision),
        rngs=rngs,
    )


class GeneratorStage:
    """What the training loop needs to know to train the generator: sizes, the initial state, and the step."""

    name = "generator"

    def __init__(self, config: ConfigDict, data: sampling.ResidentData, steps_per_epoch: int):
        """Prepares the stage for images that are already of ``config.generator.image_side``."""
        settings = config.generator
        self.config, self.data = config, data
        self.epochs, self.batch_size, self.steps_per_epoch = settings.epochs, settings.batch_size, steps_per_epoch
        networks = self._networks(jax.random.key(0))
        self._step = AdversarialStep(
            *(nnx.graphdef(network) for network in networks),
            optimizer=optax.adam(
                learning_rate_schedule(settings, steps_per_epoch), b1=settings.adam_b1, b2=settings.adam_b2
            ),
            reconstruction_weight=settings.reconstruction_weight,
            adversarial_weight=settings.adversarial_weight,
            perceptual_weight=settings.perceptual_weight,
        )

    def _networks(self, key: PRNGKeyArray) -> tuple[Generator, Discriminator]:
        rngs = nnx.Rngs(params=key)
        generator = build_generator(self.config, rngs)
        channels = self.config.generator.discriminator_channels
        return generator, Discriminator(channels, dtype=computation_dtype(self.config.precision), rngs=rngs)

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Freshly drawn networks with their optimizers."""
        return self._step.initial_state(*self._networks(key))

    def train_step(
        self, state: State, data: sampling.ResidentData, indices, example_mask, key: PRNGKeyArray
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """One iteration on the images at ``indices`` and partners drawn for them."""
        partner_key, view_key_a, view_key_b, mask_key, fake_mask_key, coin_key = jax.random.split(key, 6)
        side, mixing_settings = self.config.generator.image_side, self.config.mixing
        partners = sampling.same_class_partners(partner_key, data, indices)
        a = geometry.random_views(view_key_a, data.images, indices, **view_settings(self.config, side))
        b = geometry.random_views(view_key_b, data.images, partners, **view_settings(self.config, side))
        masks = tuple(
            mixing.grid_masks(one_key, indices.shape[0], side // DOWNSAMPLING, mixing_settings.mix_size)
            for one_key in (mask_key, fake_mask_key)
        )
        real = jnp.where(jax.random.bernoulli(coin_key), a, b)
        weights = None if example_mask is None else example_mask.astype(a.dtype)
        return self._step(state, a, b, masks, real, weights)


def view_settings(config: ConfigDict, side: int) -> dict[str, int | bool]:
    """The settings of random views for images of the given side."""
    return {
        "padding": int(side * config.augment.crop_padding_fraction),
        "horizontal_flip": config.augment.horizontal_flip,
    }
