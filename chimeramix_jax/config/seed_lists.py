"""Parses lists of seeds: ``seeds = "0,1,4"``, or ``"0:5"`` for 0 to 4."""

import os
import re

from ml_collections import ConfigDict

from chimeramix_jax.config.rules import LARGEST_SEED
from chimeramix_jax.errors import InputError

SEED_PLACE = "{seed}"  # replaced by the seed in a directory's name

_FORM = f"whole numbers from 0 to {LARGEST_SEED} and ranges, such as 0,1,4 or 0:5 (which is 0,1,2,3,4)"
_MOST = 10_000  # a longer list must be a mistake


def parse_seeds(text: str) -> tuple[int, ...]:
    """Returns the seeds in a text, in order; an empty tuple for an empty text. Ranges exclude their last number."""
    seeds: list[int] = []
    for part in text.split(",") if text else []:
        bounds = re.fullmatch(r"\s*([0-9]{1,10})\s*(?::\s*([0-9]{1,10})\s*)?", part)
        if bounds is None:
            raise InputError(f"seeds: {text!r} is not allowed; it must be {_FORM}")
        first = int(bounds[1])
        end = first + 1 if bounds[2] is None else int(bounds[2])
        if end <= first:
            raise InputError(f"seeds: {part.strip()!r} in {text!r} is an empty range; it must be first:last + 1")
        if end - 1 > LARGEST_SEED or len(seeds) + end - first > _MOST:
            raise InputError(f"seeds: {part.strip()!r} in {text!r} is not allowed; it must be {_FORM}, {_MOST} at most")
        seeds += range(first, end)
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(set(seeds)) < len(seeds) else []
    if twice:
        raise InputError(f"seeds: {text!r} names {twice[0]} twice; each must be given once")
    return tuple(seeds)


def config_of_seed(config: ConfigDict, seed: int) -> ConfigDict:
    """Returns the settings of a run of ``seed`` alone."""
    alone = ConfigDict(config)
    alone.update({"seed": seed, "seeds": ""})
    return alone


def with_seed(pattern: str | os.PathLike[str], seed: int) -> str:
    """Returns the directory of a seed from a pattern that contains ``SEED_PLACE``."""
    return os.fspath(pattern).replace(SEED_PLACE, str(seed))


def seed_in(workdir: str | os.PathLike[str], seed: int) -> str:
    """The directory of one seed's run, given the folder that is to hold those of several, or a pattern for them."""
    if SEED_PLACE in os.fspath(workdir):
        return with_seed(workdir, seed)
    return os.path.join(workdir, f"seed-{seed}")
