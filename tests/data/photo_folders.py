"""Folders of small photos."""

from PIL import Image

from chimeramix_jax.data.builders import own_images


def write_image(path, grey, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)


def write_split(root, greys):
    """Writes a PNG for each grey value: {"cat": [10, 11]} makes cat/0.png and cat/1.png."""
    for name, values in greys.items():
        for number, grey in enumerate(values):
            write_image(root / name / f"{number}.png", grey)


def scan(folder, evaluate_on="test"):
    return own_images.scan(str(folder), evaluate_on)
