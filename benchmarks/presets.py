"""What the speed comparison measures: training iterations by name. Nothing here imports JAX or PyTorch."""

from dataclasses import dataclass

RESIDUAL_BLOCKS = 2  # in the encoder
NUM_CLASSES = 10
DROPOUT_RATE = 0.3
GPU_STEPS = 50  # iterations that make a round on a GPU; for CPU each preset has its number


@dataclass(frozen=True)
class Preset:
    """The sizes of a stage's iteration.

    Attributes:
        stage: "generator" or "classifier".
        generator_side: pixels per side that the generator works at.
        channels: its ngf, and the discriminator's ndf.
        batch_size: pairs per iteration.
        precision: as in a config: "float32", or "auto", which is bfloat16 except on CPU.
        classifier_side: pixels per side that the classifier sees.
        depth: of the classifier, a wide ResNet.
        width: of the classifier.
        decoder_residual_blocks: 0 as released, 2 as drawn in the paper.
        mixing_probability: share of the classifier's batches that are mixed: 0.5 as published, 1 for every one.
        cpu_steps: iterations that make a round on CPU, some seconds; paper sizes take that long each.
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
    cpu_steps: int = 6

    @property
    def images_side(self) -> int:
        """Pixels per side of the training images."""
        return self.generator_side if self.stage == "generator" else self.classifier_side

    def __str__(self) -> str:
        """The sizes in words."""
        generator = f"generator at {self.generator_side} px, ngf {self.channels}"
        if self.decoder_residual_blocks:
            generator += f", {self.decoder_residual_blocks} residual blocks in the decoder"
        network = f"WRN-{self.depth}-{self.width} at {self.classifier_side} px"
        mixed = f"{self.mixing_probability:.0%} of the batches mixed"
        parts = [generator] if self.stage == "generator" else [network, generator, mixed]
        return ", ".join([*parts, f"batch {self.batch_size}"])


@dataclass(frozen=True)
class Request:
    """What a side of the comparison is to time.

    Attributes:
        preset: the iteration's sizes.
        device: "cpu", "gpu", or "auto": the GPU if the library sees one.
        steps: iterations per round; 0: some, depending on the device.
        loader_workers: processes that load and augment the twin's images; 0: tensors that are there already.
    """

    preset: Preset
    device: str = "auto"
    steps: int = 0
    loader_workers: int = 0

    def steps_on(self, platform: str) -> int:
        """Iterations per round on "cpu" or "gpu"."""
        return self.steps or (self.preset.cpu_steps if platform == "cpu" else GPU_STEPS)

    def mixed_steps(self, steps: int) -> int:
        """How many of a round's iterations mix their batch: the same number in every round, and on both sides."""
        return round(self.preset.mixing_probability * steps)


PRESETS = {
    # "tiny" shows that everything runs; its times say nothing.
    ("generator", "tiny"): Preset("generator", 32, 4, 2, "float32"),
    ("generator", "small"): Preset("generator", 32, 16, 64, "float32"),
    ("generator", "paper"): Preset("generator", 64, 64, 64, "auto", cpu_steps=1),
    ("classifier", "tiny"): Preset("classifier", 32, 4, 2, "float32"),
    ("classifier", "small"): Preset("classifier", 32, 16, 32, "float32", depth=10, width=2),
    ("classifier", "paper"): Preset("classifier", 64, 64, 10, "auto", depth=16, width=8, cpu_steps=2),
}
