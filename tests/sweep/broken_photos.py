"""A data set whose runs fail when they load it, which no check of the settings can foresee."""

from pathlib import Path

CONFIG = """
from chimeramix_jax.config import load


def get_config(experiment="baseline"):
    config = load(f"image_folder:{{experiment}}")
    config.dataset.directory = {directory!r}
    return config
"""


def write_config(folder: Path) -> Path:
    """Makes a folder of one class without images, and a config file for it; returns that file."""
    photos = folder / "photos"
    (photos / "cat").mkdir(parents=True)
    config = folder / "broken.py"
    config.write_text(CONFIG.format(directory=str(photos)))
    return config
