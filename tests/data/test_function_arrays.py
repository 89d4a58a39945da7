"""Data sets that are functions: which arrays they may return, and how they are loaded."""

import numpy as np
import pytest

from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import Arrays, lookup

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 10, 3), dtype=np.uint8)
LABELS = np.arange(8) % 2


@pytest.fixture
def loaded(tmp_path, data_dir, nothing_registered):
    """Loads what a registered function returns."""

    def load_returned(returned):
        path = tmp_path / "mine.py"
        path.write_text(
            "from chimeramix_jax import extensions\n@extensions.dataset('mine')\ndef mine():\n    return RETURNED\n"
            "extensions.experiment('mine', {'dataset.name': 'mine', 'dataset.image_side': 8})"
        )
        config = load(str(path))
        lookup.find("data set", "mine").__globals__["RETURNED"] = returned
        config.dataset.data_dir = str(data_dir)
        return load_few_shot(config.dataset, 2, seed=0)

    return load_returned


def test_the_arrays_become_squares_with_their_names(loaded):
    dataset = loaded(Arrays(("cat", "dog"), IMAGES, LABELS, IMAGES[:4, :, :8], LABELS[:4].tolist()))
    assert dataset.class_names == ("cat", "dog") and not dataset.divided
    assert dataset.train.images.shape == (4, 8, 8, 3) and dataset.held_out.names[3] == "test_images[3]"
    np.testing.assert_array_equal(dataset.held_out.images, IMAGES[:4, :, :8])
    changed = IMAGES[:4, :, :8].copy()
    changed[0, 0, 0] = 255 - changed[0, 0, 0]
    other = loaded(Arrays(("cat", "dog"), IMAGES, LABELS, changed, LABELS[:4]))
    assert other.identity.digests()["held_out"] != dataset.identity.digests()["held_out"]


def test_without_test_images_a_share_of_each_class_is_held_out(loaded):
    dataset = loaded(Arrays(["cat", "dog"], IMAGES[..., 0], LABELS))
    assert dataset.divided and sorted(dataset.held_out.labels) == [0, 1]


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ((IMAGES, LABELS), "mine.py:2: data set 'mine' returns a tuple; it must return extensions.Arrays"),
        (Arrays(("cat",), IMAGES, LABELS), r"class_names are \('cat',\); they must be two or more"),
        (Arrays(("cat", ".."), IMAGES, LABELS), "rename the class '..'; its name must be a line"),
        (Arrays(("cat", "cat\u200b"), IMAGES, LABELS), r"rename the class 'cat' or 'cat\\u200b'; the names differ"),
        (Arrays(("cat", "dog"), IMAGES / 255, LABELS), "train_images are float64; they must be uint8"),
        (Arrays(("cat", "dog"), IMAGES[..., :2], LABELS), r"train_images have the shape \(8, 8, 10, 2\); it must be"),
        (Arrays(("cat", "dog"), IMAGES, LABELS[:7]), r"train_labels have the shape \(7,\); it must be \(8,\)"),
        (Arrays(("cat", "dog"), IMAGES, LABELS / 1), "train_labels are float64; they must be integers"),
        (
            Arrays(("cat", "dog"), IMAGES, np.array([0] * 7 + [2**64 - 1], np.uint64)),
            "train_labels are from 0 to 18446744073709551615; with 2 class names",
        ),
        (Arrays(("cat", "dog"), IMAGES, LABELS + 1), "train_labels are from 1 to 2; with 2 class names .* from 0 to 1"),
        (Arrays(("cat", "dog"), IMAGES, LABELS, IMAGES, None), "test_labels are object; they must be integers"),
        (Arrays(("cat", "dog", "elk"), IMAGES, LABELS), "class 'elk' has 0 training images; every class needs two"),
    ],
)
def test_other_arrays_are_refused(loaded, returned, complaint):
    with pytest.raises(InputError, match=complaint):
        loaded(returned)
