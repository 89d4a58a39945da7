"""The experiments of the published study: what each changes in a data set's settings."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.errors import not_one_of

EXPERIMENTS: Mapping[str, Mapping[str, Any]] = {
    # The classifier on the augmented images alone; there is no generator, and nothing to compare it with.
    "baseline": {"mixing.mask": "none", "compare_with_baseline": False},
    # Features of two images of a class blended by a random grid.
    "chimeramix_grid": {"mixing.mask": "grid"},
}


def apply(config: ConfigDict, experiment: str) -> ConfigDict:
    """Changes a data set's settings in place to those of an experiment, and returns them.

    Raises:
        InputError: there is no such experiment.
    """
    if experiment not in EXPERIMENTS:
        raise not_one_of("experiment", experiment, EXPERIMENTS)
    config.experiment = experiment
    config.update_from_flattened_dict(EXPERIMENTS[experiment])
    return config
