"""Wide residual networks (Zagoruyko & Komodakis, 2016): pre-activation blocks with dropout between the convolutions."""

import jax
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from chimeramix_jax.models.harmonic import first_convolution, first_features, inner_convolution
from chimeramix_jax.models.heads import LINEAR, HeadKind
from chimeramix_jax.models.layers import he_convolution, uniform_fan_in
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.pooled import PooledClassifier


class WideBlock(nnx.Module):
    """Twice norm, ReLU and convolution, added to the input, or to its 1x1 projection if the shape changes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dropout_rate: float,
        *,
        harmonic: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the block; the first convolution has the stride."""
        self.norm1 = BatchNorm(in_channels)
        self.convolution1 = inner_convolution(
            in_channels, out_channels, 3, harmonic=harmonic, stride=stride, padding=1, dtype=dtype, rngs=rngs
        )
        self.norm2 = BatchNorm(out_channels)
        self.dropout = nnx.Dropout(dropout_rate)
        self.convolution2 = inner_convolution(
            out_channels, out_channels, 3, harmonic=harmonic, padding=1, dtype=dtype, rngs=rngs
        )
        self.shortcut = nnx.data(
            None
            if (in_channels, stride) == (out_channels, 1)
            else he_convolution(in_channels, out_channels, 1, stride=stride, dtype=dtype, rngs=rngs)
        )

    def __call__(
        self,
        features: Float[Array, "batch height width in_channels"],
        example_mask: Bool[Array, "batch"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch out_height out_width out_channels"]:
        """Returns the block's features; training mode with a dropout rate above 0 needs ``dropout_key``."""
        activated = self.norm1(features, example_mask, relu=True)
        shortcut = features if self.shortcut is None else self.shortcut(activated)
        hidden = self.norm2(self.convolution1(activated), example_mask, relu=True)
        return shortcut + self.convolution2(self.dropout(hidden, rngs=dropout_key))


class WideResNet(PooledClassifier):
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times ``width`` channels.

    The second and the third group halve height and width. In the "early" variant the first group does so, too, which
    leaves a quarter of the pixels to all three groups: at 32x32 they work at 16x16, 8x8 and 4x4. With ``harmonic``, the
    3x3 convolutions are combinations of fixed filters (``models.harmonic``).
    """

    def __init__(
        self,
        depth: int,
        width: int,
        num_classes: int,
        *,
        early: bool = False,
        harmonic: bool = False,
        dropout_rate: float = 0.0,
        head: HeadKind = LINEAR,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the network; raises ValueError unless ``depth`` is 6k + 4."""
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth of a wide ResNet must be 6k + 4 (10, 16, 22, 28, ...), not {depth}")
        self.stem = first_convolution(3, 16, 3, harmonic=harmonic, padding=1, dtype=dtype, rngs=rngs)
        blocks, channels = [], 16
        for out_channels, group_stride in ((16 * width, 2 if early else 1), (32 * width, 2), (64 * width, 2)):
            for position in range((depth - 4) // 6):
                stride = group_stride if position == 0 else 1
                blocks.append(
                    WideBlock(channels, out_channels, stride, dropout_rate, harmonic=harmonic, dtype=dtype, rngs=rngs)
                )
                channels = out_channels
        self.blocks = nnx.List(blocks)
        self.norm = BatchNorm(channels)
        self.head = head.build(channels, num_classes, kernel_init=uniform_fan_in(channels), rngs=rngs)

    def feature_maps(
        self,
        images: Float[Array, "batch height width 3"],
        *,
        example_mask: Bool[Array, "batch"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch map_height map_width channels"]:
        """Returns the last feature maps, whose side is a quarter; dropout needs ``dropout_key`` in training."""
        features = first_features(self.stem, images, example_mask)
        for index, block in enumerate(self.blocks):
            key = None if dropout_key is None else jax.random.fold_in(dropout_key, index)
            features = block(features, example_mask, key)
        return self.norm(features, example_mask, relu=True)
