"""Fixtures for the tests of the data room."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from chimeramix_jax.config.defaults import get_config


@pytest.fixture
def dataset_config(tmp_path) -> ConfigDict:
    """``config.dataset`` with an empty data directory of its own."""
    config = get_config().dataset
    config.data_dir = str(tmp_path / "prepared")
    return config


@pytest.fixture
def random_images():
    """Returns a function that makes (count, side, side, 3) images."""

    def make(count: int, side: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    return make


@pytest.fixture
def folder(tmp_path):
    """Where a test makes a folder of photos."""
    return tmp_path / "images"


@pytest.fixture
def config(dataset_config, folder):
    """``config.dataset`` for that folder."""
    dataset_config.name = "image_folder"
    dataset_config.directory = str(folder)
    dataset_config.image_side = 8
    return dataset_config
