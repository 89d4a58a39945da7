"""The method's networks in PyTorch, written from its description, for comparison with ours.

Parameters have the published program's names, so its weights load with ``load_state_dict``. Images are NCHW.
"""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with reflect padding and instance norm, added to their input."""

    def __init__(self, channels: int, *, bias: bool):
        """Creates the block; with ``bias``, both convolutions have biases."""
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Returns features of the same shape."""
        return features + self.block(features)


class Encoder(nn.Module):
    """Encodes images to features with a quarter of the side and four times ``channels``."""

    def __init__(self, channels: int, residual_blocks: int):
        """Creates the encoder with ``residual_blocks`` blocks at its end."""
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, channels, 7), nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
        for width in (channels, 2 * channels):
            halving = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
            layers += [halving, nn.InstanceNorm2d(2 * width), nn.ReLU(inplace=True)]
        self.model_downsampling = nn.Sequential(*layers)
        self.model_blocks = nn.Sequential(*(ResidualBlock(4 * channels, bias=True) for _ in range(residual_blocks)))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Encodes images in [-1, 1]."""
        return self.model_blocks(self.model_downsampling(images))


class Decoder(nn.Module):
    """Decodes features to images."""

    def __init__(self, channels: int, residual_blocks: int):
        """Creates the decoder with ``residual_blocks`` blocks at its beginning."""
        super().__init__()
        self.model_blocks = nn.Sequential(*(ResidualBlock(4 * channels, bias=False) for _ in range(residual_blocks)))
        layers: list[nn.Module] = []
        for width in (2 * channels, channels):
            doubling = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
            layers += [doubling, nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]
        self.model_upsampling = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(channels, 3, 7), nn.Tanh())

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Decodes features to images in (-1, 1)."""
        return self.model_upsampling(self.model_blocks(features))


class Generator(nn.Module):
    """An encoder and a decoder; the training code mixes the features between them."""

    def __init__(self, channels: int, residual_blocks: int = 2, decoder_residual_blocks: int = 0):
        """Creates both; the released program has 2 blocks in the decoder, but discards their output."""
        super().__init__()
        self.encoder = Encoder(channels, residual_blocks)
        self.decoder = Decoder(channels, decoder_residual_blocks)


class Discriminator(nn.Module):
    """Four 4x4 convolutions with stride 2, then one that computes a map of scores."""

    def __init__(self, channels: int):
        """Creates the discriminator with ``channels`` after the first convolution, doubling up to the fourth."""
        super().__init__()
        widths = [3, *(channels * 2**level for level in range(4))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            norm = [nn.InstanceNorm2d(after)] if layers else []
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), *norm, nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(
            *layers, nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(widths[-1], 1, 4, padding=1), nn.Sigmoid()
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height/16 width/16"]:
        """Returns scores in (0, 1) for images in [-1, 1]."""
        return self.model(images)


class WideBlock(nn.Module):
    """Norm, ReLU and convolution, twice, added to the input or, if the shape changes, to its 1x1 projection."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout_rate: float):
        """Creates the block; the first convolution has the stride."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.convShortcut = (
            None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        )
        self.dropout_rate = dropout_rate

    def forward(self, features: Float[Tensor, "batch in_channels height width"]) -> Tensor:
        """Returns the block's features."""
        activated = F.relu(self.bn1(features), inplace=True)
        shortcut = features if self.convShortcut is None else self.convShortcut(activated)
        hidden = F.relu(self.bn2(self.conv1(activated)), inplace=True)
        return shortcut + self.conv2(F.dropout(hidden, self.dropout_rate, self.training))


class WideGroup(nn.Module):
    """Blocks of one width."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, stride: int, dropout_rate: float):
        """Creates the group; the first block has the stride."""
        super().__init__()
        first = WideBlock(in_channels, out_channels, stride, dropout_rate)
        rest = (WideBlock(out_channels, out_channels, 1, dropout_rate) for _ in range(blocks - 1))
        self.layer = nn.Sequential(first, *rest)

    def forward(self, features: Float[Tensor, "batch in_channels height width"]) -> Tensor:
        """Returns the last block's features."""
        return self.layer(features)


class WideResNet(nn.Module):
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks, 16, 32 and 64 channels times the width."""

    def __init__(self, depth: int, width: int, num_classes: int, dropout_rate: float):
        """Creates the network in training mode, with convolutions initialised as by He et al. (2015).

        The linear layer's bias begins at 0, as in the released program.
        """
        super().__init__()
        blocks, widths = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.block1 = WideGroup(widths[0], widths[1], blocks, 1, dropout_rate)
        self.block2 = WideGroup(widths[1], widths[2], blocks, 2, dropout_rate)
        self.block3 = WideGroup(widths[2], widths[3], blocks, 2, dropout_rate)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch num_classes"]:
        """Returns the logits of images in [-1, 1]."""
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        return self.fc(torch.mean(F.relu(self.bn1(features), inplace=True), dim=(2, 3)))
