import os
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.identity import changes
from chimeramix_jax.data.image_paths import IgnoredFilesWarning
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.errors import InputError
from tests.data.photo_folders import scan, write_image, write_split


def greys(images):
    """Returns the grey values that distinguish the images of ``write_split``."""
    return sorted(images.images[:, 0, 0, 0].tolist())


def test_train_and_test_folders_become_the_splits_in_the_order_of_their_names(config, folder):
    write_split(folder / "train", {"dog": [40, 41, 42], "cat": [10, 11, 12]})
    write_split(folder / "test", {"cat": [20], "dog": [50, 51]})
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.class_names == ("cat", "dog")
    in_order = dataset.train.images[np.argsort(dataset.train_indices)]
    assert in_order[:, 0, 0, 0].tolist() == [10, 11, 12, 40, 41, 42]
    assert dataset.train.labels[np.argsort(dataset.train_indices)].tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.held_out.images[:, 0, 0, 0].tolist() == [20, 50, 51]
    assert dataset.held_out.labels.tolist() == [0, 1, 1]
    assert dataset.train.images.shape == (6, 8, 8, 3)


@pytest.mark.parametrize("root", ["test", "."])
def test_every_image_keeps_the_name_of_its_file_even_if_others_are_skipped(config, folder, root):
    config.skip_unreadable = True
    write_split(folder / "train" if root == "test" else folder, {"dog": [40, 41, 42, 43], "cat": [10, 11, 12, 13]})
    if root == "test":
        write_split(folder / "test", {"dog": [50, 51]})
    (folder / ("test/dog" if root == "test" else "cat") / "0.png").write_text("no image")
    with pytest.warns(SkippedWarning):
        dataset = load_few_shot(config, None, seed=0)
    assert dataset.directory == folder
    for images in (dataset.train, dataset.held_out):
        assert len(images.names) == len(images.labels) > 0
        for name, pixels in zip(images.names, images.images, strict=True):
            with Image.open(folder / name) as stored:
                assert stored.getpixel((0, 0)) == pixels[0, 0, 0]


@pytest.mark.parametrize("root", [".", "train"])
def test_a_share_of_each_class_is_held_out_if_there_is_no_test_folder(config, folder, root):
    write_split(folder / root, {"cat": range(10), "dog": range(100, 140)})
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.divided
    assert greys(dataset.train) == sorted({*range(10), *range(100, 140)} - set(greys(dataset.held_out)))
    assert 1 <= np.sum(dataset.held_out.labels == 0) <= 4 and 2 <= np.sum(dataset.held_out.labels == 1) <= 16
    assert all((label == 1) == (grey >= 100) for grey, label in zip(
        dataset.held_out.images[:, 0, 0, 0], dataset.held_out.labels, strict=True
    ))  # fmt: skip


def test_the_hold_out_does_not_change_when_photos_are_added_renamed_or_stored_at_another_size(config, folder):
    write_split(folder, {"cat": range(20), "dog": range(100, 120)})
    before = set(greys(load_few_shot(config, None, seed=0).held_out))
    write_split(folder, {"bird": range(200, 220)})
    for number in range(20, 40):
        write_image(folder / "cat" / f"0-{number}.png", number)
    (folder / "dog" / "3.png").rename(folder / "dog" / "z.png")
    config.image_side = 12
    after = set(greys(load_few_shot(config, None, seed=0).held_out))
    assert after & {*range(20), *range(100, 120)} == before


def test_another_hold_out_seed_holds_out_other_images_without_a_new_preparation(config, folder, tmp_path):
    write_split(folder, {"cat": range(20), "dog": range(100, 120)})
    first = greys(load_few_shot(config, None, seed=0).held_out)
    prepared = sorted(Path(config.data_dir).rglob("*"))
    config.holdout_seed = 1
    assert greys(load_few_shot(config, None, seed=0).held_out) != first
    assert sorted(Path(config.data_dir).rglob("*")) == prepared


def test_every_seed_holds_out_other_images_unless_there_is_a_test_folder(config, folder):
    write_split(folder, {"cat": range(20), "dog": range(100, 120)})
    assert len({tuple(greys(load_few_shot(config, None, seed).held_out)) for seed in range(4)}) == 4
    config.directory = str(folder.with_name("with-test"))
    write_split(folder.with_name("with-test") / "train", {"cat": range(20), "dog": range(100, 120)})
    write_split(folder.with_name("with-test") / "test", {"cat": [50], "dog": [150]})
    assert {tuple(greys(load_few_shot(config, None, seed).held_out)) for seed in range(4)} == {(50, 150)}


def test_too_many_labels_per_class_are_refused_with_the_number_of_held_out_images(config, folder):
    write_split(folder, {"cat": range(5), "dog": range(100, 105)})
    with pytest.raises(InputError, match=r"class '(cat|dog)' has only \d training images, as \d more are held out"):
        load_few_shot(config, 5, seed=0)


def test_the_data_identity_includes_all_images_of_the_folder(config, folder):
    write_split(folder, {"cat": range(20), "dog": range(100, 120)})
    before = load_few_shot(config, 3, seed=0).identity
    assert len(before.train.images) == 6
    assert len(before.train.images) + len(before.held_out.images) + len(before.unused.images) == 40
    write_image(folder / "cat" / "new.png", 77)
    assert changes(before, load_few_shot(config, 3, seed=0).identity)[0] == "1 new image"


def test_hidden_files_and_files_of_file_managers_are_ignored(folder):
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "cat/._0.png"):
        (folder / "train" / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / ".git").mkdir()
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "cat" / "@eaDir").mkdir()
    (folder / "train" / "cat" / "notes.txt").touch()
    (folder / "train" / "dog" / "Icon\r").touch()
    with pytest.warns(IgnoredFilesWarning) as warned:
        contents = scan(folder)
    assert contents.class_names == ("cat", "dog")
    assert len(contents.train) == 6
    assert len(warned) == 1
    assert str(warned[0].message).startswith("dataset.directory: ignored 11 files and folders that are not images of a")


@pytest.mark.parametrize("name", ["a]b", "a\\b"])
def test_prepared_data_are_found_again_where_their_path_has_odd_signs(config, folder, tmp_path, name):
    write_split(folder, {"cat": range(10), "dog": range(100, 110)})
    config.data_dir = str(tmp_path / name)
    first, second = (load_few_shot(config, None, seed=0) for _ in range(2))
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "images"]


def test_a_folder_that_has_changed_is_prepared_again(config, folder):
    write_split(folder / "train", {"cat": [10, 11], "dog": [40, 41]})
    write_split(folder / "test", {"cat": [20], "dog": [50]})
    load_few_shot(config, 1, seed=0)
    write_image(folder / "test" / "cat" / "0.png", 99)
    write_image(folder / "test" / "dog" / "1.png", 52)
    assert load_few_shot(config, 1, seed=0).held_out.images[:, 0, 0, 0].tolist() == [99, 50, 52]


def test_each_image_side_is_prepared_separately(config, folder):
    write_split(folder, {"cat": [10, 11], "dog": [40, 41]})
    load_few_shot(config, 1, seed=0)
    config.image_side = 12
    assert load_few_shot(config, 1, seed=0).held_out.images.shape == (2, 12, 12, 3)


def test_the_fingerprint_depends_on_the_files_but_not_on_the_location(folder, tmp_path):
    write_split(folder, {"cat": range(10), "dog": range(10)})
    before = scan(folder).fingerprint
    folder.rename(tmp_path / "moved")
    assert scan(tmp_path / "moved").fingerprint == before
    os.utime(tmp_path / "moved" / "cat" / "0.png", (1, 1))
    assert scan(tmp_path / "moved").fingerprint != before


def write_bitmaps(folder):
    """Writes photos of the same size and date, whose grey values are 10 to 13 for cats and 40 to 43 for dogs."""
    for name, first in (("cat", 10), ("dog", 40)):
        for number in range(4):
            path = folder / name / f"{number}.bmp"
            write_image(path, first + number)
            os.utime(path, (1_000_000_000, 1_000_000_000))


def swap_classes(folder):
    (folder / "cat").rename(folder / "kept")
    (folder / "dog").rename(folder / "cat")
    (folder / "kept").rename(folder / "dog")


def swap_files(folder):
    (folder / "cat" / "0.bmp").rename(folder / "kept.bmp")
    (folder / "dog" / "0.bmp").rename(folder / "cat" / "0.bmp")
    (folder / "kept.bmp").rename(folder / "dog" / "0.bmp")


def edit_and_set_the_date_back(folder):
    path = folder / "cat" / "0.bmp"
    before = path.stat()
    write_image(path, 99)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def put_a_copy_with_its_date_in_its_place(folder):
    shutil.copy2(folder / "dog" / "3.bmp", folder / "cat" / "0.bmp")


@pytest.mark.parametrize(
    "change", [swap_classes, swap_files, edit_and_set_the_date_back, put_a_copy_with_its_date_in_its_place]
)
def test_changes_that_keep_the_sizes_and_dates_of_all_files_are_noticed(config, folder, change):
    write_bitmaps(folder)
    before = load_few_shot(config, None, seed=0).identity
    change(folder)
    now = load_few_shot(config, None, seed=0)
    assert changes(before, now.identity)
    for images in (now.train, now.held_out):
        for name, label, pixels in zip(images.names, images.labels, images.images, strict=True):
            with Image.open(folder / name) as stored:
                assert stored.getpixel((0, 0)) == pixels[0, 0, 0]
            assert now.class_names[label] == Path(name).parent.name


def test_a_copy_of_a_folder_is_prepared_anew_and_is_the_same_data(config, folder, tmp_path):
    write_bitmaps(folder)
    before = load_few_shot(config, None, seed=0).identity
    shutil.copytree(folder, tmp_path / "copy")
    config.directory = str(tmp_path / "copy")
    assert changes(before, load_few_shot(config, None, seed=0).identity) == []
    assert len(list(Path(config.data_dir).glob("chimeramix_image_folder/*"))) == 2


def test_files_of_any_name_are_read(config, folder):
    odd = ("two words.png", "line\nbreak.png", "Äpfel.png", "画像.png", "-rf.png", "a;b'c.png")
    write_split(folder, {"cat": range(len(odd)), "dog": range(len(odd))})
    for number, name in enumerate(odd):
        (folder / "dog" / f"{number}.png").rename(folder / "dog" / name)
    dataset = load_few_shot(config, None, seed=0)
    assert len(dataset.train.labels) + len(dataset.held_out.labels) == 2 * len(odd)


def test_images_of_many_formats_and_sizes_load_together(config, folder):
    for number, (mode, name) in enumerate(
        [("RGB", "a.jpg"), ("CMYK", "b.jpg"), ("P", "c.gif"), ("LA", "d.png"), ("I;16", "e.png"), ("L", "f.webp")]
    ):
        for label in ("cat", "dog"):
            (folder / label).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (10 + number, 30 - number)).save(folder / label / name)
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.train.images.shape == (10, 8, 8, 3)


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("TRAIN", "test")])
def test_split_folders_may_be_capitalized(folder, train, test):
    write_split(folder / train, {"cat": range(3), "dog": range(3)})
    write_split(folder / test, {"cat": [7]})
    contents = scan(folder)
    assert (contents.class_names, len(contents.train), len(contents.test)) == (("cat", "dog"), 6, 1)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_validation_images_are_evaluated_on_only_if_that_is_requested(folder, name):
    write_split(folder / "train", {"cat": range(3), "dog": range(3)})
    write_split(folder / name, {"cat": [7]})
    with pytest.warns(
        IgnoredFilesWarning, match=f"{name} is used only with .*; this run evaluates on images of train "
    ):
        assert scan(folder).test is None
    assert [file.path for file in scan(folder, "validation").validation] == [folder / name / "cat" / "0.png"]
    write_split(folder / "test", {"dog": [8]})
    with pytest.warns(IgnoredFilesWarning, match=f"{name} is used only with .*; this run evaluates on test"):
        (only,) = scan(folder).test
    assert only.path == folder / "test" / "dog" / "0.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredFilesWarning)
        scan(folder, "validation")


def test_a_folder_of_validation_images_replaces_those_left_over_from_training(config, folder):
    write_split(folder / "train", {"cat": [10, 11, 12], "dog": [40, 41, 42]})
    write_split(folder / "val", {"cat": [20, 21], "dog": [50]})
    write_split(folder / "test", {"cat": [30], "dog": [60]})
    config.evaluate_on = "validation"
    dataset = load_few_shot(config, 2, seed=0)
    assert dataset.held_out.images[:, 0, 0, 0].tolist() == [20, 21, 50] and dataset.own_validation
    assert len(dataset.train.labels) == 4 and len(dataset.identity.unused.images) == 2 + 2
    shutil.rmtree(folder / "test")
    assert greys(load_few_shot(config, None, seed=0).held_out) == [20, 21, 50]
    assert len(load_few_shot(config, None, seed=0).train.labels) == 6


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_without_a_test_folder_the_held_out_images_do_not_depend_on_validation_images(config, folder):
    write_split(folder, {"cat": range(10, 20), "dog": range(40, 50)})
    alone = load_few_shot(config, 3, seed=0)
    write_split(folder / "train", {"cat": range(10, 20), "dog": range(40, 50)})
    write_split(folder / "val", {"cat": [20, 21], "dog": [50]})
    for name in ("cat", "dog"):
        shutil.rmtree(folder / name)
    dataset = load_few_shot(config, 3, seed=0)
    assert dataset.divided and dataset.own_validation
    assert (greys(dataset.train), greys(dataset.held_out)) == (greys(alone.train), greys(alone.held_out))
    assert len(dataset.identity.unused.images) == len(alone.identity.unused.images) + 3
    folds = load_few_shot(config, None, seed=0, folds=2)
    assert len(folds.train.labels) == 20 and not len(folds.held_out.labels)
    write_split(folder / "train", {"owl": [90]})
    with pytest.raises(
        InputError, match=r"class 'owl' has a single image, .*; without test images each class needs two"
    ):
        load_few_shot(config, None, seed=0)


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_a_class_may_have_the_name_of_a_split(folder, name):
    write_split(folder, {"bus": range(3), name: range(3)})
    with pytest.warns(IgnoredFilesWarning, match=f"used as a class called {name}, not as a split"):
        assert scan(folder).class_names == ("bus", name)


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("train", "tests"), ("TRAIN", "TEST")])
def test_usual_names_of_splits_are_accepted(folder, train, test):
    write_split(folder / train, {"cat": range(3), "dog": range(3)})
    write_split(folder / test, {"cat": [7], "dog": [8]})
    contents = scan(folder)
    assert contents.class_names == ("cat", "dog") and len(contents.train) == 6
    assert [file.path.parent.parent.name for file in contents.test] == [test, test]


def test_folders_that_contain_the_same_folders_are_said_to_look_like_splits(folder):
    for split in ("first", "second"):
        write_split(folder / split, {"cat": range(3), "dog": range(3)})
    with pytest.raises(
        InputError, match=r"all folders in .* \(first, second\) .*\(cat, dog\), so they look like splits"
    ):
        scan(folder)
    write_split(folder / "second", {"owl": range(3)})
    with pytest.raises(InputError, match="is a folder within a class folder"):
        scan(folder)


def test_two_classes_may_have_the_names_of_the_same_split(folder):
    write_split(folder, {"test": range(3), "tests": range(3)})
    with pytest.warns(IgnoredFilesWarning, match="used as a class called tests?, not as a split"):
        assert scan(folder).class_names == ("test", "tests")


def test_two_folders_for_the_same_split_are_refused(folder):
    write_split(folder / "train", {"cat": range(3)})
    write_split(folder / "Train", {"cat": range(3)})
    with pytest.raises(InputError, match="has both Train and train"):
        scan(folder)


def test_unicode_forms_of_the_same_name_are_equal(folder, tmp_path):
    def bear(form):
        return unicodedata.normalize(form, "Bär")

    write_split(folder / "train", {bear("NFC"): range(3), "Baz": range(3)})
    write_split(folder / "test", {bear("NFD"): [7]})
    contents = scan(folder)
    assert contents.class_names == ("Baz", bear("NFC"))
    assert [file.label for file in contents.test] == [1]
    folder.rename(tmp_path / "moved")
    (tmp_path / "moved" / "train" / bear("NFC")).rename(tmp_path / "moved" / "train" / bear("NFD"))
    assert scan(tmp_path / "moved").fingerprint == contents.fingerprint
    write_split(tmp_path / "moved" / "train", {bear("NFC"): range(3)})
    with pytest.raises(InputError, match="two folders called 'Bär'"):
        scan(tmp_path / "moved")


def test_linked_class_folders_and_images_are_used_like_others(config, folder, tmp_path):
    write_split(tmp_path / "elsewhere", {"dog": range(3)})
    write_image(tmp_path / "elsewhere" / "one.png", 9)
    write_split(folder, {"cat": range(2)})
    (folder / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (folder / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredFilesWarning)
        dataset = load_few_shot(config, None, seed=0)
    assert len(dataset.train.labels) + len(dataset.held_out.labels) == 6
