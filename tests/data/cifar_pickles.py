"""Tiny archives like those of CIFAR and ciFAIR, for tests."""

import hashlib
from pathlib import Path

import numpy as np

from chimeramix_jax.data.archives import Archive

NAMES_10 = [f"class {number}" for number in range(10)]


def batch(images, labels, labels_key="labels", text=lambda name: name.encode()):
    """Returns a batch as it is pickled, with its keys as bytes or, if ``text`` is ``str``, as strings."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {text("data"): planes, text(labels_key): labels.tolist(), text("filenames"): [b"x.png"] * len(images)}


def allow(monkeypatch, builder, path, url=None):
    """Makes the file at ``path`` the published one."""
    md5 = hashlib.md5(Path(path).read_bytes()).hexdigest()
    monkeypatch.setattr(builder, "ARCHIVE", Archive(url or builder.ARCHIVE.url, md5))


class Published:
    """Images, labels and pickles of a data set of ten classes with 50 training and 20 test images."""

    def __init__(self, random_images, path):
        self.path = path  # the place for its archive
        self.train_images, self.test_images = random_images(50, 32), random_images(20, 32, seed=1)
        self.train_labels, self.test_labels = np.arange(50) * 3 % 10, np.arange(20) * 7 % 10
        parts = zip(range(1, 6), np.split(self.train_images, 5), np.split(self.train_labels, 5), strict=True)
        self.members = {f"data_batch_{number}": batch(images, labels) for number, images, labels in parts} | {
            "test_batch": batch(self.test_images, self.test_labels),
            "batches.meta": {b"label_names": [name.encode() for name in NAMES_10]},
        }
