"""The training iterations that the speed comparison measures, by name. This module imports neither JAX nor PyTorch."""

import dataclasses
from dataclasses import dataclass
from typing import Any

RESIDUAL_BLOCKS = 2  # in the encoder
NUM_CLASSES = 10
DROPOUT_RATE = 0.3
GPU_STEPS = 50  # iterations per round on a GPU; each preset has its own number for CPU


@dataclass(frozen=True)
class Preset:
    """The sizes of a stage's iteration.

    Attributes:
        stage: "generator" or "classifier".
        generator_side: the generator's image side, in pixels.
        channels: the generator's ngf and the discriminator's ndf.
        batch_size: pairs per iteration.
        precision: as in a config: "float32", or "auto", which is bfloat16 except on CPU.
        classifier_side: the classifier's image side, in pixels.
        depth: depth of the classifier, a wide ResNet.
        width: width of the classifier.
        decoder_residual_blocks: 0 as released, 2 as drawn in the paper.
        mixing_probability: share of the classifier's batches that are mixed: 0.5 as published, 1 for all.
        early: whether the classifier's first group halves the side, too.
        growing_sides: smaller sides that the classifier begins at, with their shares of its iterations.
        cpu_steps: iterations per round on CPU, so that a round takes some seconds.
    """

    stage: str
    generator_side: int
    channels: int
    batch_size: int
    precision: str
    classifier_side: int = 32
    depth: int = 10
    width: int = 1
    decoder_residual_blocks: int = 0
    mixing_probability: float = 0.5
    early: bool = False
    growing_sides: tuple[tuple[int, float], ...] = ()
    cpu_steps: int = 6

    @property
    def shares_of_sides(self) -> list[tuple[int, float]]:
        """The sides that the classifier sees its images at, each with its share of the iterations."""
        rest = 1 - sum(share for _, share in self.growing_sides)
        return [*self.growing_sides, (self.classifier_side, rest)]

    @property
    def images_side(self) -> int:
        """Pixels per side of the training images."""
        return self.generator_side if self.stage == "generator" else self.classifier_side

    def __str__(self) -> str:
        """The sizes in words."""
        generator = f"generator at {self.generator_side} px, ngf {self.channels}"
        if self.decoder_residual_blocks:
            generator += f", {self.decoder_residual_blocks} residual blocks in the decoder"
        sides = [*(f"{side} px for {share:.0%}" for side, share in self.growing_sides), f"{self.classifier_side} px"]
        network = f"WRN-{self.depth}-{self.width}{'-early' if self.early else ''} at {', '.join(sides)}"
        mixed = f"{self.mixing_probability:.0%} of the batches mixed"
        parts = [generator] if self.stage == "generator" else [network, generator, mixed]
        return ", ".join([*parts, f"batch {self.batch_size}"])


@dataclass(frozen=True)
class Request:
    """What a side of the comparison must time.

    Attributes:
        preset: the iteration's sizes.
        device: "cpu", "gpu", or "auto": the GPU if the library sees one.
        steps: iterations per round; 0: chosen by device and preset.
        loader_workers: processes that load and augment the twin's images; 0: its images are already in memory.
    """

    preset: Preset
    device: str = "auto"
    steps: int = 0
    loader_workers: int = 0

    def changed(self) -> dict[str, Any]:
        """Returns the attributes that are not defaults, and those of the preset, in JSON's types."""
        return _changed(self) | {"preset": _changed(self.preset)}

    def steps_on(self, platform: str) -> int:
        """Returns the iterations per round on "cpu" or "gpu"."""
        return self.steps or (self.preset.cpu_steps if platform == "cpu" else GPU_STEPS)

    def mixed_steps(self, steps: int) -> int:
        """Returns how many of a round's iterations mix their batch, in every round and on both sides.

        Raises:
            RuntimeError: a classifier's round cannot mix its share of them.
        """
        mixed = self.preset.mixing_probability * steps
        if self.preset.stage == "classifier" and abs(mixed - round(mixed)) > 1e-6:
            share = f"{self.preset.mixing_probability:.0%}"
            raise RuntimeError(f"{share} of {steps} iterations is not a whole number; choose another with --steps")
        return round(mixed)


def _changed(instance: Any) -> dict[str, Any]:
    """Returns the attributes of a data class's instance that are not its defaults."""
    return {
        field.name: getattr(instance, field.name)
        for field in dataclasses.fields(instance)
        if getattr(instance, field.name) != field.default
    }


PRESETS = {
    # "tiny" only shows that everything runs; its times mean nothing.
    ("generator", "tiny"): Preset("generator", 32, 4, 2, "float32"),
    ("generator", "small"): Preset("generator", 32, 16, 64, "float32"),
    ("generator", "paper"): Preset("generator", 64, 64, 64, "auto", cpu_steps=1),
    ("classifier", "tiny"): Preset("classifier", 32, 4, 2, "float32"),
    ("classifier", "small"): Preset("classifier", 32, 16, 32, "float32", depth=10, width=2),
    ("classifier", "paper"): Preset("classifier", 64, 64, 10, "auto", depth=16, width=8, cpu_steps=2),
}
