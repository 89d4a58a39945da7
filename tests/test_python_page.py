"""The code in docs/python.md, run as it stands there but with tiny networks and images of noise."""

import contextlib
import io
import re

import numpy as np
import pytest
from conftest import ROOT, TINY
from PIL import Image

from chimeramix_jax import config as settings

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE)
PRINTED = (
    r"\d+(\.\d)?% of \d test images are classified correctly",
    r"photos/(cat|dog)/\d\.png (cat|dog) \d+%",
    r"photos/cat/7\.png \{'(cat|dog)': .*\}\n\S+/dog/0\.png \{.*\}\nimages\[2\] \{.*\}\n--images: missing\.png does",
    r"\{'cat': .*, 'dog': .*\}",
    r"2 \(8, 32, 32, 3\) [01]\.",
    r"cat/0000000\.png\n0\nmixed from\n\[\d+, \d+\]\nby the mask\n[01]{8}\n",
    r"\(8, 8, 3\) [01] \[\d+ +\d+\] \(8, 8\)",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples are run: it holds two classes of photos."""
    folder = tmp_path_factory.mktemp("python-page")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (40, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    return folder


@pytest.fixture
def run_block(folder, data_dir, monkeypatch):
    """Runs a block in the folder; returns what it prints."""
    load = settings.load

    def load_tiny(source):
        config = load(source)
        config.update_from_flattened_dict(TINY | {"dataset.data_dir": str(data_dir), "compare_with_baseline": False})
        return config

    monkeypatch.setattr(settings, "load", load_tiny)
    monkeypatch.chdir(folder)

    def run(block):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(block, "docs/python.md", "exec"), {"__name__": "example"})
        return output.getvalue()

    return run


@pytest.mark.parametrize(("block", "printed"), list(zip(BLOCKS, PRINTED, strict=True)), ids=range(len(BLOCKS)))
def test_the_example_does_what_its_page_says(run_block, folder, block, printed):
    if not (folder / "runs").exists() and block != BLOCKS[0]:  # whose test has been left out
        run_block(BLOCKS[0])
    assert re.search(printed, run_block(block))
