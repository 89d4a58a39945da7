"""Which images no division separates, and that held-out images and folds keep to it."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.auto.candidates import units_of_folds
from chimeramix_jax.data import findings_text, load_few_shot
from chimeramix_jax.data.findings import findings_of
from chimeramix_jax.data.kept_together import names_of_units
from chimeramix_jax.data.originals import Original
from chimeramix_jax.errors import InputError
from tests.data.own_images import write_images, write_table

RANDOM = [np.random.default_rng(number).bytes(16).hex() for number in range(40)]  # far from one another


def original(number, label=0, *, like=None, digest=None, group=""):
    """An image that looks like another, or like no other."""
    text = RANDOM[number if like is None else like]
    perceptual_hash = text if like is None else text[:-1] + f"{int(text[-1], 16) ^ 1:x}"
    return Original(f"{number}.png", label, 9, 9, digest or f"digest{number:02}", perceptual_hash, group)


def units(*images, near=True, least=2):
    """The files of each unit with several images."""
    labels = np.array([image.label for image in images])
    found = {}
    for image, name in zip(images, names_of_units(images, labels, near=near, least=least), strict=True):
        found.setdefault(name, []).append(image.file.removesuffix(".png"))
    return sorted(files for files in found.values() if len(files) > 1)


def test_copies_groups_and_near_duplicates_are_joined_and_so_are_chains_of_them():
    several = [original(number) for number in range(8)]
    images = [
        original(10),
        original(11, digest="digest10"),
        original(12, digest="digest10", group="burst"),
        original(13, group="burst"),
        original(14, like=13),
        original(15, group="other"),
        *several,
    ]
    assert units(*images) == [["10", "11", "12", "13", "14"]]
    assert units(*images, near=False) == [["10", "11", "12", "13"]]


def test_names_do_not_depend_on_the_order_and_images_of_their_own_have_their_digest():
    images = [
        original(0),
        original(1, like=0),
        original(2, group="b"),
        original(3, group="b"),
        original(4),
        original(5),
    ]
    labels = np.zeros(6, int)
    names = names_of_units(images, labels, near=True, least=2)
    assert names == ["digest00", "digest00", "group b", "group b", "digest04", "digest05"]
    assert names_of_units(images[::-1], labels, near=True, least=2) == names[::-1]


def test_near_duplicates_are_divided_where_a_class_would_have_too_little_left_but_groups_are_not():
    cats = [original(number, like=0 if number else None) for number in range(4)]
    dogs = [original(number, 1) for number in range(4, 8)]
    assert units(*cats, *dogs) == []
    assert units(*cats, *dogs, original(8)) == [["0", "1", "2", "3"]]
    assert units(*cats, *dogs, original(8), least=3) == []
    grouped = [original(number, group="one") for number in range(4)]
    assert units(*grouped, *dogs) == [["0", "1", "2", "3"]]


def test_photos_of_one_scene_are_not_kept_together():
    alike = [original(number, number % 2, like=0) for number in range(1, 16)]
    others = [original(number, number % 2) for number in range(16, 30)]
    assert units(*alike, *others) == []
    assert len(units(*alike[:9], *others)) == 1


def test_thousands_of_photos_that_look_alike_need_little_memory():
    """5,000 of them have 12 million pairs, which would take 200 MB."""
    images = [Original(f"{number}.png", number % 2, 9, 9, f"{number:04}", RANDOM[0]) for number in range(5_000)]
    labels = np.arange(5_000) % 2
    tracemalloc.start()
    names = names_of_units(images, labels, near=True, least=2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(names)) == 5_000 and most < 150 * 2**20


@pytest.fixture
def config(dataset_config):
    dataset_config.update({"name": "image_folder", "image_side": 8, "keep_together": "near_duplicates"})
    return dataset_config


def sides(dataset):
    """The files to train and those held out."""
    return [{original.file for original in split} for split in (dataset.originals.train, dataset.originals.held_out)]


def test_groups_of_a_table_are_held_out_together_and_are_in_one_fold(config, tmp_path):
    write_images(tmp_path / "photos", 24)
    rows = [(f"photos/{n}.png", ("dog", "cat")[n % 2], f"patient {n // 4}" if n < 20 else "") for n in range(24)]
    table = write_table(tmp_path / "photos.csv", rows, header="path,label,group")
    config.directory = str(table)
    members = [{f"photos/{n}.png" for n in range(4 * patient, 4 * patient + 4)} for patient in range(5)]
    text = findings_text.full_text(findings_of(load_few_shot(config, None, seed=0), "test", network_side=8).to_dict())
    assert "\n5 groups in the column group: the images of each are kept together\n" in text
    assert "take into account that images of a group look alike" in text
    divisions = set()
    for seed in range(10):
        train, held_out = sides(load_few_shot(config, None, seed=seed))
        assert all(member <= train or member <= held_out for member in members)
        divisions.add(frozenset(held_out))
    assert len(divisions) > 3
    folds = [sides(load_few_shot(config, None, seed=0, folds=3, fold=fold + 1))[1] for fold in range(3)]
    assert set.union(*folds) == {row[0] for row in rows} and all(folds)
    assert all(any(member <= fold for fold in folds) for member in members)
    parent = load_few_shot(config, None, seed=0, folds=3)
    files = np.array([original.file for original in parent.originals.train])
    assert [set(files[parent.fold_of_each == fold]) for fold in range(3)] == folds


def test_images_that_are_measured_are_known_by_their_units_in_the_order_of_their_predictions(config, tmp_path):
    write_images(tmp_path / "photos", 24)
    rows = [(f"photos/{n}.png", ("dog", "cat")[n % 2], f"patient {n // 4}" if n < 20 else "") for n in range(24)]
    config.directory = str(write_table(tmp_path / "photos.csv", rows, header="path,label,group"))
    found = units_of_folds(load_few_shot(config, None, seed=0, folds=3))
    for fold, of_fold in enumerate(found):
        held_out = load_few_shot(config, None, seed=0, folds=3, fold=fold + 1)
        originals = held_out.originals.held_out
        assert of_fold == [f"group {image.group}" if image.group else image.digest for image in originals]
        assert of_fold == held_out.units_held_out
    assert len({name for of_fold in found for name in of_fold}) == 9
    assert units_of_folds(load_few_shot(config, None, seed=0)) == []


def test_edited_copies_of_a_photo_are_held_out_together(config, tmp_path):
    for seed, name in enumerate(("cat", "dog")):
        for path in write_images(tmp_path / "photos" / name, 10, seed, size=(48, 48)):
            Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), quality=80)
    config.directory = str(tmp_path / "photos")
    for seed in range(5):
        for held_out in sides(load_few_shot(config, None, seed=seed)):
            assert {file.rpartition(".")[0] + ".png" for file in held_out} <= held_out
    config.keep_together = "copies"
    separated = [
        any(file.replace("png", "jpg") not in held_out for file in held_out)
        for seed in range(5)
        for held_out in sides(load_few_shot(config, None, seed=seed))[1:]
    ]
    assert any(separated)


def test_validation_images_do_not_belong_together_with_the_images_drawn_for_training(config, tmp_path):
    write_images(tmp_path / "photos", 24)
    rows = [(f"photos/{n}.png", ("dog", "cat")[n % 2], f"patient {n // 4}" if n < 20 else "") for n in range(24)]
    config.directory = str(write_table(tmp_path / "photos.csv", rows, header="path,label,group"))
    config.evaluate_on = "validation"
    dataset = load_few_shot(config, 2, seed=0)
    groups = [{image.group for image in part} - {""} for part in (dataset.originals.train, dataset.originals.held_out)]
    assert all(groups) and groups[0].isdisjoint(groups[1])
    of_drawn = [image for image in dataset.originals.unused if image.group in groups[0]]
    assert dataset.left_out == len(of_drawn) > 0
    text = findings_text.full_text(findings_of(dataset, "validation", network_side=8).to_dict())
    assert f"\n{len(of_drawn)} images are left unused: copies or near duplicates of training images" in text
    config.directory = str(write_table(tmp_path / "others.csv", [row[:2] for row in rows], header="path,label"))
    assert load_few_shot(config, 2, seed=0).left_out == 0


def test_near_duplicates_of_training_images_are_no_validation_images(config, tmp_path):
    for seed, name in enumerate(("cat", "dog")):
        for path in write_images(tmp_path / "photos" / name, 8, seed, size=(48, 48)):
            Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), quality=80)
    config.update({"directory": str(tmp_path / "photos"), "evaluate_on": "validation"})
    kept, separated = [], []
    for together, found in (("near_duplicates", kept), ("copies", separated)):
        config.keep_together = together
        for seed in range(3):
            dataset = load_few_shot(config, 2, seed=seed)
            train, held_out = ({file.rpartition(".")[0] for file in files} for files in sides(dataset))
            found.append(len(train & held_out))
    assert kept == [0, 0, 0] and sum(separated)
    config.keep_together = "near_duplicates"
    with pytest.raises(InputError, match=r"the \d+ training images and the \d+ that are copies, near duplicates"):
        load_few_shot(config, 10, seed=0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [("0.png", "a", "train", "x"), ("1.png", "b", "train", ""), ("2.png", "b", "test", "x")],
            r"has group 'x' in two splits, train \(line 2\) and test \(line 4\); the images of a group must be in",
        ),
        (
            [(f"{number}.png", "ab"[number % 2], "train", "ab"[number % 2]) for number in range(6)],
            r"class 'a' cannot be divided: it has 1 different image \(copies and groups count once\)",
        ),
    ],
)
def test_groups_that_cannot_stay_together_are_refused(config, tmp_path, rows, expected):
    write_images(tmp_path, 6)
    config.directory = str(write_table(tmp_path / "photos.csv", rows, header="path,label,split,group"))
    with pytest.raises(InputError, match=expected):
        load_few_shot(config, None, seed=0)


def test_an_empty_cell_is_no_group(config, tmp_path):
    write_images(tmp_path, 8)
    rows = [(f"{number}.png", "ab"[number % 2], "") for number in range(8)]
    config.directory = str(write_table(tmp_path / "photos.csv", rows, header="path,label,group"))
    assert len(load_few_shot(config, None, seed=0).held_out.labels) == 2
