"""Tells whether finished results in a folder were measured on the images that are given now."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError

KEY = "data"  # of a result: the digests of its images


def digests_of(dataset: ConfigDict, images_per_class: int, seed: int) -> dict[str, str]:
    """Returns the digests of the images of a seed's few-shot subset and of those that it is measured on."""
    return load_few_shot(dataset, images_per_class, seed).identity.digests()


def check(
    results: Mapping[Path, int], images: str, named_then: str | None, digests: Callable[[int], Mapping[str, str]]
) -> None:
    """Raises InputError if a finished result was measured on other images.

    Results of earlier versions have no digests, and images that are no longer there cannot be compared. Then the folder
    must be the one that was named.

    Args:
        results: the seed of each result, by its file; those that do not exist are not finished.
        images: the folder that is named now.
        named_then: the folder that was named when the results were made; None: unknown.
        digests: returns the digests of a seed's images as they are now.
    """
    digests, by_name = cache(digests), not Path(images).exists()
    for file, seed in results.items():
        if not file.exists():
            continue
        stored = json.loads(file.read_text()).get(KEY)
        by_name = by_name or stored is None
        if stored is not None and Path(images).exists() and stored != digests(seed):
            raise InputError(f"{file}: was measured on other images than {images} has now; choose another --workdir")
    if by_name and named_then is not None and Path(named_then).resolve() != Path(images).resolve():
        here = str(Path(images).absolute())
        raise InputError(f"--images: was {named_then!r}, now it is {here!r}; choose another --workdir")
