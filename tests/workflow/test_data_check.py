"""Looking at the data alone, and before training, through the real command line."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import chimeramix_jax
from chimeramix_jax.auto.candidates import data_and_folds
from chimeramix_jax.command_line import program
from chimeramix_jax.config import from_json, load
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.time_estimate import estimated_seconds
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.workflow.data_check import checked
from tests.data.own_images import write_images


@pytest.fixture
def photos(tmp_path):
    """Photos of two classes, a test photo of which is also a training photo."""
    for seed, (split, name, count) in enumerate(
        [("train", "cat", 3), ("train", "dog", 3), ("test", "cat", 2), ("test", "dog", 1)]
    ):
        write_images(tmp_path / "photos" / split / name, count, seed)
    shutil.copy(tmp_path / "photos/train/dog/0.png", tmp_path / "photos/test/dog/copy.png")
    return tmp_path / "photos"


@pytest.fixture
def config(photos, data_dir):
    config = load("image_folder")
    config.update_from_flattened_dict(
        {"dataset.directory": str(photos), "dataset.data_dir": str(data_dir), "classifier.image_side": 8}
    )
    return config


def test_check_prints_the_findings_names_every_problem_and_trains_nothing(run_here, photos, tmp_path):
    (photos / "train" / "cat" / "broken.jpg").write_bytes(b"x")
    code, output, errors = run_here(
        "--stage=check",
        "--config=image_folder",
        f"--config.dataset.directory={photos}",
        f"--workdir={tmp_path / 'run'}",
        **{"dataset.image_side": 8, "max_labels_per_class": None},
    )
    assert code == 2, errors
    assert "cat           3     2" in output and "dog           3     2" in output
    assert "train/dog/0.png = test/dog/copy.png" in output and str(photos / "train/cat/broken.jpg") in output
    unreadable, copies = errors.splitlines()
    assert "broken.jpg is not an image that Pillow can read" in unreadable
    assert "1 test image is a copy of a training image (train/dog/0.png = test/dog/copy.png)" in copies
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["check.json", "images.png"]
    stored = json.loads((tmp_path / "run" / "check.json").read_text())
    assert stored["format"] == 1 and len(stored["exact_duplicates"]) == 1
    assert stored["unreadable"] == [str(photos / "train/cat/broken.jpg")]


def damage_a_class_with_heic_photos(photos):
    shutil.rmtree(photos / "test")
    for path in (photos / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".heic")).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    return [f"train/dog/{number}.heic" for number in range(3)], "no training image of class 'dog' can be read"


def damage_everything(photos):
    shutil.rmtree(photos / "test")
    damaged = sorted(photos.rglob("*.png"))
    for path in damaged:
        path.write_bytes(b"x")
    return [str(path.relative_to(photos)) for path in damaged], "no training image of class 'cat' can be read"


def damage_one_of_two(photos):
    shutil.rmtree(photos / "test")
    (photos / "train" / "dog" / "2.png").unlink()
    (photos / "train" / "dog" / "1.png").write_bytes(b"x")
    return ["train/dog/1.png"], "class 'dog' cannot be divided: it has 1 different image "


@pytest.mark.parametrize("damage", [damage_a_class_with_heic_photos, damage_everything, damage_one_of_two])
def test_unreadable_files_are_named_even_if_the_others_are_not_enough(photos, config, tmp_path, damage):
    files, reason = damage(photos)
    with pytest.raises(InputError) as check:
        chimeramix_jax.check_data(config, tmp_path / "run")
    message = str(check.value)
    assert "\n" not in message and reason in message
    assert all(str(photos / file) in message for file in files[:5]) and ("and 1 more" in message) == (len(files) > 5)
    with pytest.raises(InputError) as training:
        chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert message.startswith(str(training.value)) and not (tmp_path / "run").exists()


def test_a_run_refuses_copies_across_the_split_unless_they_are_only_to_be_reported(config, tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises(InputError, match=r"dataset.duplicates: 1 test image is a copy .*duplicates=report"):
        chimeramix_jax.train_and_evaluate(config, workdir)
    assert not workdir.exists()
    config.dataset.duplicates = "report"
    with prepared(Request(config, Workdir(workdir))) as run:
        assert len(run.dataset.held_out.labels) == 4


def test_a_run_in_the_folder_of_photos_is_refused_in_one_line_and_leaves_nothing(photos, data_dir, monkeypatch, capsys):
    monkeypatch.chdir(photos / "train")
    settings = ["--config.dataset.directory=.", f"--config.dataset.data_dir={data_dir}"]
    code = program.main([f"--config={ROOT / 'configs' / 'image_folder.py'}", *settings])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    assert "--workdir=runs/image_folder" in errors and f"lies in the folder of photos {photos / 'train'}" in errors
    assert sorted(path.name for path in (photos / "train").iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize("place", [".", "run", "cat/run"])
def test_every_kind_of_run_is_refused_in_the_folder_of_photos(photos, config, place):
    config.dataset.directory = str(photos / "train")
    workdir, before = photos / "train" / place, sorted(photos.rglob("*"))
    several, choice = load("image_folder"), load("image_folder:auto")
    for other in (several, choice):
        other.dataset = config.dataset
    several.seeds, choice.minutes = "0,1", 10.0
    for attempt in (
        lambda: chimeramix_jax.check_data(config, workdir),
        lambda: chimeramix_jax.train_and_evaluate(config, workdir),
        lambda: chimeramix_jax.train_and_evaluate_seeds(several, workdir),
        lambda: chimeramix_jax.choose_and_train(choice, workdir),
    ):
        with pytest.raises(InputError, match=r"^--workdir=\S+: lies in the folder of photos") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert sorted(photos.rglob("*")) == before


@pytest.mark.filterwarnings("ignore::chimeramix_jax.data.image_paths.IgnoredFilesWarning")  # about the run
def test_a_run_may_lie_beside_training_and_test_photos(photos, config):
    config.dataset.duplicates = "report"
    for _ in range(2):
        assert chimeramix_jax.check_data(config, photos / "runs" / "first")["images"]["train"] == 6


def test_the_check_of_a_choice_has_the_folds_of_the_choice(config, tmp_path):
    choice = load("image_folder:auto")
    choice.dataset, choice.dataset.duplicates = config.dataset, "report"
    for number, (changes, folds) in enumerate([({}, 3), ({"folds": 2}, 2), ({"folds": 0, "recipes": "baseline"}, 0)]):
        choice.update(changes)
        findings = chimeramix_jax.check_data(choice, tmp_path / str(number))
        assert findings["folds"] == folds == data_and_folds(choice)[0].folds  # a class has three photos


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        ("baseline", {"folds": 5}, "folds: 5, but class 'cat' has only 3 different training images"),
        ("chimeramix_grid", {"folds": 3, "fold_repeats": 2, "generator.images": 3}, "class 'cat' without fold 1 is 2"),
        ("chimeramix_grid", {"generator.images": 4}, "the number of training images of class 'cat' is 3"),
        ("auto", {"folds": 4, "minutes": 1.0}, "folds: 4, but class 'cat' has only 3 different training images"),
    ],
)
def test_the_check_says_what_a_run_refuses_for_too_few_photos(config, tmp_path, experiment, changes, message):
    refused = load(f"image_folder:{experiment}")
    refused.dataset, refused.dataset.duplicates = config.dataset, "report"
    refused.update_from_flattened_dict(changes)
    (problem,) = checked(refused, tmp_path / "check").problems
    assert message in str(problem)
    train = chimeramix_jax.choose_and_train if experiment == "auto" else chimeramix_jax.train_and_evaluate
    with pytest.raises(InputError) as caught:
        train(refused, tmp_path / "run")
    assert str(caught.value) == str(problem)


def test_the_check_of_a_choice_says_that_a_class_with_one_different_photo_has_no_folds(photos, config, tmp_path):
    for number in (1, 2):
        shutil.copy(photos / "train/cat/0.png", photos / f"train/cat/{number}.png")
    choice = load("image_folder:auto")
    choice.dataset, choice.dataset.duplicates = config.dataset, "report"
    (problem,) = checked(choice, tmp_path / "check").problems
    assert "class 'cat' has only 1 different training image (" in str(problem)
    with pytest.raises(InputError, match="a single different training image"):
        data_and_folds(choice)


def test_a_new_run_whose_photos_would_be_stored_too_small_is_refused_with_what_to_set(config, tmp_path, capsys):
    config.dataset.duplicates, config.classifier.image_side = "report", 64
    checks = checked(config, tmp_path / "check")
    (problem,) = checks.problems
    assert "set --config.dataset.image_side=64, too" in str(problem)
    assert "the network sees 64x64 pixels, enlarged from 32x32" in checks.text()
    choice = load("image_folder:auto")
    choice.dataset, choice.classifier.image_side, choice.minutes = config.dataset, 64, 1.0
    for attempt in (chimeramix_jax.train_and_evaluate, chimeramix_jax.choose_and_train):
        of_attempt = config if attempt is chimeramix_jax.train_and_evaluate else choice
        with pytest.raises(InputError, match=r"^classifier.image_side: 64, but .*--config.dataset.image_side=64, too"):
            attempt(of_attempt, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    run = Workdir(tmp_path / "existing")
    run.create()
    run.claim(config)
    with prepared(Request(config, run)) as existing:
        assert existing.config.classifier.image_side == 64
    assert not checked(config, run.path).problems
    assert Workdir(run.update / "run").is_of_existing_run()  # the new run of an update has the old one's settings


def test_a_published_data_set_is_not_refused_for_copies(data_dir, tmp_path, monkeypatch):
    config = load("digits")
    config.dataset.data_dir = str(data_dir)
    with prepared(Request(config, Workdir(tmp_path / "run"))) as run:
        dataset = run.dataset
        dataset.held_out.images[0] = dataset.train.images[0]
    monkeypatch.setattr("chimeramix_jax.runs.run.load_few_shot", lambda *_: dataset)
    with prepared(Request(config, Workdir(tmp_path / "run"))):
        pass


def test_the_contact_sheet_shows_photos_as_they_are_fitted_into_squares(photos, config, tmp_path):
    for path in photos.rglob("*.png"):
        with Image.open(path) as photo:
            photo.resize((48, 16)).save(path)
    shown = {}
    for fit in ("crop", "pad"):
        config.dataset.fit = fit
        findings = chimeramix_jax.check_data(config, tmp_path / fit)
        assert (findings["fit"], findings["cut"], findings["elongated"]) == (fit, 10, 10)
        with Image.open(tmp_path / fit / "images.png") as sheet:
            shown[fit] = np.mean(np.all(np.asarray(sheet.convert("RGB")) == 128, axis=2))
    assert shown["crop"] < 0.001 and shown["pad"] > 0.1


def test_the_contact_sheet_shows_the_classes_as_the_networks_see_them(config, tmp_path):
    findings = chimeramix_jax.check_data(config, tmp_path / "run")
    assert findings["images"] == {"train": 6, "held_out": 4, "unused": 0} and findings["network_side"] == 8
    with Image.open(tmp_path / "run" / "images.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    tiles = [tile for row in (0, 1) for tile in (pixels[16 + row * 102 : 112 + row * 102],)]
    assert all(len(np.unique(tile.reshape(-1, 3), axis=0)) > 60 for tile in tiles)  # two rows of pictures


def test_a_check_in_the_directory_of_another_run_is_refused(config, trained_run):
    with pytest.raises(InputError, match="holds a run with other settings"):
        chimeramix_jax.check_data(config, trained_run)
    assert (trained_run / "check.json").exists() and (trained_run / "images.png").exists()  # the run's own


def test_a_check_of_a_run_whose_photos_have_changed_says_so_and_keeps_the_runs_findings(photos, config, tmp_path):
    run = Workdir(tmp_path / "run")
    first = checked(config, run.path)
    run.claim(config)
    run.claim_data(load_dataset(config).identity)
    before = run.check_findings.read_bytes()
    write_images(photos / "train" / "cat", 4, 9)
    second = checked(config, run.path)
    said = [str(problem) for problem in second.problems[len(first.problems) :]]
    assert len(said) == 1 and "holds a run on other data" in said[0]
    assert second.findings["images"]["train"] == first.findings["images"]["train"] + 1
    assert run.check_findings.read_bytes() == before and str(run.check_findings) in first.text()
    assert str(run.check_findings) not in second.text()


def test_a_run_prints_what_its_data_are_like_and_reports_it(trained_run):
    errors = (trained_run.parent / "errors").read_text()
    assert "data: 10 classes, 20 training and 697 test images" in errors
    assert "data: exact duplicates: " in errors and "near duplicates" not in errors
    assert "<h2>Data</h2>" in (trained_run / "report.html").read_text()


def test_the_time_is_that_of_a_comparable_run_or_is_left_out(trained_run, tmp_path):
    results = json.loads((trained_run / "results.json").read_text())
    config, beside = from_json((trained_run / "config.json").read_text()), Workdir(trained_run.parent / "next")
    config.seed = 7
    seconds = sum(results["seconds"].values())
    assert estimated_seconds(beside, config, 20, 697) == (pytest.approx(seconds), 1)
    assert estimated_seconds(beside, config, 40, 697) is None
    for together, known in ((1, True), (4, False)):
        run = Workdir(tmp_path / f"{together}" / "run")
        run.create()
        run.results.write_text(json.dumps(results | {"seeds_together": {"classifier": together}}))
        assert (estimated_seconds(run, config, 20, 697) is not None) == known
    config.classifier.epochs = 6
    assert estimated_seconds(beside, config, 20, 697) is None
