"""Residual networks of bottleneck blocks (He et al., 2016), such as ResNet-50.

As in torchvision (the variant called v1.5), a block that halves the side does so in its 3x3 convolution. The 1x1
convolution before it would skip three quarters of the pixels.
"""

from collections.abc import Sequence

from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from chimeramix_jax.models.harmonic import first_convolution, first_features, inner_convolution
from chimeramix_jax.models.heads import LINEAR, HeadKind
from chimeramix_jax.models.layers import he_convolution, uniform_fan_in
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.pooled import PooledClassifier

RESNET_50 = (3, 4, 6, 3)  # blocks per stage: 3 convolutions in each of the 16 blocks, the stem and the head make 50
EXPANSION = 4  # a block's output channels per channel of its 3x3 convolution


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions, each followed by a norm, whose result is added to the input.

    If the shape changes, it is added to a projection of the input. ReLU follows the first two norms and the sum.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        harmonic: bool = False,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the block; the 3x3 convolution has ``channels`` channels and the stride."""
        out_channels = EXPANSION * channels
        self.convolution1 = he_convolution(in_channels, channels, 1, dtype=dtype, rngs=rngs)
        self.norm1 = BatchNorm(channels)
        self.convolution2 = inner_convolution(
            channels, channels, 3, harmonic=harmonic, stride=stride, padding=1, dtype=dtype, rngs=rngs
        )
        self.norm2 = BatchNorm(channels)
        self.convolution3 = he_convolution(channels, out_channels, 1, dtype=dtype, rngs=rngs)
        self.norm3 = BatchNorm(out_channels)
        self.shortcut = nnx.data(
            None
            if (in_channels, stride) == (out_channels, 1)
            else Projection(in_channels, out_channels, stride, dtype=dtype, rngs=rngs)
        )

    def __call__(
        self,
        features: Float[Array, "batch height width in_channels"],
        example_mask: Bool[Array, "batch"] | None = None,
    ) -> Float[Array, "batch out_height out_width out_channels"]:
        """Returns the block's features."""
        shortcut = features if self.shortcut is None else self.shortcut(features, example_mask)
        hidden = self.norm1(self.convolution1(features), example_mask, relu=True)
        hidden = self.norm2(self.convolution2(hidden), example_mask, relu=True)
        return nnx.relu(shortcut + self.norm3(self.convolution3(hidden), example_mask))


class Projection(nnx.Module):
    """A 1x1 convolution and a norm: the shortcut of blocks whose output has a different shape from their input."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs
    ):
        """Creates the projection."""
        self.convolution = he_convolution(in_channels, out_channels, 1, stride=stride, dtype=dtype, rngs=rngs)
        self.norm = BatchNorm(out_channels)

    def __call__(
        self,
        features: Float[Array, "batch height width in_channels"],
        example_mask: Bool[Array, "batch"] | None = None,
    ) -> Float[Array, "batch out_height out_width out_channels"]:
        """Returns the projected features."""
        return self.norm(self.convolution(features), example_mask)


class ResNet(PooledClassifier):
    """A residual network whose ImageNet stem divides the side by 4; every stage after the first halves it again."""

    def __init__(
        self,
        blocks_per_stage: Sequence[int],
        num_classes: int,
        *,
        channels: int = 64,
        harmonic: bool = False,
        head: HeadKind = LINEAR,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the network with torchvision's initialization; ``RESNET_50`` holds the blocks of ResNet-50.

        ``channels`` is the number of output channels of the stem, 64 in all published networks. The 3x3 convolutions
        of the stages have 1, 2, 4, ... times as many. With ``harmonic``, all convolutions but the 1x1 ones are
        combinations of fixed filters (``models.harmonic``).
        """
        self.stem = first_convolution(3, channels, 7, harmonic=harmonic, stride=2, padding=3, dtype=dtype, rngs=rngs)
        self.norm = BatchNorm(channels)
        stages, in_channels = [], channels
        for index, num_blocks in enumerate(blocks_per_stage):
            stage_channels, blocks = channels * 2**index, []
            for position in range(num_blocks):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(
                    Bottleneck(in_channels, stage_channels, stride, harmonic=harmonic, dtype=dtype, rngs=rngs)
                )
                in_channels = EXPANSION * stage_channels
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        default_init = uniform_fan_in(in_channels)
        self.head = head.build(in_channels, num_classes, kernel_init=default_init, bias_init=default_init, rngs=rngs)

    def feature_maps(
        self,
        images: Float[Array, "batch height width 3"],
        *,
        example_mask: Bool[Array, "batch"] | None = None,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch map_height map_width channels"]:
        """Returns the last feature maps. ``dropout_key`` is unused, since there is no dropout."""
        features = self.norm(first_features(self.stem, images, example_mask), example_mask, relu=True)
        features = nnx.max_pool(features, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage in self.stages:
            for block in stage:
                features = block(features, example_mask)
        return features
