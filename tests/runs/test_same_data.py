"""Runs whose images have changed, and runs whose images have only moved."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from folders import contents
from photos import write_photo
from PIL import Image

import chimeramix_jax
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.identity import Split
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.same_data import refuse_other_data
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints

STAGES = ("all", "generator", "classifier", "evaluate", "report")


def make_photos(root):
    """Makes ten classes, as many as the digits have, so that no other program must be compiled."""
    for label in range(10):
        for number in range(3):
            write_photo(root / "train" / f"class {label}" / f"{number}.png", 100 * label + number)
        write_photo(root / "test" / f"class {label}" / "0.png", 100 * label + 50)
    return root


def make_near_duplicates(root):
    """Makes ten classes of four photos, each of them twice: as PNG and as JPEG."""
    for label in range(10):
        for number in range(4):
            path = root / f"class {label}" / f"{number}.png"
            write_photo(path, 100 * label + number)
            with Image.open(path) as image:
                image.resize((64, 64)).save(path)
                image.resize((64, 64)).save(path.with_suffix(".jpg"), quality=80)
    return root


@pytest.fixture(scope="module")
def settings(photo_settings):
    def make(photos, experiment="chimeramix_grid", **changes):
        return photo_settings(photos, experiment, **changes)

    return make


@pytest.fixture(scope="module")
def original(tmp_path_factory, settings):
    """A folder of photos and a finished run on it, for tests to copy."""
    root = tmp_path_factory.mktemp("original")
    make_photos(root / "photos")
    chimeramix_jax.train_and_evaluate(settings(root / "photos"), root / "run")
    return root


@pytest.fixture
def copy(original, tmp_path):
    """A copy of both, for a test to change."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def add_photos(photos):
    for number in range(3):
        write_photo(photos / "train" / "class 3" / f"new {number}.png", 9000 + number)


def add_a_class(photos):
    for split, number in (("train", 1), ("train", 2), ("test", 3)):
        write_photo(photos / split / "kiwi" / f"{number}.png", 8000 + number)


def rename_a_class(photos):
    for split in ("train", "test"):
        (photos / split / "class 3").rename(photos / split / "class 3b")


def delete_photos(photos):
    for folder in (photos / "train").iterdir():
        (folder / "0.png").unlink()


def swap_two_classes(photos):
    for split in ("train", "test"):
        (photos / split / "class 1").rename(photos / split / "for now")
        (photos / split / "class 2").rename(photos / split / "class 1")
        (photos / split / "for now").rename(photos / split / "class 2")


def change_a_test_image(photos):
    write_photo(photos / "test" / "class 4" / "0.png", 7000)


CHANGES = {
    add_photos: "new image",
    add_a_class: "class 'kiwi' is new",
    rename_a_class: "class 'class 3' is now called 'class 3b'",
    delete_photos: "missing",
    swap_two_classes: "moved to another class",
    change_a_test_image: "1 new image; 1 image missing",
}


def assert_refused(action, workdir, expected):
    """Requires that an action is refused in one line, without touching a file; returns the message."""
    before = contents(workdir)
    with pytest.raises(InputError) as caught:
        action()
    message = str(caught.value)
    assert expected in message and "--retrain" in message and "--workdir" in message and "\n" not in message
    assert contents(workdir) == before
    return message


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_run_whose_images_have_changed_is_refused_at_every_stage(copy, settings, change):
    change(copy / "photos")
    config, run = settings(copy / "photos"), copy / "run"
    for stage in STAGES if change is add_photos else ("all",):  # the comparison is the same for all of them
        action = partial(chimeramix_jax.train_and_evaluate, config, run, stage=stage)
        assert "update it with --stage=update" in assert_refused(action, run, CHANGES[change])
    if change is add_photos:
        assert_refused(partial(chimeramix_jax.generate, run, 10, config=config), run, CHANGES[change])


def test_an_unfinished_run_whose_images_have_changed_is_refused(copy, settings):
    add_photos(copy / "photos")
    for part in ("classifier", "results.json", "report.html"):
        path = copy / "run" / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    action = partial(chimeramix_jax.train_and_evaluate, settings(copy / "photos"), copy / "run")
    assert_refused(action, copy / "run", "new image")


def spelled_with_a_slash(photos):
    return f"{photos}/"


def spelled_with_a_detour(photos):
    return f"{photos}/../photos"


def linked(photos):
    photos.with_name("link").symlink_to(photos)
    return photos.with_name("link")


def moved(photos):
    return photos.rename(photos.with_name("pictures"))


def with_later_dates(photos):
    for path in photos.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    return photos


@pytest.mark.parametrize("place", [spelled_with_a_slash, spelled_with_a_detour, linked, moved, with_later_dates])
def test_the_same_images_in_another_place_are_the_same_data(copy, settings, place):
    stored = json.loads((copy / "run" / "results.json").read_text())
    config = settings(place(copy / "photos"))
    identity = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).identity
    assert identity.digests() == stored["data_sha256"]


def test_a_run_is_evaluated_where_its_images_have_moved_to(copy, settings):
    stored = json.loads((copy / "run" / "results.json").read_text())
    config = settings(moved(copy / "photos"))
    again = chimeramix_jax.train_and_evaluate(config, copy / "run", stage="evaluate")
    assert again["data_sha256"] == stored["data_sha256"] and again["test"]["top1"] == stored["test"]["top1"]


def test_retraining_after_a_change_moves_the_old_files_aside(copy, settings):
    add_photos(copy / "photos")
    config, run = settings(copy / "photos"), copy / "run"
    old = json.loads((run / "results.json").read_text())
    (run / "update.json").write_text("{}")  # of an update before
    new = chimeramix_jax.train_and_evaluate(config, run, retrain=True)
    assert json.loads((run / "results.replaced-1.json").read_text()) == old
    assert new["data_sha256"]["train"] != old["data_sha256"]["train"]
    for part in ("generator", "classifier"):
        assert checkpoints.newest(run / f"{part}.replaced-1")["data"] == old["data_sha256"]
        assert checkpoints.newest(run / part)["data"] == new["data_sha256"]
    assert (run / "data.replaced-1.json").exists()
    assert (run / "update.replaced-1.json").exists() and not (run / "update.json").exists()
    chimeramix_jax.train_and_evaluate(config, run, stage="report")


def test_a_classifier_is_not_retrained_with_a_generator_of_other_images(copy, settings):
    add_photos(copy / "photos")
    config, run = settings(copy / "photos"), copy / "run"
    action = partial(chimeramix_jax.train_and_evaluate, config, run, stage="classifier", retrain=True)
    assert "--stage=all --retrain" in assert_refused(action, run, "new image")


def test_a_generator_of_other_images_is_refused_if_named_and_ignored_otherwise(copy, settings):
    add_photos(copy / "photos")
    config = settings(copy / "photos")
    with pytest.raises(InputError, match=f"--generator_workdir={copy / 'run'}.*other data.*new image"):
        chimeramix_jax.train_and_evaluate(config, copy / "new", generator_workdir=copy / "run")
    # Without a name, the generator in the same folder is not used.
    with pytest.raises(InputError, match="holds no finished generator"):
        chimeramix_jax.train_and_evaluate(config, copy / "new", stage="classifier")


@pytest.fixture
def of_earlier_version(copy, monkeypatch):
    """The copy, as if no digest had been stored, as in runs of earlier versions."""
    (copy / "run" / "data.json").unlink()
    newest = checkpoints.newest

    def without_digests(directory):
        about = newest(directory)
        return about and {key: value for key, value in about.items() if key != "data"}

    monkeypatch.setattr(checkpoints, "newest", without_digests)
    return copy


def add_test_images(photos):
    write_photo(photos / "test" / "class 4" / "1.png", 7000)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (add_photos, "other training images are drawn"),
        (add_a_class, "class 'kiwi' is new"),
        (rename_a_class, "class 'class 3b' is new; class 'class 3' is missing"),
        (add_test_images, "11 test images instead of 10"),
    ],
)
def test_a_run_of_an_earlier_version_is_compared_by_its_classes_and_indices(
    of_earlier_version, settings, change, expected
):
    change(of_earlier_version / "photos")
    config, run = settings(of_earlier_version / "photos"), of_earlier_version / "run"
    assert_refused(partial(chimeramix_jax.train_and_evaluate, config, run), run, expected)


def test_a_run_of_an_earlier_version_continues_without_recording_the_current_images(of_earlier_version, settings):
    config, run = settings(of_earlier_version / "photos"), of_earlier_version / "run"
    chimeramix_jax.train_and_evaluate(config, run, stage="report")
    assert not (run / "data.json").exists()


def test_an_unreadable_record_of_the_data_is_named(copy, settings):
    (copy / "run" / "data.json").write_text("{")
    with pytest.raises(InputError, match=r"data\.json: cannot be read"):
        chimeramix_jax.train_and_evaluate(settings(copy / "photos"), copy / "run", stage="report")


def test_a_run_that_separated_near_duplicates_says_so_when_they_are_to_be_kept_together(settings, tmp_path):
    config = settings(make_near_duplicates(tmp_path / "photos"), "baseline")
    workdir = Workdir(tmp_path / "run")
    workdir.claim(config)
    workdir.claim_data(load_dataset(config).identity)
    refuse_other_data(workdir, load_dataset(config), "all")
    config.dataset.keep_together = "near_duplicates"
    with pytest.raises(InputError, match=r"dataset\.keep_together: 'copies' stored, 'near_duplicates' requested"):
        refuse_other_data(workdir, load_dataset(config), "all")


def test_a_run_that_validated_on_images_near_its_training_images_says_so(settings, tmp_path):
    config = settings(make_near_duplicates(tmp_path / "photos"), "baseline")
    config.dataset.update({"keep_together": "near_duplicates", "evaluate_on": "validation"})
    config.max_labels_per_class = 1
    dataset, workdir = load_dataset(config), Workdir(tmp_path / "run")
    assert dataset.left_out == 10
    workdir.claim(config)
    held_out, unused = dataset.identity.held_out, dataset.identity.unused
    moved = Split(held_out.images + unused.images[-10:], held_out.labels + unused.labels[-10:])
    workdir.claim_data(
        replace(dataset.identity, held_out=moved, unused=Split(unused.images[:-10], unused.labels[:-10]))
    )
    with pytest.raises(InputError, match="an earlier version also validated on 10 images of a group with training"):
        refuse_other_data(workdir, dataset, "all")
