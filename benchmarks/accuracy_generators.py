"""Compares the generators that ``benchmarks.accuracy`` has trained on both sides: how well they reconstruct images.

    python -m benchmarks.accuracy_generators --images=path/to/images --workdir=runs/accuracy --seeds=0:5

For every seed and side with a finished classifier that mixes, it prints the mean squared error of images in [-1, 1] and
their reconstructions: of the training images (seen), and of about 1,000 held-out images (unseen). This program applies
the generators of both sides. It needs PyTorch to read the twin's checkpoints.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.accuracy import OURS, SIDES, Comparison
from benchmarks.accuracy_settings import ARMS
from benchmarks.reconstruction import error
from chimeramix_jax.config import parse_seeds
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime import cpu_setup

_UNSEEN = 1000
_MIXING_ARMS = [arm for arm, probability in ARMS.items() if probability]


def main() -> None:
    """Prints a line for every side and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="the folder that was trained on")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seeds", default="0:5", help="such as 0,1,4, or 0:5 for 0 to 4")
    parser.add_argument("--workdir", required=True, help="that of benchmarks.accuracy")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    try:
        seeds, workdir = parse_seeds(arguments.seeds), Path(arguments.workdir)
        compare(Comparison(arguments.images, arguments.images_per_class, seeds, _MIXING_ARMS, SIDES, workdir))
    except InputError as problem:
        print(f"accuracy_generators: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)


def compare(comparison: Comparison) -> None:
    """Prints the errors of all finished generators; raises InputError if there are none, or if they are of others."""
    comparison.check()
    arms = {(side, seed): arm for side, seed, arm in comparison.results()}
    if not arms:
        raise InputError(f"--workdir={comparison.workdir}: has no finished classifier that mixes, of these seeds")
    print(f"{'seed':4}  {'side':4}  {'seen':>7}  {'unseen':>7}")
    for seed in comparison.seeds:
        loaded = load_few_shot(comparison.dataset, comparison.images_per_class, seed)
        unseen = loaded.held_out.images[:: max(len(loaded.held_out.images) // _UNSEEN, 1)]
        for side in SIDES:
            if (side, seed) in arms:
                generator = trained_generator(side, comparison.folder(side, seed), arms[side, seed])
                errors = error(generator, loaded.train.images), error(generator, unseen)
                print(f"{seed:4}  {side:4}  {errors[0]:7.4f}  {errors[1]:7.4f}", flush=True)


def trained_generator(side: str, folder: Path, arm: str) -> Generator:
    """Returns the generator with which a side trained an arm, given the folder of the seed."""
    if side == OURS:
        from chimeramix_jax.runs.restore import restore_generator

        return restore_generator(folder / arm)
    import torch

    from chimeramix_jax.interop.pytorch import load_generator

    stored = torch.load(folder / "generator.pt", weights_only=False, map_location="cpu")
    return load_generator({name: value.numpy() for name, value in stored["training"]["generator"].items()})


if __name__ == "__main__":
    main()
