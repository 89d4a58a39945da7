"""PyTorch's side of the speed comparison: runs the twin's iterations."""

import itertools
import platform
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmarks import pytorch_loader
from benchmarks.presets import DROPOUT_RATE, NUM_CLASSES, RESIDUAL_BLOCKS, Request
from benchmarks.pytorch_networks import Discriminator, Generator, WideResNet
from benchmarks.pytorch_twin import LEAN, AdversarialTraining, ClassifierTraining, grid_masks

Network = TypeVar("Network", bound=nn.Module)
Batch = tuple[Tensor, Tensor, Tensor]  # images a, images b, labels


class Twin:
    """Runs rounds of a fixed number of iterations, and waits for the device after each round."""

    def __init__(self, request: Request, work: str):
        """Draws the networks and prepares the images; ``work`` is the twin's PUBLISHED or LEAN.

        Raises:
            RuntimeError: a GPU is requested and there is none.
        """
        on_gpu = torch.cuda.is_available() if request.device == "auto" else request.device == "gpu"
        if on_gpu and not torch.cuda.is_available():
            raise RuntimeError("this PyTorch sees no GPU; --device=cpu compares on the CPU")
        torch.backends.cudnn.benchmark = True
        if request.preset.precision == "float32":  # whole float32, as ours asks for; a GPU would multiply in TF32
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.manual_seed(0)
        self._preset, self._work, self._on_gpu = request.preset, work, on_gpu
        self._device = torch.device("cuda" if on_gpu else "cpu")
        self._autocast = on_gpu and request.preset.precision == "auto"
        # The fast order on a GPU; the published program keeps the channels first.
        channels_last = on_gpu and work == LEAN
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.steps = request.steps_on("gpu" if on_gpu else "cpu")
        self._mixed_steps = request.mixed_steps(self.steps)
        workers = request.loader_workers
        self._batches = pytorch_loader.batches(self._preset, workers, self._device) if workers else self._resident()
        self._iteration = self._generator() if self._preset.stage == "generator" else self._classifier()

    def about(self) -> dict[str, Any]:
        """Returns the device, the number format and the versions."""
        return {
            "platform": "gpu" if self._on_gpu else "cpu",
            "device": torch.cuda.get_device_name() if self._on_gpu else "cpu",
            "precision": "bfloat16" if self._autocast else "float32",
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
        }

    def prepare(self) -> None:
        """Needs nothing."""

    def round(self) -> None:
        """Runs the iterations and waits for their end."""
        for _ in range(self.steps):
            self._iteration(*next(self._batches))
        if self._on_gpu:
            torch.cuda.synchronize()

    def afterwards(self) -> dict[str, Any]:
        """Returns the GPU's peak memory; PyTorch does not count operations."""
        return {"peak_bytes": torch.cuda.max_memory_allocated() if self._on_gpu else None, "xla_flops": None}

    def _generator(self) -> Callable[[Tensor, Tensor, Tensor], None]:
        discriminator = self._placed(Discriminator(self._preset.channels))
        training = AdversarialTraining(self._drawn_generator(), discriminator, self._work, autocast=self._autocast)

        def iteration(a: Tensor, b: Tensor, labels: Tensor) -> None:
            masks = (self._mask(len(a)), self._mask(len(a)))
            training.iteration(a, b, masks, a if torch.rand(()) < 0.5 else b)

        return iteration

    def _classifier(self) -> Callable[[Tensor, Tensor, Tensor], None]:
        preset = self._preset
        training = ClassifierTraining(
            self._drawn_generator(),
            self._placed(WideResNet(preset.depth, preset.width, NUM_CLASSES, DROPOUT_RATE)),
            self._work,
            generator_side=preset.generator_side,
            total_steps=10**6,
            autocast=self._autocast,
        )

        # The coins of a round, with heads and tails spread evenly.
        shares = (number * self._mixed_steps // self.steps for number in range(self.steps + 1))
        coins = itertools.cycle([later > earlier for earlier, later in itertools.pairwise(shares)])

        def iteration(a: Tensor, b: Tensor, labels: Tensor) -> None:
            training.iteration(a, b, labels, self._mask(len(a)) if next(coins) else None)

        return iteration

    def _drawn_generator(self) -> Generator:
        preset = self._preset
        return self._placed(Generator(preset.channels, RESIDUAL_BLOCKS, preset.decoder_residual_blocks))

    def _placed(self, network: Network) -> Network:
        return network.to(self._device, memory_format=self._format)

    def _mask(self, batch_size: int) -> Tensor:
        return grid_masks(batch_size, self._preset.generator_side // 4, self._device)

    def _resident(self) -> Iterator[Batch]:
        """Yields the same pairs for every batch, already augmented and on the device, so that loading costs nothing."""
        preset = self._preset
        shape = (2, preset.batch_size, 3, preset.images_side, preset.images_side)
        images = (2 * torch.rand(shape) - 1).to(self._device)
        a, b = (one.contiguous(memory_format=self._format) for one in images)
        labels = (torch.arange(preset.batch_size) % NUM_CLASSES).to(self._device)
        return itertools.repeat((a, b, labels))
