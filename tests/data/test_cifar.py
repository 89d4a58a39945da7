import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from chimeramix_jax.data import few_shot_indices, load_few_shot
from chimeramix_jax.data.builders.cifar import Cifar10, Cifar100
from chimeramix_jax.data.builders.examples import png_bytes
from chimeramix_jax.data.preparation import quiet_tfds
from chimeramix_jax.errors import InputError
from tests.data.cifar_pickles import NAMES_10, Published, allow, batch


def write_tar(path, members, folder="cifar-10-batches-py/"):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(folder + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def prepare_as_tfds_does(data_dir, published):
    """Writes the files of TFDS's own cifar10 builder, but without TensorFlow."""
    splits = {
        "train": (published.train_images, published.train_labels),
        "test": (published.test_images, published.test_labels),
    }

    class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "cifar10"
        VERSION = tfds.core.Version("3.0.2")

        def _info(self):
            features = {
                "id": tfds.features.Text(),
                "image": tfds.features.Image(shape=(32, 32, 3)),
                "label": tfds.features.ClassLabel(names=NAMES_10),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for number, (image, label) in enumerate(zip(*splits[split], strict=True)):
                png = png_bytes(Image.fromarray(image))
                yield number, {"id": f"{split}_{number:05d}", "image": png, "label": label}

    with quiet_tfds():
        Cifar10(data_dir=data_dir).download_and_prepare(file_format="array_record")


@pytest.fixture
def published(tmp_path, random_images):
    return Published(random_images, tmp_path / "copy.tar.gz")


@pytest.fixture
def config(dataset_config, published):
    dataset_config.name = "cifar10"
    dataset_config.archive = str(published.path)
    return dataset_config


def assert_in_published_order(dataset, published):
    assert dataset.class_names == tuple(NAMES_10)
    np.testing.assert_array_equal(dataset.train_indices, few_shot_indices(published.train_labels, 3, seed=0))
    np.testing.assert_array_equal(dataset.train.images, published.train_images[dataset.train_indices])
    np.testing.assert_array_equal(dataset.train.labels, published.train_labels[dataset.train_indices])
    np.testing.assert_array_equal(dataset.held_out.images, published.test_images)
    np.testing.assert_array_equal(dataset.held_out.labels, published.test_labels)


def test_cifar10_is_read_in_the_order_of_its_files(config, published, monkeypatch):
    reversed_members = dict(reversed(published.members.items()))  # their order in the archive does not matter
    allow(monkeypatch, Cifar10, write_tar(published.path, reversed_members))
    assert_in_published_order(load_few_shot(config, 3, seed=0), published)


def test_data_that_tfds_prepared_are_used_as_before_and_are_the_same_data(config, published, monkeypatch, tmp_path):
    config.archive = ""
    prepare_as_tfds_does(config.data_dir, published)
    copied = load_few_shot(config, 3, seed=0)
    assert_in_published_order(copied, published)
    allow(monkeypatch, Cifar10, write_tar(published.path, published.members))
    config.data_dir, config.archive = str(tmp_path / "elsewhere"), str(published.path)
    assert load_few_shot(config, 3, seed=0).identity == copied.identity


def test_cifar100_is_read_with_its_fine_labels(dataset_config, tmp_path, random_images, monkeypatch):
    images, labels = random_images(100, 32), np.arange(100)[::-1]
    names = [f"fine {number:02}" for number in range(100)]
    part = batch(images, labels, "fine_labels") | {b"coarse_labels": [0] * 100}
    members = {"train": part, "test": part, "meta": {b"fine_label_names": names, b"coarse_label_names": ["all"]}}
    path = write_tar(tmp_path / "copy.tar.gz", members, folder="cifar-100-python/")
    allow(monkeypatch, Cifar100, path)
    dataset_config.name, dataset_config.archive = "cifar100", str(path)
    dataset = load_few_shot(dataset_config, 1, seed=0)
    assert dataset.class_names == tuple(names)
    np.testing.assert_array_equal(dataset.held_out.labels, labels)


def test_an_archive_without_a_batch_or_that_is_not_one_is_refused(config, published, monkeypatch):
    del published.members["test_batch"]
    allow(monkeypatch, Cifar10, write_tar(published.path, published.members))
    with pytest.raises(InputError, match=r"dataset.archive: \S*copy.tar.gz lacks test_batch"):
        load_few_shot(config, 3, seed=0)
    published.path.write_bytes(b"not a tar")
    allow(monkeypatch, Cifar10, published.path)
    with pytest.raises(InputError, match=r"dataset.archive: \S*copy.tar.gz cannot be read as a tar.gz"):
        load_few_shot(config, 3, seed=0)
    assert not list(Path(config.data_dir).rglob("*.array_record*"))
