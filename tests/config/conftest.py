"""Fixtures for the tests of the settings."""

import pytest
from ml_collections import ConfigDict

from chimeramix_jax.config import defaults


@pytest.fixture
def config() -> ConfigDict:
    return defaults.get_config()
