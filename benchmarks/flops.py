"""Counts the arithmetic that a training iteration needs, by hand from the shapes of its layers.

Convolutions and matrix products count, including padding, with a multiplication and an addition as two operations.
Normalisation, losses, resizing and optimizers do not count. "Needed" is what the method requires: a pair is encoded
once per update and decoded three times for the generator's update and once for the discriminator's, and only gradients
that an update uses are computed. Any further work of a program does not count in its favour.

    python -m benchmarks.flops  # the floors of the presets
    python -m benchmarks.flops image_folder --config.classifier.growing_sides=16:0.4,24:0.3  # a classifier's, by side
"""

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ml_collections import ConfigDict

from benchmarks.presets import NUM_CLASSES, PRESETS, RESIDUAL_BLOCKS, Preset
from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError

# Peak rates of dense bfloat16 matrix products, in operations per second, by the name that the device gives itself.
BFLOAT16_PEAKS = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}


@dataclass(frozen=True)
class Layer:
    """A convolution: every output pixel and channel is a sum of products over ``taps`` pixels of ``in_channels``.

    A linear layer is a convolution with a single output pixel. A 2x2 transposed convolution of stride 2 has one tap.
    """

    taps: int
    in_channels: int
    out_channels: int
    out_side: int = 1

    @property
    def flops(self) -> int:
        """Operations of the forward pass for one image."""
        return 2 * self.taps * self.in_channels * self.out_channels * self.out_side**2

    @property
    def outputs(self) -> int:
        """Numbers that the forward pass computes for one image."""
        return self.out_channels * self.out_side**2


@dataclass(frozen=True)
class Network:
    """A network's layers; the first is the one that sees the input."""

    layers: Sequence[Layer]

    @property
    def forward(self) -> int:
        """Operations of the forward pass for one image."""
        return sum(layer.flops for layer in self.layers)

    @property
    def outputs(self) -> int:
        """Numbers that the layers compute for one image."""
        return sum(layer.outputs for layer in self.layers)

    @property
    def parameter_gradients(self) -> int:
        """Operations of the backward pass to the parameters, without the input's gradient."""
        return 2 * self.forward - self.layers[0].flops

    @property
    def all_gradients(self) -> int:
        """Operations of the backward pass to the parameters and to the input."""
        return 2 * self.forward

    @property
    def input_gradient(self) -> int:
        """Operations of the backward pass through frozen parameters."""
        return self.forward


def encoder(side: int, channels: int, residual_blocks: int = RESIDUAL_BLOCKS) -> Network:
    """The generator's encoder for images of the given side."""
    stem = Layer(49, 3, channels, side)
    halvings = [Layer(9, channels, 2 * channels, side // 2), Layer(9, 2 * channels, 4 * channels, side // 4)]
    return Network([stem, *halvings, *_residual_layers(side // 4, 4 * channels, residual_blocks)])


def decoder(side: int, channels: int, residual_blocks: int) -> Network:
    """The generator's decoder for images of the given side."""
    doublings = [Layer(1, 4 * channels, 2 * channels, side // 2), Layer(1, 2 * channels, channels, side)]
    blocks = _residual_layers(side // 4, 4 * channels, residual_blocks)
    return Network([*blocks, *doublings, Layer(49, channels, 3, side)])


def _residual_layers(side: int, channels: int, blocks: int) -> list[Layer]:
    return 2 * blocks * [Layer(9, channels, channels, side)]


def discriminator(side: int, channels: int) -> Network:
    """The discriminator for images of the given side."""
    widths = [3, *(channels * 2**level for level in range(4))]
    halvings = [
        Layer(16, before, after, side // 2**number)
        for number, (before, after) in enumerate(itertools.pairwise(widths), 1)
    ]
    return Network([*halvings, Layer(16, widths[-1], 1, side // 16)])


def wide_resnet(side: int, depth: int, width: int, num_classes: int = NUM_CLASSES, *, early: bool = False) -> Network:
    """The wide ResNet for images of the given side; ``early``: its first group halves the side, too."""
    layers, channels = [Layer(9, 3, 16, side)], 16
    for group, out_channels in enumerate((16 * width, 32 * width, 64 * width), int(early)):
        group_side = -(-side // 2**group)
        for position in range((depth - 4) // 6):
            layers += [Layer(9, channels, out_channels, group_side), Layer(9, out_channels, out_channels, group_side)]
            if channels != out_channels or (early and group == 1 and position == 0):
                layers.append(Layer(1, channels, out_channels, group_side))
            channels = out_channels
    return Network([*layers, Layer(1, channels, num_classes)])


def needed(preset: Preset) -> int:
    """Returns the operations that one iteration needs."""
    per_pair = _generator_iteration(preset) if preset.stage == "generator" else _classifier_iteration(preset)
    return preset.batch_size * per_pair


def _generator_iteration(preset: Preset) -> int:
    encode = encoder(preset.generator_side, preset.channels)
    decode = decoder(preset.generator_side, preset.channels, preset.decoder_residual_blocks)
    judge = discriminator(preset.generator_side, preset.channels)
    generator_update = (
        2 * (encode.forward + encode.parameter_gradients)
        + 3 * (decode.forward + decode.all_gradients)
        + (judge.forward + judge.input_gradient)
    )
    fake = 2 * encode.forward + decode.forward
    discriminator_update = 2 * (judge.forward + judge.parameter_gradients)
    return generator_update + fake + discriminator_update


def _classifier_iteration(preset: Preset) -> int:
    decode = decoder(preset.generator_side, preset.channels, preset.decoder_residual_blocks)
    mixing = 2 * encoder(preset.generator_side, preset.channels).forward + decode.forward
    classifier = sum(
        share * (network.forward + network.parameter_gradients) for network, share in _classifiers_by_share(preset)
    )
    return round(preset.mixing_probability * mixing) + round(classifier)


def _classifiers_by_share(preset: Preset) -> list[tuple[Network, float]]:
    """Returns the classifier at each of its sides, with that side's share of the iterations."""
    return [
        (wide_resnet(side, preset.depth, preset.width, early=preset.early), share)
        for side, share in preset.shares_of_sides
    ]


# How often a layer's output passes through memory if everything between two convolutions is fused with them. The
# forward pass writes and reads it. The backward pass reads it for the kernel's gradient, and writes and reads its
# gradient.
_FORWARD_PASSES, _BOTH_PASSES = 2, 5


def traffic(preset: Preset, bytes_per_number: int) -> int:
    """Returns the bytes of layers' outputs that an iteration moves, if each is written once and read where it is used.

    Parameters and optimizers are left out: they are read once per iteration, whatever the batch.
    """
    side, channels = preset.generator_side, preset.channels
    encode = encoder(side, channels).outputs
    decode = decoder(side, channels, preset.decoder_residual_blocks).outputs
    if preset.stage == "generator":
        judge = discriminator(side, channels).outputs
        trained = _BOTH_PASSES * (2 * encode + 3 * decode + judge + 2 * judge)
        numbers = trained + _FORWARD_PASSES * (2 * encode + decode)
    else:
        classifier = sum(share * network.outputs for network, share in _classifiers_by_share(preset))
        mixing = round(preset.mixing_probability * _FORWARD_PASSES * (2 * encode + decode))
        numbers = mixing + round(_BOTH_PASSES * classifier)
    return preset.batch_size * numbers * bytes_per_number


def share_of_peak(device: str, precision: str, flops_per_second: float) -> float | None:
    """Returns the share of the device's peak rate; None if the peak is not known for the device or number format."""
    peak = BFLOAT16_PEAKS.get(device) if precision == "bfloat16" else None
    return None if peak is None else flops_per_second / peak


def classifier_preset(config: ConfigDict) -> Preset:
    """Returns the sizes of a configuration's classifier iteration; raises InputError unless it is a wide ResNet."""
    model = re.fullmatch(r"wrn-(\d+)-(\d+)(-early)?", config.classifier.model)
    if model is None:
        raise InputError(f"classifier.model: {config.classifier.model!r}; only wide ResNets are counted here")
    side = config.classifier.image_side
    generates = settings.needs_generator(config)
    return Preset(
        "classifier",
        config.generator.image_side,
        config.generator.channels,
        config.classifier.batch_size,
        config.precision,
        classifier_side=side,
        depth=int(model[1]),
        width=int(model[2]),
        decoder_residual_blocks=config.generator.decoder_residual_blocks,
        mixing_probability=config.mixing.probability if generates else 0.0,
        early=model[3] is not None,
        growing_sides=settings.parse_growing_sides(config.classifier.growing_sides, side),
    )


def print_classifier(config: ConfigDict) -> None:
    """Prints the arithmetic of a configuration's classifier: for an image at every side, and for a mean iteration."""
    preset = classifier_preset(config)
    print(preset)
    for side, share in preset.shares_of_sides:
        network = wide_resnet(side, preset.depth, preset.width, early=preset.early)
        print(f"  at {side:3} px, {share:4.0%} of the steps: {network.forward / 1e6:.4g} MFLOP forward for an image")
    print(f"  an iteration, on average: {needed(preset) / 1e9:.4g} GFLOP")


def main() -> None:
    """Prints the floors of the presets, or those of a configuration's classifier."""
    if len(sys.argv) > 1:
        config = settings.load(sys.argv[1])
        settings.override(config, sys.argv[2:])
        settings.check(config, environment=False)
        print_classifier(config)
        return
    print(f"{'stage':10}  {'preset':6}  {'needed':>12}  {'float32 traffic':>15}  {'bfloat16 traffic':>16}")
    for (stage, name), preset in PRESETS.items():
        moved = [f"{traffic(preset, size) / 1e9:.3g} GB" for size in (4, 2)]
        print(f"{stage:10}  {name:6}  {needed(preset) / 1e9:6.4g} GFLOP  {moved[0]:>15}  {moved[1]:>16}")


if __name__ == "__main__":
    main()
