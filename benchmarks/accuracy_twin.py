"""PyTorch's side of the accuracy comparison: whole trainings of the twin, which resume after an interruption.

Its work is LEAN: the published program's mathematics in fewer operations. Random numbers are PyTorch's, except for the
order of an epoch's images, which is derived from the epoch's number so that checkpoints need not store it.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from benchmarks.accuracy_settings import ARMS, Sizes
from benchmarks.pytorch_networks import Discriminator, Generator, WideResNet
from benchmarks.pytorch_twin import LEAN, AdversarialTraining, ClassifierTraining, grid_masks
from chimeramix_jax.data import FewShotDataset
from chimeramix_jax.errors import InputError

GENERATOR, CLASSIFIER = 0, 1  # offsets of the stages in the seeds of random numbers
CHECKPOINT_SECONDS = 30  # minimum between two checkpoints of a stage


class Batches:
    """Augmented pairs of the few labelled images. An epoch shows each image ``repeats`` times, in random order."""

    def __init__(
        self,
        images: UInt8[np.ndarray, "examples side side 3"],
        labels: Int[np.ndarray, "examples"],
        repeats: int,
        batch_size: int,
        address: tuple[int, int],
    ):
        """Pads the images; ``address``, which is the seed and the stage, determines the order of every epoch."""
        self._side, self._padding = images.shape[1], images.shape[1] // 8
        nchw = normalized(images)
        self._padded = F.pad(nchw, (self._padding,) * 4, mode="reflect").permute(0, 2, 3, 1).contiguous()
        self._labels = torch.from_numpy(labels.astype(np.int64))
        classes = range(int(labels.max()) + 1)
        self._members = torch.from_numpy(np.stack([np.flatnonzero(labels == label) for label in classes]))
        self._shown, self._batch_size, self._address = len(images) * repeats, batch_size, address

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, including an incomplete last batch."""
        return -(-self._shown // self._batch_size)

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns images a, partners b of the same classes, both augmented independently, and the classes."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((*self._address, epoch)).permutation(self._shown) % len(self._padded)
        indices = torch.from_numpy(order[batch * self._batch_size : (batch + 1) * self._batch_size])
        labels = self._labels[indices]
        partners = self._members[labels, torch.randint(self._members.shape[1], indices.shape)]
        return self._views(indices), self._views(partners), labels

    def _views(self, indices: Int[Tensor, "batch"]) -> Float[Tensor, "batch 3 side side"]:
        """Returns random crops of the padded images, mirrored with probability 1/2."""
        count, places = len(indices), torch.arange(self._side)
        rows, columns = torch.randint(2 * self._padding + 1, (2, count, 1)) + places
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
        views = self._padded[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
        return views.permute(0, 3, 1, 2).contiguous()


def normalized(images: UInt8[np.ndarray, "batch side side 3"]) -> Float[Tensor, "batch 3 side side"]:
    """Returns images in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


@dataclass(frozen=True)
class Checkpoint:
    """A stage's checkpoint file.

    Attributes:
        path: the file, which is always complete if it exists.
        identity: digest of the data and settings; checkpoints of other data or settings are refused.
    """

    path: Path
    identity: str

    def save(self, content: dict[str, Any]) -> None:
        """Replaces the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        torch.save(content | {"identity": self.identity}, temporary)
        os.replace(temporary, self.path)

    def load(self) -> dict[str, Any] | None:
        """Returns the content of the file; None if it does not exist.

        Raises:
            InputError: the checkpoint is from other data or settings.
        """
        if not self.path.exists():
            return None
        content = torch.load(self.path, weights_only=False)
        if content["identity"] != self.identity:
            raise InputError(f"{self.path}: is from other images or settings; choose another --workdir")
        return content


def train(
    training: AdversarialTraining | ClassifierTraining,
    iteration: Callable[[int], None],
    steps: int,
    checkpoint: Checkpoint,
    title: str,
) -> float:
    """Runs the iterations 0 to ``steps`` - 1, from the checkpoint on if there is one; returns the seconds of all."""
    stored = checkpoint.load()
    first, seconds = 0, 0.0
    if stored is not None:
        training.load_state_dict(stored["training"])
        torch.set_rng_state(stored["random"])
        first, seconds = stored["step"], stored["seconds"]
    started = saved = time.monotonic()
    for step in range(first, steps):
        iteration(step)
        now = time.monotonic()
        if step + 1 == steps or now - saved >= CHECKPOINT_SECONDS:
            elapsed = seconds + now - started
            content = {"training": training.state_dict(), "random": torch.get_rng_state()}
            checkpoint.save(content | {"step": step + 1, "seconds": elapsed})
            print(f"{title}: step {step + 1} of {steps}, {elapsed:.0f} s", flush=True)
            saved = now
    return (checkpoint.load() or {})["seconds"]


def batches_of(dataset: FewShotDataset, seed: int, stage: int, batch_size: int, sizes: Sizes) -> Batches:
    """Returns the batches of a stage of a seed's training."""
    train = dataset.train
    repeats = sizes.repeats(int(np.bincount(train.labels).max()))
    return Batches(train.images, train.labels, repeats, batch_size, (seed, stage))


def masks_of(count: int, sizes: Sizes) -> Float[Tensor, "count 1 side/4 side/4"]:
    """Draws the masks of a batch of features."""
    return grid_masks(count, sizes.side // 4, torch.device("cpu"))


def adversarial_training(sizes: Sizes, steps_per_epoch: int) -> AdversarialTraining:
    """Returns the training of a generator and a discriminator, whose initial weights are drawn now."""
    return AdversarialTraining(
        Generator(sizes.channels, sizes.residual_blocks),
        Discriminator(sizes.discriminator_channels),
        LEAN,
        learning_rate=sizes.generator_learning_rate,
        drops=[round(share * sizes.generator_epochs) * steps_per_epoch for share in sizes.drops],
        drop_factor=sizes.drop_factor,
    )


class Twin:
    """The trainings of one seed: a generator, and a classifier for every arm."""

    def __init__(self, dataset: FewShotDataset, seed: int, sizes: Sizes, folder: Path, identity: str):
        """Prepares the trainings.

        Args:
            dataset: the few-shot subset and the held-out images.
            seed: the seed of all random numbers.
            sizes: the sizes of networks and schedules.
            folder: the folder of the checkpoints.
            identity: a digest of data and settings.
        """
        self._dataset, self._seed, self._sizes, self._folder, self._identity = dataset, seed, sizes, folder, identity

    def accuracy(self, arm: str) -> tuple[float, dict[str, float]]:
        """Returns the accuracy of the arm's classifier on the held-out images, and the seconds of its trainings."""
        seconds = {}
        generator = None
        if ARMS[arm] > 0:
            generator, seconds["generator"] = self._generator()
        classifier, seconds["classifier"] = self._classifier(arm, generator)
        return self._measure(classifier), seconds

    def _checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self._folder / f"{name}.pt", self._identity)

    def _generator(self) -> tuple[Generator, float]:
        """Trains the generator that the arms of the seed share; returns it in evaluation mode, and the seconds."""
        sizes = self._sizes
        torch.manual_seed(2 * self._seed + GENERATOR)
        batches = batches_of(self._dataset, self._seed, GENERATOR, sizes.generator_batch_size, sizes)
        training = adversarial_training(sizes, batches.steps_per_epoch)

        def iteration(step: int) -> None:
            a, b, _ = batches.draw(step)
            masks = (masks_of(len(a), sizes), masks_of(len(a), sizes))
            training.iteration(a, b, masks, a if torch.rand(()) < 0.5 else b)

        steps = sizes.generator_epochs * batches.steps_per_epoch
        title = f"twin, seed {self._seed}, generator"
        seconds = train(training, iteration, steps, self._checkpoint("generator"), title)
        return training.generator.eval().requires_grad_(False), seconds

    def _classifier(self, arm: str, generator: Generator | None) -> tuple[WideResNet, float]:
        """Trains the classifier of an arm; returns it and the seconds. All arms start from the same weights."""
        sizes = self._sizes
        torch.manual_seed(2 * self._seed + CLASSIFIER)
        batches = batches_of(self._dataset, self._seed, CLASSIFIER, sizes.classifier_batch_size, sizes)
        steps = sizes.classifier_epochs * batches.steps_per_epoch
        classifier = WideResNet(sizes.depth, sizes.width, len(self._dataset.class_names), sizes.dropout_rate)
        training = ClassifierTraining(
            generator,
            classifier,
            LEAN,
            generator_side=sizes.side,
            total_steps=steps,
            learning_rate=sizes.classifier_learning_rate,
        )

        def iteration(step: int) -> None:
            a, b, labels = batches.draw(step)
            mixed = float(torch.rand(())) < ARMS[arm]  # one draw for the whole batch
            training.iteration(a, b, labels, masks_of(len(a), sizes) if mixed else None)

        title = f"twin, seed {self._seed}, {arm}"
        return classifier, train(training, iteration, steps, self._checkpoint(arm), title)

    @torch.no_grad()
    def _measure(self, classifier: WideResNet) -> float:
        classifier.eval()
        held_out, size = self._dataset.held_out, self._sizes.test_batch_size
        right = 0
        for start in range(0, len(held_out.labels), size):
            predicted = classifier(normalized(held_out.images[start : start + size])).argmax(dim=1).numpy()
            right += int((predicted == held_out.labels[start : start + size]).sum())
        return right / len(held_out.labels)


def versions() -> dict[str, str]:
    """Returns the versions of everything that can change the twin's results."""
    return {"torch": str(torch.__version__), "numpy": np.__version__, "python": platform.python_version()}
