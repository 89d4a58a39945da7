import shutil

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.data import findings_text, load_few_shot
from chimeramix_jax.data.findings import findings_of
from tests.data.own_images import write_images


@pytest.fixture
def config(dataset_config, tmp_path):
    """Settings for a folder with copies of all kinds, and a flat, a small and a long image."""
    folder = tmp_path / "photos"
    for seed, (split, name, count) in enumerate(
        [("train", "cat", 4), ("train", "dog", 5), ("test", "cat", 2), ("test", "dog", 2), ("val", "dog", 1)]
    ):
        write_images(folder / split / name, count, seed, size=(60, 48))
    shutil.copy(folder / "train/cat/0.png", folder / "train/cat/same.png")
    shutil.copy(folder / "train/cat/1.png", folder / "train/dog/relabelled.png")
    shutil.copy(folder / "train/dog/0.png", folder / "test/dog/leaked.png")
    Image.open(folder / "train/dog/1.png").convert("RGB").save(folder / "test/dog/edited.jpg", quality=70)
    Image.new("RGB", (60, 20), "white").save(folder / "test/cat/flat.png")
    dataset_config.update({"name": "image_folder", "directory": str(folder), "image_side": 24})
    return dataset_config


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_everything_about_a_folder_is_found(config):
    found = findings_of(load_few_shot(config, None, seed=0), "test", network_side=24).to_dict()
    assert found["classes"] == [
        {"name": "cat", "train": 5, "held_out": 3, "unused": 0},
        {"name": "dog", "train": 6, "held_out": 4, "unused": 1},
    ]
    assert found["imbalance"]["train"] == {
        "smallest": {"class": "cat", "images": 5},
        "largest": {"class": "dog", "images": 6},
    }
    assert found["sides"] == {"width": [60, 60, 60], "height": [20, 48, 48]}
    assert (found["enlarged"], found["elongated"], found["flat"]) == (1, 1, ["test/cat/flat.png"])
    groups = {
        tuple(sorted(copy["file"] for copy in group["files"])): (group["between_classes"], group["across_the_split"])
        for group in found["exact_duplicates"]
    }
    assert groups == {
        ("train/cat/0.png", "train/cat/same.png"): (False, False),
        ("train/cat/1.png", "train/dog/relabelled.png"): (True, False),
        ("test/dog/leaked.png", "train/dog/0.png"): (False, True),
    }
    (near,) = found["near_duplicates"]
    assert {copy["file"] for copy in near["files"]} == {"train/dog/1.png", "test/dog/edited.jpg"}
    assert near["across_the_split"] and not near["between_classes"]
    text = findings_text.full_text(found)
    assert "  train/dog/1.png ~ test/dog/edited.jpg" in text and "train/dog/0.png = test/dog/leaked.png" in text
    assert "5 (cat) to 6 (dog)" in text
    assert "exact duplicates: 3 groups of images; 1 in both training and test images, 1 in several classes" in text


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_images_that_a_run_does_not_use_are_no_copies_across_the_split(config):
    config.evaluate_on = "validation"
    found = findings_of(load_few_shot(config, None, seed=0), "validation", network_side=24).to_dict()
    assert found["held_out_from"] == "validation" and found["images"] == {"train": 11, "held_out": 1, "unused": 7}
    assert len(found["exact_duplicates"]) == 3
    assert not any(group["across_the_split"] for group in found["exact_duplicates"] + found["near_duplicates"])


@pytest.mark.filterwarnings("ignore:dataset.directory")
@pytest.mark.parametrize("with_test_images", [False, True])
def test_near_duplicates_are_in_the_folds_that_the_runs_of_folds_leave_out(config, tmp_path, with_test_images):
    if not with_test_images:
        for part in ("test", "val"):
            shutil.rmtree(tmp_path / "photos" / part)
    (tmp_path / "photos" / "train" / "dog" / "relabelled.png").unlink()
    for number in range(5):
        photo = Image.open(tmp_path / "photos" / "train" / "dog" / f"{number}.png").convert("RGB")
        photo.save(tmp_path / "photos" / "train" / "dog" / f"{number}.jpg", quality=70)
    dataset = load_few_shot(config, None, seed=3, folds=2)
    found = findings_of(dataset, "test", network_side=24).to_dict()
    left_out = {
        name: fold for fold in (1, 2) for name in load_few_shot(config, None, seed=3, folds=2, fold=fold).held_out.names
    }
    assert left_out.keys() == set(dataset.train.names) and found["folds"] == 2
    assert len(found["near_duplicates"]) == 5
    for group in found["near_duplicates"]:
        folds = {copy["file"]: copy["fold"] for copy in group["files"] if copy["split"] == "train"}
        assert folds == {file: left_out[file] for file in folds}
        assert group["across_folds"] == (len(set(folds.values())) > 1)
    spanning = sum(group["across_folds"] for group in found["near_duplicates"])
    assert 0 < spanning < 5 and not any(group["across_folds"] for group in found["exact_duplicates"])
    text = findings_text.full_text(found)
    assert f"{spanning} in several folds" in text and ("both training and test" in text) == with_test_images


def test_folds_that_the_images_do_not_allow_are_left_to_the_runs_of_the_folds(config, tmp_path):
    shutil.rmtree(tmp_path / "photos" / "val")
    found = findings_of(load_few_shot(config, None, seed=0, folds=50), "test", network_side=24).to_dict()
    assert found["folds"] == 0 and "folds" not in findings_text.full_text(found)


@pytest.fixture
def photos_of_shapes(dataset_config, tmp_path):
    """Returns a function that makes findings about photos of these sizes, each in two classes and both splits."""

    def findings(*sizes, fit="crop"):
        folder = tmp_path / "-".join(map(str, sizes))
        for place, size in enumerate(sizes):
            for split in ("train", "test"):
                for name in ("cat", "dog"):
                    target = folder / split / name / f"{place}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shade = np.random.default_rng([place, len(split), len(name), ord(name[0])]).integers(
                        0, 255, (4, 4, 3)
                    )
                    Image.fromarray(shade.astype(np.uint8)).resize(size).save(target)
        dataset_config.update({"name": "image_folder", "directory": str(folder), "image_side": 24, "fit": fit})
        return findings_of(load_few_shot(dataset_config, None, seed=0), "test", network_side=24).to_dict()

    return findings


def test_a_sentence_recommends_to_pad_if_many_photos_lose_much_to_the_crop(photos_of_shapes):
    found = photos_of_shapes((60, 41), (41, 60), (60, 43), (50, 50))  # 42 of 60 would be 30 %
    assert found["cut"] == 8 and found["fit"] == "crop"
    (sentence,) = [line for line in findings_text.lines(found, 0) if "dataset.fit" in line]
    assert sentence == (
        "8 of 16 images lose more than 30 % of their area to the central crop; --config.dataset.fit=pad shows the "
        "network the whole photos"
    )
    assert sentence in findings_text.full_text(found) and sentence in findings_text.summary(found)


def test_there_is_no_such_sentence_if_few_photos_do_or_they_are_shown_whole(photos_of_shapes):
    assert "dataset.fit" not in findings_text.full_text(photos_of_shapes((60, 40), (60, 43), (60, 43), (60, 43)))
    for fit in ("pad", "stretch"):
        found = photos_of_shapes((60, 40), (90, 30), fit=fit)
        assert found["cut"] == 8 and "fit=pad" not in findings_text.full_text(found)


def test_what_becomes_of_long_photos_depends_on_the_fit(photos_of_shapes):
    expected = {
        "crop": "is cut off",
        "pad": "what the network sees is grey",
        "stretch": "is squeezed to half its length",
    }
    for fit, words in expected.items():
        found = photos_of_shapes((90, 30), (20, 20), fit=fit)
        assert "4 images are twice as long as wide or more" in findings_text.full_text(found)
        assert words in findings_text.full_text(found)
        assert found["enlarged"] == 4  # the small ones; 30 pixels are more than the network's 24


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_images_that_are_stored_at_a_smaller_side_than_networks_see_are_said_to_be_enlarged(config):
    config.image_side = 16
    dataset = load_few_shot(config, None, seed=0, folds=2)
    found = findings_of(dataset, "test", network_side=64).to_dict()
    assert (found["network_side"], found["stored_side"], found["enlarged"]) == (64, 16, 0)
    assert "the network sees 64x64 pixels, enlarged from 16x16\n" in findings_text.full_text(found)
    assert findings_of(dataset, "test", network_side=24).to_dict()["enlarged"] == 0  # the flat one has 20 pixels
    del found["stored_side"]  # of an earlier version
    assert "the network sees 64x64 pixels\n" in findings_text.full_text(found)


def test_findings_of_earlier_versions_are_shown_as_of_cropped_photos(photos_of_shapes):
    found = photos_of_shapes((90, 30), (20, 20))
    del found["fit"], found["cut"]
    text = findings_text.full_text(found)
    assert "half or more of each is cut off" in text and "dataset.fit" not in text


def test_a_published_data_set_has_exact_findings_only(dataset_config, data_dir):
    dataset_config.update({"name": "digits", "data_dir": str(data_dir)})
    found = findings_of(load_few_shot(dataset_config, 2, seed=0), "test", network_side=8).to_dict()
    assert found["images"] == {"train": 20, "held_out": 697, "unused": 0} and found["near_duplicates"] is None
    assert found["sides"] == {"width": [8, 8, 8], "height": [8, 8, 8]}
    assert np.sum([row["held_out"] for row in found["classes"]]) == 697
    assert "near duplicates" not in findings_text.full_text(found)
