"""Compares the generators that ``benchmarks.accuracy`` has trained on both sides: how well they reconstruct images.

    python -m benchmarks.accuracy_generators --images=path/to/images --workdir=runs/accuracy

For every seed with a finished generator, it prints the mean squared error of images in [-1, 1] and their
reconstructions: of the training images (seen), and of about 1,000 held-out images (unseen).
The generators of both sides are applied by this program. Needs PyTorch, to read the twin's checkpoints.
"""

import argparse
from pathlib import Path

from benchmarks.accuracy import OURS, TWIN
from benchmarks.accuracy_settings import ARMS, Sizes, dataset_config
from benchmarks.reconstruction import error
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime import cpu_setup

_UNSEEN = 1000


def main() -> None:
    """Prints a line for every side and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="the folder that was trained on")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--workdir", required=True, help="that of benchmarks.accuracy")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    from chimeramix_jax.data import load_few_shot

    workdir = Path(arguments.workdir)
    dataset = dataset_config(arguments.images, str(workdir / "data"), Sizes())
    print(f"{'seed':4}  {'side':4}  {'seen':>7}  {'unseen':>7}")
    for seed in sorted({int(folder.name.removeprefix("seed")) for folder in workdir.glob("*/seed*")}):
        loaded = load_few_shot(dataset, arguments.images_per_class, seed)
        unseen = loaded.held_out.images[:: max(len(loaded.held_out.images) // _UNSEEN, 1)]
        for side in (OURS, TWIN):
            generator = finished_generator(side, workdir / side / f"seed{seed}")
            if generator is not None:
                seen = error(generator, loaded.train.images)
                print(f"{seed:4}  {side:4}  {seen:7.4f}  {error(generator, unseen):7.4f}", flush=True)


def finished_generator(side: str, folder: Path) -> Generator | None:
    """Returns the generator in a seed's folder of one side; None if no classifier that it mixes for is finished."""
    finished = [arm for arm, probability in ARMS.items() if probability and (folder / f"{arm}.json").exists()]
    if not finished:
        return None
    if side == OURS:
        from chimeramix_jax.runs.restore import restore_generator

        return restore_generator(folder / finished[0])
    import torch

    from chimeramix_jax.interop.pytorch import load_generator

    stored = torch.load(folder / "generator.pt", weights_only=False, map_location="cpu")
    return load_generator({name: value.numpy() for name, value in stored["training"]["generator"].items()})


if __name__ == "__main__":
    main()
