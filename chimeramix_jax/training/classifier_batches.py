"""What the classifier is shown: mixed or augmented images, sometimes blended with others of the batch."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from chimeramix_jax.augment.blend import Blend
from chimeramix_jax.augment.cutmix import draw_cutmix
from chimeramix_jax.augment.mixup import draw_mixup
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.mixer import Mixer, Parameters

_BALANCED_DRAWS = 2**31  # their address within a step; larger than the numbers of the step's other keys


class ClassifierBatches:
    """Makes the batches of the classifier's training steps from the training images, as pure functions.

    Attributes:
        augmentation: makes the views of images that are not mixed.
        mixer: mixes images; None: no batch is mixed.
    """

    def __init__(self, config: ConfigDict, augmentation: Augmentation, mixer: Mixer | None):
        self._config, self.augmentation, self.mixer = config, augmentation, mixer

    def balanced(
        self, key: PRNGKeyArray, data: sampling.ResidentData, indices: Int[Array, "batch"]
    ) -> tuple[Int[Array, "batch"], Float[Array, "classes"] | None]:
        """Returns the images of a batch and the weights of their classes in the loss; None: all weigh the same.

        With ``classifier.class_balance`` "sampling", images of small classes are drawn more often in place of these.
        """
        balance = self._config.classifier.class_balance
        if balance == "sampling":
            return sampling.balanced_draws(jax.random.fold_in(key, _BALANCED_DRAWS), data, len(indices)), None
        return indices, sampling.class_weights(data) if balance == "loss" else None

    def is_mixed(self, shared_key: PRNGKeyArray) -> Bool[Array, ""]:
        """Tosses the coin that decides whether a whole batch is mixed; heads has ``config.mixing.probability``.

        The released program tosses a fair coin for each batch. Seeds that train together share the coin, so that a
        batch that is not mixed costs none of them the encoding and decoding.
        """
        probability = 0.0 if self.mixer is None else self._config.mixing.probability
        if probability in (0.0, 1.0):
            return jnp.asarray(probability == 1.0)  # a constant, so that XLA compiles only one branch
        return jax.random.bernoulli(shared_key, probability)

    def images(
        self,
        key: PRNGKeyArray,
        data: sampling.ResidentData,
        networks: Parameters,
        indices: Int[Array, "batch"],
        mixed: Bool[Array, ""] | bool,
    ) -> Float[Array, "batch side side 3"]:
        """Returns the images of a batch, in [-1, 1]: mixes with others of their classes, or else augmented views.

        Args:
            key: the source of the random numbers.
            data: the training images.
            networks: the parameters of the frozen networks that mix them.
            indices: positions of the batch's images among the training images.
            mixed: whether they are mixed.
        """
        view_key, mix_key = jax.random.split(key)

        def views() -> Float[Array, "batch side side 3"]:
            return self.augmentation(view_key, data, indices).images

        if self.mixer is None:
            return views()
        mixes = partial(self.mixer, mix_key, data, indices, networks)
        return jax.lax.cond(mixed, mixes, views)

    def blend(
        self,
        key: PRNGKeyArray,
        images: Float[Array, "batch side side 3"],
        example_mask: Bool[Array, "batch"] | None,
        mixed: Bool[Array, ""],
    ) -> Blend | None:
        """Draws how a batch, as the classifier sees it, is combined with other images by mixup or else by CutMix.

        Unless set otherwise, a batch that is mixed is left alone. Returns None if the experiment uses neither.
        """
        augment = self._config.augment
        if augment.mixup:
            blend: Blend = draw_mixup(key, len(images), example_mask)
        elif augment.cutmix_probability:
            blend = draw_cutmix(key, len(images), images.shape[1], augment.cutmix_probability, example_mask)
        else:
            return None
        return blend.unless(mixed) if self.mixer is not None and augment.mixup_of == "unmixed" else blend
