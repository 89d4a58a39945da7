import hashlib
import pickle
import socket
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.archives import Archive
from chimeramix_jax.data.builders.cifair import Cifair10, Cifair100
from chimeramix_jax.errors import InputError
from tests.data.archive_server import serve
from tests.data.cifar_pickles import NAMES_10, Published, allow, batch


def write_zip(path, members, folder="ciFAIR-10/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(
                folder + name, content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
            )
    return path


@pytest.fixture
def published(tmp_path, random_images):
    return Published(random_images, tmp_path / "copy.zip")


@pytest.fixture
def config(dataset_config, published):
    dataset_config.name = "cifair10"
    dataset_config.archive = str(published.path)
    return dataset_config


def test_cifair10_is_read_in_the_order_of_its_files(config, published, monkeypatch):
    allow(monkeypatch, Cifair10, write_zip(published.path, published.members))
    dataset = load_few_shot(config, 3, seed=0)
    assert dataset.class_names == tuple(NAMES_10)
    np.testing.assert_array_equal(dataset.train.images, published.train_images[dataset.train_indices])
    np.testing.assert_array_equal(dataset.train.labels, published.train_labels[dataset.train_indices])
    np.testing.assert_array_equal(dataset.held_out.images, published.test_images)
    np.testing.assert_array_equal(dataset.held_out.labels, published.test_labels)


def test_cifair100_is_read_with_its_fine_labels_even_if_python_3_wrote_it(
    dataset_config, tmp_path, random_images, monkeypatch
):
    images, labels = random_images(200, 32), np.arange(200) % 100
    names = [f"fine {number:02}" for number in range(100)]
    part = batch(images, labels, "fine_labels", text=str) | {"coarse_labels": [0] * 200}
    members = {"train": part, "test": part, "meta": {"fine_label_names": names, "coarse_label_names": ["all"]}}
    path = write_zip(tmp_path / "copy.zip", members, folder="ciFAIR-100/")
    allow(monkeypatch, Cifair100, path)
    dataset_config.name, dataset_config.archive = "cifair100", str(path)
    dataset = load_few_shot(dataset_config, 1, seed=0)
    assert dataset.class_names == tuple(names)
    np.testing.assert_array_equal(dataset.train.images, images[dataset.train_indices])
    np.testing.assert_array_equal(dataset.held_out.labels, labels)


def test_a_local_archive_with_another_checksum_is_refused_with_both_checksums(config, published):
    write_zip(published.path, published.members)
    found = hashlib.md5(published.path.read_bytes()).hexdigest()
    with pytest.raises(InputError) as caught:
        load_few_shot(config, 3, seed=0)
    message = str(caught.value)
    assert message.startswith(f"dataset.archive: {published.path} ")
    assert f"its md5 is {found}, expected {Cifair10.ARCHIVE.md5}" in message
    assert "\n" not in message


def test_a_missing_local_archive_is_named_in_the_error(config, published):
    with pytest.raises(InputError, match=rf"dataset.archive: there is no file {published.path}"):
        load_few_shot(config, 3, seed=0)


def test_a_pickle_that_would_run_code_is_refused_and_nothing_is_prepared(config, published, monkeypatch):
    published.members["data_batch_3"] = b"cos\nsystem\n(S'echo harmed'\ntR."
    allow(monkeypatch, Cifair10, write_zip(published.path, published.members))
    with pytest.raises(InputError, match=r"dataset.archive: the pickle data_batch_3 in .* uses os.system"):
        load_few_shot(config, 3, seed=0)
    assert not list(Path(config.data_dir).rglob("*.array_record*"))


def test_members_with_paths_outside_the_archive_are_read_but_not_extracted(config, published, monkeypatch, tmp_path):
    allow(monkeypatch, Cifair10, write_zip(published.path, published.members, folder="../../outside/"))
    before = {path for path in tmp_path.rglob("*") if Path(config.data_dir) not in path.parents}
    assert len(load_few_shot(config, 3, seed=0).held_out.labels) == 20
    after = {path for path in tmp_path.rglob("*") if Path(config.data_dir) not in path.parents}
    assert after - before == {Path(config.data_dir)}
    assert not list(tmp_path.parent.rglob("outside"))


def test_an_archive_that_lacks_a_file_is_refused(config, published, monkeypatch):
    del published.members["test_batch"]
    allow(monkeypatch, Cifair10, write_zip(published.path, published.members))
    with pytest.raises(InputError, match="contains no files called test_batch"):
        load_few_shot(config, 3, seed=0)


@pytest.mark.parametrize(
    "content", [{b"data": np.zeros((10, 3072), np.uint8)}, {b"data": b"x", b"labels": [1]}, [1, 2]]
)
def test_a_file_that_is_not_a_batch_of_images_is_named_in_the_error(config, published, monkeypatch, content):
    published.members["data_batch_2"] = content
    allow(monkeypatch, Cifair10, write_zip(published.path, published.members))
    with pytest.raises(InputError, match=r"dataset.archive: \S*data_batch_2 in"):
        load_few_shot(config, 3, seed=0)


def test_a_file_that_is_not_a_zip_is_refused(config, published, monkeypatch):
    published.path.write_bytes(b"not a zip")
    allow(monkeypatch, Cifair10, published.path)
    with pytest.raises(InputError, match="cannot be read as a zip"):
        load_few_shot(config, 3, seed=0)


def test_a_zip_whose_contents_cannot_be_decompressed_is_refused(config, published, monkeypatch):
    content = write_zip(published.path, published.members).read_bytes()
    place = content.index(b"data_batch_1") + len(b"data_batch_1")
    published.path.write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
    allow(monkeypatch, Cifair10, published.path)
    with pytest.raises(InputError, match=r"dataset.archive: \S+ cannot be read as a zip: ") as caught:
        load_few_shot(config, 3, seed=0)
    assert "\n" not in str(caught.value)


def test_without_a_local_archive_the_published_archive_is_downloaded_and_checked(config, published, monkeypatch):
    write_zip(published.path, published.members)
    config.archive = ""
    with serve(published.path.read_bytes) as url:
        allow(monkeypatch, Cifair10, published.path, url)
        np.testing.assert_array_equal(load_few_shot(config, 3, seed=0).held_out.images, published.test_images)


def test_a_download_with_a_wrong_checksum_is_refused_and_repeated_next_time(config, published, monkeypatch):
    good = write_zip(published.path, published.members).read_bytes()
    answers = iter([b"<html>please log in</html>", good])
    config.archive = ""
    with serve(lambda: next(answers)) as url:
        allow(monkeypatch, Cifair10, published.path, url)
        with pytest.raises(InputError, match=r"dataset.archive: .* its md5 is .*, expected"):
            load_few_shot(config, 3, seed=0)
        assert len(load_few_shot(config, 3, seed=0).held_out.labels) == 20


def test_without_network_the_error_names_the_url_and_the_setting_within_seconds(config, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/archive"  # bound, but nobody listens
        monkeypatch.setattr(Cifair10, "ARCHIVE", Archive(url, "0" * 32))
        config.archive = ""
        start = time.monotonic()
        with pytest.raises(InputError, match=rf"cannot download {url} .*--config.dataset.archive=") as caught:
            load_few_shot(config, 3, seed=0)
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)
