"""Folders of images that cannot be used, or not completely: what is said about them."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.wording import counted
from tests.data.photo_folders import scan, write_image, write_split


def test_a_damaged_image_is_named_and_nothing_is_prepared(config, folder):
    write_split(folder, {"cat": range(3), "dog": range(3)})
    damaged = folder / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    for _ in range(2):
        with pytest.raises(InputError, match=rf"dataset.directory: {damaged} is .*skip_unreadable") as caught:
            load_few_shot(config, 1, seed=0)
        assert "\n" not in str(caught.value)
        assert not Path(config.data_dir).exists()


def a_link_to_itself(path):
    path.symlink_to(path)


def a_link_to_nothing(path):
    path.symlink_to(path.with_name("gone"))


@pytest.mark.parametrize("make", [a_link_to_itself, a_link_to_nothing, os.mkfifo])
def test_pipes_and_broken_links_are_refused_without_blocking(folder, make):
    write_split(folder, {"cat": range(3), "dog": range(3)})
    make(folder / "dog" / "odd.png")
    with pytest.raises(InputError, match=rf"{folder / 'dog' / 'odd.png'} is not a file"):
        scan(folder)


@pytest.mark.parametrize("place", ["test", "train/cow", "test/cow"])
def test_a_class_or_split_that_is_a_broken_link_is_refused(folder, tmp_path, place):
    for part in ("train", "test"):
        if place != part:
            write_split(folder / part, {"cat": range(3), "dog": range(3)})
    (folder / "notes.txt").symlink_to("gone.txt")  # would be ignored anyway
    (folder / place).symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=f"{folder / place} is a broken link to {tmp_path / 'gone'}; remove it, or"):
        scan(folder)


def test_a_class_folder_that_links_to_its_parent_is_refused(folder):
    write_split(folder, {"cat": range(3), "dog": range(3)})
    (folder / "loop").symlink_to(folder)
    with pytest.raises(InputError, match=f"{folder / 'loop' / 'cat'} is a folder within a class folder"):
        scan(folder)


def test_a_limit_above_the_smallest_class_of_a_folder_names_that_class(config, folder):
    write_split(folder / "train", {"cat": range(3), "dog": range(2)})
    write_split(folder / "test", {"cat": [1]})
    with pytest.raises(InputError, match=r"max_labels_per_class: 3, but class 'dog' has only 2"):
        load_few_shot(config, 3, seed=0)


def lay_out(folder, case):
    """Creates a folder with a layout that must be refused."""
    if case == "missing":
        return
    folder.mkdir()
    cat, dog = folder / "train" / "cat" / "0.png", folder / "train" / "dog" / "0.png"
    if case in ("one class", "single image", "unknown test class", "empty class", "nested", "empty test", "blanks"):
        write_image(cat, 1)
    if case in ("single image", "unknown test class", "nested", "empty test", "blanks"):
        write_image(dog, 1)
    if case == "unknown test class":
        write_image(folder / "test" / "cow" / "0.png", 1)
    if case == "empty class":
        dog.parent.mkdir()
    if case == "nested":
        write_image(cat.parent / "more" / "1.png", 1)
    if case == "empty test":
        (folder / "test").mkdir()
    if case == "blanks":
        write_image(folder / "train" / "cow " / "0.png", 1)
    if case == "long name":
        write_image(folder / "cat" / "0.png", 1)
        write_image(folder / ("é" * 101) / "0.png", 1)
    if case == "twins":
        write_image(cat, 1)
        write_image(folder / "train" / "cat\u200b" / "0.png", 1)
    if case == "capitals":
        write_split(folder / "train", {"Black  cat": [1], "dog": [2], "black Cat": [3]})
    for part in ("test", "val"):
        if case == f"two forms in {part}":
            write_split(folder / "train", {"B\u00e4r": [1, 2], "dog": [3, 4]})
            write_split(folder / part, {"B\u00e4r": [5], "Ba\u0308r": [6], "dog": [7]})
    if case == "only raw":
        write_image(dog, 1)
        (cat.parent).mkdir()
        (cat.parent / "DSC_1.NEF").touch()
    if case == "one folder too many":
        write_split(folder / "photos", {"cat": range(3), "dog": range(3)})
        (folder / "__MACOSX").mkdir()
    if case == "a whole data set below":
        write_split(folder / "photos" / "train", {"cat": range(3), "dog": range(3)})
        write_split(folder / "photos" / "test", {"cat": range(3), "dog": range(3)})
    if case == "one folder too many in train":
        write_split(folder / "train" / "photos", {"cat": range(3), "dog": range(3)})
    if case == "test alone":
        write_image(folder / "test" / "cat" / "0.png", 1)
    if case == "loose images":
        write_image(folder / "0.png", 1)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "{folder} cannot be read: No such file or directory"),
        ("empty", "{folder} contains no class folders with images"),
        ("loose images", "{folder} contains no class folders with images"),
        ("one class", "{folder}/train contains only one class, 'cat'"),
        ("empty class", "the class folder {folder}/train/dog contains no images"),
        ("single image", "class 'cat' has a single image, {folder}/train/cat/0.png"),
        ("nested", "{folder}/train/cat/more is a folder within a class folder"),
        ("test alone", "{folder} has a folder test, but no folder train"),
        ("empty test", "{folder}/test contains no class folders with images"),
        ("unknown test class", "{folder}/test has classes that are not in the train part: 'cow'"),
        ("blanks", "rename the class folder 'cow ' in {folder}/train"),
        ("long name", "rename the class folder 'éé"),
        ("twins", "rename the class folder 'cat' or 'cat\\u200b' in {folder}/train; the names differ only in"),
        ("capitals", "rename the class folder 'Black  cat' or 'black Cat' in {folder}/train; the names differ only in"),
        ("two forms in test", "{folder}/test has two folders called 'B\u00e4r'; merge them"),
        ("two forms in val", "{folder}/val has two folders called 'B\u00e4r'; merge them"),
        ("only raw", "the class folder {folder}/train/cat contains no images; camera raw files are not"),
        ("one folder too many", "{folder} contains only the folder 'photos', which contains folders and not the"),
        ("a whole data set below", "{folder} contains only the folder 'photos', which contains folders and not the"),
        ("one folder too many in train", "{folder}/train contains only the folder 'photos', which contains folders"),
    ],
)
def test_a_folder_with_the_wrong_layout_is_refused_with_its_path_in_one_line(config, folder, case, message):
    lay_out(folder, case)
    with pytest.raises(InputError) as caught:
        load_few_shot(config, 1, seed=0)
    assert str(caught.value).startswith("dataset.directory: " + message.format(folder=folder))
    assert "\n" not in str(caught.value)
    assert not Path(config.data_dir).exists()


@pytest.mark.parametrize(
    ("part", "place", "is_refused"),
    [
        ("", "prepared", True),
        ("", "cat/prepared", True),
        ("", "..", False),
        ("", ".prepared", False),
        ("train", "prepared", False),
        ("train", "train/prepared", True),
    ],
)
@pytest.mark.filterwarnings("ignore::chimeramix_jax.data.image_paths.IgnoredFilesWarning")  # about the prepared data
def test_prepared_data_may_not_lie_where_photos_are_looked_for(config, folder, part, place, is_refused):
    write_split(folder / part, {"cat": range(3), "dog": range(100, 103)})
    config.data_dir = str(folder / place)
    if is_refused:
        with pytest.raises(InputError, match=rf"--config.dataset.data_dir=.*{place}: lies in the folder of photos"):
            load_few_shot(config, 1, seed=0)
        assert sorted(path.suffix for path in folder.rglob("*") if path.is_file()) == [".png"] * 6
    else:
        for _ in range(2):
            load_few_shot(config, 1, seed=0)


@pytest.mark.parametrize("inner", ["photos", "archive/photos", "archive/photos/v1"])
@pytest.mark.parametrize("part", ["", "train"])
def test_the_folder_that_was_probably_meant_is_suggested_and_works(folder, inner, part):
    write_split(folder / inner / part, {"cat": range(3), "dog": range(3)})
    with pytest.raises(InputError) as caught:
        scan(folder)
    message, _, suggested = str(caught.value).removesuffix("?").rpartition("--config.dataset.directory=")
    assert message.endswith("did you mean ") and suggested == str(folder / inner)
    assert scan(suggested).class_names == ("cat", "dog")


def test_a_missing_directory_setting_is_named(config):
    config.directory = ""
    with pytest.raises(InputError, match=r"dataset.directory: not set"):
        load_few_shot(config, 1, seed=0)


@pytest.mark.parametrize("refused", ["train", "train/cat"])
def test_a_folder_without_read_permission_is_named(config, folder, monkeypatch, refused):
    def listdir(path):
        if Path(path) == folder / refused:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    original = os.listdir
    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(InputError, match=rf"dataset.directory: {folder / refused} cannot be read: Permission denied"):
        load_few_shot(config, 1, seed=0)


def test_a_file_in_place_of_the_directory_is_named(config, folder):
    folder.write_text("not a folder")
    with pytest.raises(InputError, match=rf"dataset.directory: {folder} is a file; it must be a folder of images"):
        load_few_shot(config, 1, seed=0)


@pytest.mark.parametrize(
    ("key", "value"), [("image_side", 0), ("holdout_fraction", 0.0), ("holdout_fraction", 1.0), ("holdout_seed", -1)]
)
def test_settings_out_of_range_are_refused_with_their_key(config, folder, key, value):
    write_split(folder, {"cat": range(3), "dog": range(3)})
    config[key] = value
    with pytest.raises(InputError, match=rf"dataset.{key}: {value} is not allowed; it must be"):
        load_few_shot(config, 1, seed=0)


@pytest.fixture
def unreadable(folder):
    """Makes a folder with three unreadable files in both splits; returns their paths."""
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    write_split(folder / "test", {"cat": [7], "dog": range(2)})
    paths = [
        folder / "train" / "cat" / "1.png",
        folder / "train" / "dog" / "IMG.HEIC",
        folder / "test" / "dog" / "0.png",
    ]
    paths[0].write_bytes(paths[0].read_bytes()[:40])
    paths[1].write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    paths[2].write_bytes(b"")
    return paths


def test_all_unreadable_files_are_listed_in_one_error(config, unreadable):
    with pytest.raises(InputError, match=r"dataset.directory: 3 files cannot be read: ") as caught:
        load_few_shot(config, 1, seed=0)
    assert all(str(path) in str(caught.value) for path in unreadable)
    assert "pillow-heif" in str(caught.value) and "--config.dataset.skip_unreadable" in str(caught.value)


def test_of_many_unreadable_files_the_error_names_five_and_gives_every_reason_with_its_number(config, folder):
    write_split(folder, {"cat": range(3), "dog": range(3)})
    for number in range(9):
        (folder / "cat" / f"IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError) as caught:
        load_few_shot(config, 1, seed=0)
    message = str(caught.value)
    assert message.startswith("dataset.directory: 9 files cannot be read: 9 are HEIC photos, which need the package")
    assert message.count(".HEIC") == 5 and "IMG_4.HEIC and 4 more)" in message and "check.json" in message
    assert "repair" not in message and "skip them with --config.dataset.skip_unreadable" in message
    (folder / "dog" / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"HEIC and 5 more\); 1 is not an image .*empty.png\); repair or remove them"):
        load_few_shot(config, 1, seed=0)
    config.skip_unreadable = True
    with pytest.warns(SkippedWarning, match=r"skipped 10 files .*IMG_4.HEIC and 5 more; check.json lists all of them$"):
        load_few_shot(config, 1, seed=0)


def test_unreadable_files_are_skipped_on_request_with_a_warning_every_time(config, unreadable):
    config.skip_unreadable = True
    for _ in range(2):
        with pytest.warns(SkippedWarning, match="skipped 3 files") as warned:
            dataset = load_few_shot(config, None, seed=0)
        assert all(str(path) in str(warned[0].message) for path in unreadable)
        assert np.bincount(dataset.train.labels).tolist() == [2, 3] and dataset.held_out.labels.tolist() == [0, 1]
    config.skip_unreadable = False
    with pytest.raises(InputError, match="3 files cannot be read"):
        load_few_shot(config, None, seed=0)


@pytest.fixture
def with_codec(monkeypatch):
    """Returns a context in which Pillow reads files that begin with ``TOY!``, as after a package was installed."""

    @contextlib.contextmanager
    def installed():
        with monkeypatch.context() as patch:
            patch.setattr(Image, "ID", [*Image.ID, "TOY"])
            opened = (lambda file, _: Image.open(io.BytesIO(file.read()[4:])), lambda start: start[:4] == b"TOY!")
            patch.setitem(Image.OPEN, "TOY", opened)
            yield

    return installed


def test_skipped_photos_are_used_as_soon_as_they_can_be_read(config, folder, with_codec):
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    write_split(folder / "test", {"cat": [7], "dog": [8]})
    toy, damaged = folder / "train" / "cat" / "1.png", folder / "test" / "dog" / "1.png"
    toy.write_bytes(b"TOY!" + toy.read_bytes())
    damaged.write_bytes(b"x")
    config.skip_unreadable = True

    def loaded(skipped):
        with pytest.warns(SkippedWarning, match=f"skipped {counted(len(skipped), 'file')}") as warned:
            dataset = load_few_shot(config, None, seed=0)
        assert all(str(path) in str(warned[0].message) for path in skipped)
        assert sorted(dataset.originals.unreadable) == sorted(map(str, skipped))
        return dataset.train.names

    before = loaded([toy, damaged])
    with with_codec():
        for _ in range(2):
            assert sorted({*loaded([damaged])} - {*before}) == ["train/cat/1.png"]
    assert loaded([toy, damaged]) == before
    with with_codec():
        assert len(loaded([damaged])) == 6
    assert len(list(Path(config.data_dir).glob("chimeramix_image_folder/*"))) == 2


def test_skipped_photos_are_named_where_they_are_now(config, unreadable, folder, tmp_path):
    config.skip_unreadable = True
    with pytest.warns(SkippedWarning):
        load_few_shot(config, None, seed=0)
    config.directory = str(folder.rename(tmp_path / "moved"))
    now = [str(tmp_path / "moved" / path.relative_to(folder)) for path in unreadable]
    with pytest.warns(SkippedWarning) as warned:
        assert sorted(load_few_shot(config, None, seed=0).originals.unreadable) == sorted(now)
    assert all(path in str(warned[0].message) for path in now) and str(folder) + "/" not in str(warned[0].message)
    assert len(list(Path(config.data_dir).glob("chimeramix_image_folder/*"))) == 1


def make_unreadable(folder):
    for path in folder.iterdir():
        path.write_bytes(b"")


def test_a_class_without_readable_training_images_is_refused(config, folder):
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    write_split(folder / "test", {"cat": [7], "dog": range(2)})
    make_unreadable(folder / "train" / "dog")
    config.skip_unreadable = True
    first = folder / "train" / "dog" / "0.png"
    message = rf"no training image of class 'dog' can be read \(the first, {first}, is not an image"
    with pytest.raises(InputError, match=message):
        load_few_shot(config, None, seed=0)


def test_a_class_may_lack_readable_test_images_but_not_all_classes(config, folder):
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    write_split(folder / "test", {"cat": [7], "dog": range(2)})
    make_unreadable(folder / "test" / "dog")
    config.skip_unreadable = True
    with pytest.warns(SkippedWarning, match="skipped 2 files"):
        assert load_few_shot(config, None, seed=0).held_out.labels.tolist() == [0]
    make_unreadable(folder / "test" / "cat")
    with pytest.raises(InputError, match=r"no test image can be read \(the first, \S+test/cat/0\.png, is not an image"):
        load_few_shot(config, None, seed=0)
