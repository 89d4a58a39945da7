"""Loads the twin's images in worker processes, as PyTorch programs do: pairs of a class, cropped and mirrored."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.presets import NUM_CLASSES, Preset

IMAGES_PER_CLASS = 5
EPOCH = 5000  # pairs


class Pairs(Dataset[tuple[Tensor, Tensor, int]]):
    """Images of noise in memory, already at the working size; an item is two images of one class, and the class."""

    def __init__(self, side: int):
        """Draws the images."""
        count = NUM_CLASSES * IMAGES_PER_CLASS
        self._images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)

    def __len__(self) -> int:
        """Returns the pairs in an epoch, which shows each image many times."""
        return EPOCH

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Returns an image and a partner from its class, augmented independently, and their class."""
        position = index % len(self._images)
        label = position // IMAGES_PER_CLASS
        partner = label * IMAGES_PER_CLASS + int(torch.randint(IMAGES_PER_CLASS, ()))
        return self._view(position), self._view(partner), label

    def _view(self, position: int) -> Tensor:
        image = self._images[position]
        padding = image.shape[0] // 8
        row, column = torch.randint(0, 2 * padding + 1, (2,)).tolist()
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
        view = padded[row : row + image.shape[0], column : column + image.shape[0]]
        if torch.rand(()) < 0.5:
            view = view[:, ::-1]
        return torch.from_numpy(view.transpose(2, 0, 1).copy()).float() / 127.5 - 1


def batches(preset: Preset, workers: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields batches on the device endlessly, loaded ahead by ``workers`` processes that persist between epochs."""
    loader = DataLoader(
        Pairs(preset.images_side),
        preset.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        for a, b, labels in loader:
            yield tuple(tensor.to(device, non_blocking=True) for tensor in (a, b, labels))
