"""The base class of all networks that classify, own ones included: they end with global average pooling and a head."""

from jaxtyping import Array, Bool, Float, PRNGKeyArray

from chimeramix_jax.models.heads import Head
from chimeramix_jax.models.layers import SwitchableModule, mean_over_pixels


class PooledClassifier(SwitchableModule):
    """A classifier whose logits are a function, its head, of the means of its last feature maps.

    A subclass sets ``head``, an ``nnx.Linear`` from the channels of the feature maps to the classes or another of
    ``models.heads``, and defines ``feature_maps``. Heat maps, nearest training images and unknown classes are
    computed from these two. Its variables may be parameters (``nnx.Param``) and batch statistics (``nnx.BatchStat``);
    dropout takes its random numbers from ``dropout_key``, as in ``self.dropout(features, rngs=dropout_key)``.
    """

    head: Head

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        *,
        example_mask: Bool[Array, "batch"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch num_classes"]:
        """Returns logits (float32 or wider) for images in [-1, 1]; the arguments are those of ``feature_maps``."""
        maps = self.feature_maps(images, example_mask=example_mask, dropout_key=dropout_key)
        return self.head(mean_over_pixels(maps))

    def feature_maps(
        self,
        images: Float[Array, "batch height width 3"],
        *,
        example_mask: Bool[Array, "batch"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch map_height map_width channels"]:
        """Returns the last feature maps for images in [-1, 1].

        Args:
            images: of any side that the classifier is trained or evaluated with.
            example_mask: False where an image only pads an incomplete batch, for batch statistics to ignore
                (``models.normalization.BatchNorm`` takes it); None if there is no padding.
            dropout_key: the source of random numbers in training.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no feature_maps")
