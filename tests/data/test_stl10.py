import hashlib
import io
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.archives import Archive
from chimeramix_jax.data.builders.stl10 import Stl10
from chimeramix_jax.errors import InputError

NAMES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


def column_major(images):
    """Converts images to the published layout: channel by channel, column by column."""
    return images.transpose(0, 3, 2, 1).tobytes()


@pytest.fixture
def published(random_images):
    train_images, test_images = random_images(20, 96), random_images(10, 96, seed=1)
    train_labels, test_labels = np.arange(20) % 10, np.arange(10) * 3 % 10
    members = {
        "test_X.bin": column_major(test_images),
        "test_y.bin": (test_labels + 1).astype(np.uint8).tobytes(),
        "train_X.bin": column_major(train_images),
        "train_y.bin": (train_labels + 1).astype(np.uint8).tobytes(),
        "unlabeled_X.bin": bytes(1000),
        "class_names.txt": "\n".join(NAMES).encode(),
    }
    return SimpleNamespace(
        train_images=train_images,
        test_images=test_images,
        train_labels=train_labels,
        test_labels=test_labels,
        members=members,
    )


@pytest.fixture
def load(dataset_config, tmp_path, monkeypatch):
    """Returns a function that writes the members to an archive and loads it."""

    def write_and_load(members, cut=None):
        path = tmp_path / "copy.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                header = tarfile.TarInfo(f"stl10_binary/{name}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        path.write_bytes(path.read_bytes()[:cut])
        monkeypatch.setattr(Stl10, "ARCHIVE", Archive(Stl10.ARCHIVE.url, hashlib.md5(path.read_bytes()).hexdigest()))
        dataset_config.name, dataset_config.archive = "stl10", str(path)
        return load_few_shot(dataset_config, 1, seed=0)

    return write_and_load


def test_stl10_is_read_upright_and_in_published_order(load, published):
    dataset = load(published.members)
    assert dataset.class_names == tuple(NAMES)
    np.testing.assert_array_equal(dataset.train.images, published.train_images[dataset.train_indices])
    np.testing.assert_array_equal(dataset.train.labels, published.train_labels[dataset.train_indices])
    np.testing.assert_array_equal(dataset.held_out.images, published.test_images)
    np.testing.assert_array_equal(dataset.held_out.labels, published.test_labels)


def test_an_archive_that_lacks_a_file_is_refused(load, published):
    del published.members["train_y.bin"]
    with pytest.raises(InputError, match=r"dataset.archive: \S*copy.tar.gz lacks train_y.bin"):
        load(published.members)


def test_files_whose_sizes_do_not_match_are_refused(load, published):
    published.members["train_y.bin"] += b"\x01"
    with pytest.raises(InputError, match=r"sizes of train_X.bin and train_y.bin"):
        load(published.members)


def test_a_damaged_archive_is_refused(load, published):
    with pytest.raises(InputError, match=r"copy.tar.gz cannot be read as a tar.gz"):
        load(published.members, cut=5000)
