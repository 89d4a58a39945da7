"""Fixtures for the tests of launchers on real clusters, whose runs only count."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT

IDEA = """
import jax.numpy as jnp
from chimeramix_jax import extensions


@extensions.loss("plain")
def plain(logits, labels):
    return jnp.sum(logits, axis=1)


extensions.experiment("mine", {"classifier.loss": "plain", "mixing.mask": "none", "compare_with_baseline": False})
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout whose ``main.py`` only counts; the usual one is ``program.py``."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("chimeramix_jax", "configs", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(Path(__file__).with_name("counting_run.py"), folder / "main.py")
    shutil.copy(ROOT / "main.py", folder / "program.py")
    return folder


@pytest.fixture
def idea(tmp_path):
    """A file of one's own, in a folder of its own that is not the checkout."""
    file = tmp_path / "my ideas" / "mine.py"
    file.parent.mkdir()
    file.write_text(IDEA)
    return file
