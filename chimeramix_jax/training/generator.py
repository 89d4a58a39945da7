"""Stage 1: training the mixing generator against the discriminator (method of the paper, §3)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.augment.pipeline import Augmented
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.blending import blend, mixed_images
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computation_dtype, computing
from chimeramix_jax.training import losses
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.stage_data import StageData

Images = Float[Array, "batch side side 3"]
Mask = Float[Array, "batch side/4 side/4 1"]
ExampleWeights = Float[Array, "batch"] | None


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
        fake = mixed_images(nnx.merge(self.generator, state["generator"]), a, b, masks[1]).astype(a.dtype)
        loss, gradients = jax.value_and_grad(self.discriminator_loss)(state["discriminator"], real, fake, weights)
        return self._apply(state, "discriminator", gradients), metrics | {"discriminator": loss}

    def _apply(self, state: State, name: str, gradients: PyTree) -> State:
        updates, optimizer = self.optimizer.update(gradients, state[f"{name}_optimizer"], state[name])
        return state | {name: optax.apply_updates(state[name], updates), f"{name}_optimizer": optimizer}


def learning_rate_schedule(settings: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The rate drops by ``learning_rate_drop_factor`` where each of ``learning_rate_drops`` of the epochs is over.

    A drop falls on the nearest end of an epoch, at the earliest on that of the first. Where few epochs leave several
    drops the same end, the rate drops by all of them.
    """
    ends = [max(round(share * settings.epochs), 1) * steps_per_epoch for share in settings.learning_rate_drops]
    factors = {end: settings.learning_rate_drop_factor ** ends.count(end) for end in ends}
    return optax.piecewise_constant_schedule(settings.learning_rate, factors)


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


def build_discriminator(config: ConfigDict, rngs: nnx.Rngs) -> Discriminator:
    """A discriminator as the config describes it."""
    return Discriminator(config.generator.discriminator_channels, dtype=computation_dtype(config.precision), rngs=rngs)


class GeneratorStage:
    """What the training loop needs to know to train the generator: sizes, the initial state, and the step."""

    name = "generator"

    def __init__(self, config: ConfigDict, data: StageData):
        """Prepares the stage for the images that it is to work on."""
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

    def _networks(self, key: PRNGKeyArray) -> tuple[Generator, Discriminator]:
        rngs = nnx.Rngs(params=key)
        return build_generator(self.config, rngs), build_discriminator(self.config, rngs)

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Freshly drawn networks with their optimizers."""
        return self._step.initial_state(*self._networks(key))

    def train_step(
        self,
        state: State,
        inputs: sampling.ResidentData,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, dict[str, Float[Array, ""]]]:
        """One iteration on the images at ``indices`` and partners drawn for them; seeds share none of their draws."""
        del shared_key
        view_key, mask_key, fake_mask_key, coin_key = jax.random.split(key, 4)
        (a, _), (b, segments) = self.pairs(view_key, inputs, indices)
        mask, fake_mask = (self.masks(key, inputs, len(indices), segments) for key in (mask_key, fake_mask_key))
        real = jnp.where(jax.random.bernoulli(coin_key), a, b)
        weights = None if example_mask is None else example_mask.astype(a.dtype)
        with computing(self.config.precision):
            return self._step(state, a, b, (mask, fake_mask), real, weights)

    def pairs(
        self, key: PRNGKeyArray, data: sampling.ResidentData, indices: Int[Array, "batch"]
    ) -> tuple[Augmented, Augmented]:
        """Augmented views of the images at ``indices`` and of partners from their classes."""
        partner_key, key_a, key_b = jax.random.split(key, 3)
        partners = sampling.same_class_partners(partner_key, data, indices)
        return self._augmentation(key_a, data, indices), self._augmentation(key_b, data, partners)

    def masks(
        self,
        key: PRNGKeyArray,
        data: sampling.ResidentData,
        batch_size: int,
        segments: Int[Array, "batch_size side side"] | None,
    ) -> Mask:
        """Random masks of the features' size, given the segments of the pairs' second images if there are any."""
        return self._masks.partitions(key, batch_size, segments, data.segment_labels)[0]

    def generator(self, state: State) -> Generator:
        """The generator with a state's parameters."""
        return nnx.merge(self._step.generator, state["generator"])

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, the first one being step 0; both networks' optimizers share it."""
        return float(self._schedule(step))

    def evaluate(self, state: State) -> dict[str, float]:
        """Nothing: the losses are all that is measured while the generator trains."""
        return {}
