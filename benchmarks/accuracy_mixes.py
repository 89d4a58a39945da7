"""Compares the mixes of both sides of ``benchmarks.accuracy`` that a given generator makes: are they alike?

    python -m benchmarks.accuracy_mixes --images=path/to/images --workdir=runs/accuracy --seeds=5

Both sides mix the few training images of a seed with the generator that the twin has trained, each with its own code
for partners, crops, masks, and networks. The table has, for the mixes and for the images that nothing mixes, means over
all images with their standard errors: the cross-entropy and accuracy of the twin's classifier, which was trained with
one coin per batch, and the mean, contrast and sharpness of the pixels. It needs PyTorch, and a finished twin.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from benchmarks.accuracy import TWIN, Comparison
from benchmarks.accuracy_generators import trained_generator
from benchmarks.accuracy_settings import config_of
from chimeramix_jax.config import parse_seeds
from chimeramix_jax.data import FewShotDataset, load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing.mixer import Mixer
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runtime import cpu_setup
from chimeramix_jax.training.stage_data import load_stage_data

ARM = "coin"

Images = Float[np.ndarray, "batch side side 3"]
Batches = Iterator[tuple[dict[str, Images], Int[np.ndarray, "batch"]]]


def main() -> None:
    """Prints a table for every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="the folder that was trained on")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seeds", default="0", help="such as 0,1,4, or 0:5 for 0 to 4")
    parser.add_argument("--batches", type=int, default=200, help="batches to mix")
    parser.add_argument("--workdir", required=True, help="that of benchmarks.accuracy")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    try:
        seeds, workdir = parse_seeds(arguments.seeds), Path(arguments.workdir)
        compare(
            Comparison(arguments.images, arguments.images_per_class, seeds, [ARM], [TWIN], workdir), arguments.batches
        )
    except InputError as problem:
        print(f"accuracy_mixes: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)


def compare(comparison: Comparison, batches: int) -> dict[int, dict[str, dict[str, tuple[float, float]]]]:
    """Prints and returns the means and standard errors by seed, kind of images and measure.

    Raises:
        InputError: the twin of a seed has not been trained, or ``workdir`` has results of other images or sizes.
    """
    comparison.check()
    finished = {seed for side, seed, _ in comparison.results() if side == TWIN}
    measured = {}
    for seed in comparison.seeds:
        if seed not in finished:
            raise InputError(f"--seeds: PyTorch's training of seed {seed} with arm {ARM!r} is not finished")
        dataset = load_few_shot(comparison.dataset, comparison.images_per_class, seed)
        twin = _Twin(comparison, dataset, seed)
        sides = {"PyTorch": twin.batches(batches), "ours": _ours(comparison, dataset, seed, batches)}
        measured[seed] = {
            f"{kind}, {side}": twin.measure(images, labels)
            for side, drawn in sides.items()
            for kind, images, labels in _joined(drawn)
        }
        print(f"seed {seed}\n{table(measured[seed])}\n", flush=True)
    return measured


def table(measured: Mapping[str, Mapping[str, tuple[float, float]]]) -> str:
    """Returns a row for every kind of images, those that are mixed first."""
    names = list(next(iter(measured.values())))
    rows = [[kind, *(f"{mean:.4f} ± {error:.4f}" for mean, error in one.values())] for kind, one in measured.items()]
    return aligned([["images", *names], *sorted(rows)])


class _Twin:
    """The trained networks of PyTorch's side, and its way to draw images."""

    def __init__(self, comparison: Comparison, dataset: FewShotDataset, seed: int):
        import torch

        from benchmarks import accuracy_twin, pytorch_networks
        from benchmarks.pytorch_twin import LEAN, ClassifierTraining

        sizes, folder = comparison.sizes, comparison.folder(TWIN, seed)
        self._side, self._seed = sizes.side, seed

        def load(name: str, network: str, module: torch.nn.Module) -> Any:
            stored = torch.load(folder / f"{name}.pt", weights_only=False, map_location="cpu")
            module.load_state_dict(stored["training"][network])
            return module.eval().requires_grad_(False)

        self._classifier = load(
            ARM,
            "classifier",
            pytorch_networks.WideResNet(sizes.depth, sizes.width, len(dataset.class_names), sizes.dropout_rate),
        )
        generator = load("generator", "generator", pytorch_networks.Generator(sizes.channels, sizes.residual_blocks))
        self._training = ClassifierTraining(generator, self._classifier, LEAN, generator_side=sizes.side, total_steps=1)
        repeats = sizes.repeats(comparison.images_per_class)
        address = (seed, accuracy_twin.CLASSIFIER)
        self._batches = accuracy_twin.Batches(
            dataset.train.images, dataset.train.labels, repeats, sizes.classifier_batch_size, address
        )

    def batches(self, count: int) -> Batches:
        """Yields mixed and unmixed images in [-1, 1], and their labels, as in the twin's training."""
        import torch

        from benchmarks.pytorch_twin import grid_masks

        torch.manual_seed(self._seed)
        for step in range(count):
            a, b, labels = self._batches.draw(step)
            mixes = self._training.mixes(a, b, grid_masks(len(a), self._side // 4, a.device))
            images = {"mixed": mixes, "unmixed": a}
            yield {kind: one.permute(0, 2, 3, 1).numpy() for kind, one in images.items()}, labels.numpy()

    def measure(self, images: Images, labels: Int[np.ndarray, "batch"]) -> dict[str, tuple[float, float]]:
        """Returns the mean of every measure over the images, and its standard error."""
        import torch

        nchw, truth = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).long()
        logits = torch.cat([self._classifier(part) for part in nchw.split(100)])
        losses = torch.nn.functional.cross_entropy(logits, truth, reduction="none").numpy()
        values = {
            "cross-entropy": losses,
            "accuracy": (logits.argmax(dim=1) == truth).float().numpy(),
            "mean": images.mean(axis=(1, 2, 3)),
            "contrast": images.std(axis=(1, 2, 3)),
            "sharpness": np.abs(np.diff(images, axis=2)).mean(axis=(1, 2, 3)),
        }
        return {name: (float(one.mean()), float(one.std() / np.sqrt(len(one)))) for name, one in values.items()}


def _ours(comparison: Comparison, dataset: FewShotDataset, seed: int, count: int) -> Batches:
    """Yields what ``_Twin.batches`` does, as in this program's training, with the twin's generator."""
    config = config_of(comparison.dataset, comparison.images_per_class, seed, ARM, comparison.sizes)
    train, classes = dataset.train, len(dataset.class_names)
    data = load_stage_data(config, "classifier", train.images, train.labels, classes)
    generator = trained_generator(TWIN, comparison.folder(TWIN, seed), ARM)
    mixer, networks = Mixer.of(config, data.augmentation, generator, None)

    @jax.jit
    def draw(key: PRNGKeyArray, indices: Int[Array, "batch"]) -> dict[str, Float[Array, "batch side side 3"]]:
        views = data.augmentation(jax.random.fold_in(key, 1), data.images, indices).images
        return {"mixed": mixer(key, data.images, indices, networks), "unmixed": views}

    key, steps = jax.random.key(seed), data.plan.steps
    for step in range(count):
        epoch, batch = divmod(step, steps)
        order, counts = data.plan.order(jax.random.fold_in(key, epoch))
        images = draw(jax.random.fold_in(jax.random.fold_in(key, 1), step), order[batch])
        kept = np.full(order.shape[1], True) if counts is None else np.asarray(counts[batch])
        yield (
            {kind: np.asarray(one)[kept] for kind, one in images.items()},
            train.labels[np.asarray(order[batch])[kept]],
        )


def _joined(batches: Batches) -> Iterator[tuple[str, Images, Int[np.ndarray, "batch"]]]:
    """Yields each kind of images as one array, with their labels."""
    drawn = list(batches)
    labels = np.concatenate([part for _, part in drawn])
    for kind in drawn[0][0]:
        yield kind, np.concatenate([images[kind] for images, _ in drawn]), labels


if __name__ == "__main__":
    main()
