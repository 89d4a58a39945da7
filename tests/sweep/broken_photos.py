"""Makes a data set that cannot be loaded, which a check of the settings cannot detect."""

from pathlib import Path

CONFIG = """
from chimeramix_jax.config import load


def get_config(experiment="baseline"):
    config = load(f"image_folder:{{experiment}}")
    config.dataset.directory = {directory!r}
    return config
"""


def write_config(folder: Path) -> Path:
    """Makes a folder with one class and no images, and a config file for it; returns the config file."""
    photos = folder / "photos"
    (photos / "cat").mkdir(parents=True)
    config = folder / "broken.py"
    config.write_text(CONFIG.format(directory=str(photos)))
    return config
