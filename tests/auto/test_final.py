"""A whole choice on the digits with tiny networks."""

import copy
import dataclasses
import json
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import TINY
from folders import contents
from killed import Killed, killed
from photos import write_photo, write_photos
from PIL import Image

import chimeramix_jax
from chimeramix_jax.auto import final, halving, menu, stored_choice, trials
from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.auto.record import Record, RungRecord, Tried
from chimeramix_jax.auto.trials import FoldTrials
from chimeramix_jax.config import config_to_dict, from_json, load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.results import closing_text
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime.stopping import Stopped
from chimeramix_jax.training import checkpoints, epochs, loop
from chimeramix_jax.training.calls import StepCall
from chimeramix_jax.training.pace import Pace
from tests.data.own_images import write_images, write_table
from tests.runs import stored_settings


@pytest.fixture
def settings(data_dir):
    def make(**changes):
        config = load("configs/digits.py:auto")
        few = {"max_labels_per_class": 4, "folds": 2, "dataset.data_dir": str(data_dir)}
        config.update_from_flattened_dict(TINY | few | changes)
        return config

    return make


def write_split_photos(root, per_class=4, **sides):
    """Writes photos to train on and one of each class to test."""
    write_photos(root, "train", per_class, **sides)
    write_photos(root, "test", per_class=1, first=50, **sides)


COST = Cost(compiling=0.0, setup=1.0, generator_epoch=0.0, classifier_epoch=5.0)  # so 5 minutes are about 60 epochs


def decide(run, config):
    """Writes the record of a choice whose recipe has been timed, and costs as much on any machine."""
    workdir = Workdir(run)
    workdir.create()
    Record(config_to_dict(config), costs={"baseline": COST}, winner="baseline").write(workdir)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"folds": 5}, "folds: 5, but class '0' has only 4 different training images"),
        ({"fold_repeats": 2}, "fold_repeats: 2, but to choose a recipe it must be 1"),
        ({"folds": 0, "seeds": "0,1"}, "seeds: '0,1', but to choose a recipe"),
        ({"experiment": "baseline"}, "experiment: 'baseline', but to choose a recipe it must be 'auto'"),
    ],
)
def test_what_a_choice_cannot_use_is_refused_and_leaves_nothing(settings, tmp_path, changes, expected):
    with pytest.raises(InputError) as caught:
        chimeramix_jax.choose_and_train(settings(**changes), tmp_path / "run")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_class_with_a_single_photo_is_refused(settings, tmp_path):
    for split, count in (("train", 1), ("test", 1)):
        for label in range(2):
            for number in range(count + label):
                path = tmp_path / "photos" / split / f"class {label}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 100 * label + 10 * number + len(split)).save(path)
    photos = {"dataset.name": "image_folder", "dataset.directory": str(tmp_path / "photos"), "dataset.image_side": 8}
    config = settings(**photos, folds=0, max_labels_per_class=None)
    with pytest.raises(InputError, match="a class has a single different training image"):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_test_photo_that_is_also_a_training_photo_is_refused_before_anything_is_trained(settings, tmp_path):
    for number, path in enumerate(
        f"{split}/{name}/{n}.png" for split in ("train", "test") for name in "ab" for n in (0, 1)
    ):
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "photos" / path)
    shutil.copy(tmp_path / "photos/train/a/0.png", tmp_path / "photos/test/a/copy.png")
    photos = {"dataset.name": "image_folder", "dataset.directory": str(tmp_path / "photos"), "dataset.image_side": 8}
    config = settings(**photos, max_labels_per_class=None)
    with pytest.raises(InputError, match=r"dataset.duplicates: 1 test image is a copy of a training image"):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_choice_is_not_made_in_the_directory_of_another_run_or_choice(settings, tmp_path):
    with pytest.raises(InputError, match="use choose_and_train"):
        chimeramix_jax.train_and_evaluate(settings(), tmp_path / "run")
    Workdir(tmp_path / "run").claim(settings())
    with pytest.raises(InputError, match="holds a run that was trained without --minutes or a choice"):
        chimeramix_jax.choose_and_train(settings(), tmp_path / "run")
    with pytest.raises(InputError, match="holds a run that is not finished"):
        chimeramix_jax.choose_and_train(settings(), tmp_path / "run", stage="report")
    with pytest.raises(InputError, match="--stage=generator: a chosen recipe is trained as a whole"):
        chimeramix_jax.choose_and_train(settings(), tmp_path / "run", stage="generator")


def test_a_choice_of_a_version_with_fewer_settings_continues(settings, tmp_path):
    stored = config_to_dict(settings())
    del stored["dataset"]["fit"]
    record = stored_choice.own_record(Record(stored), settings(), Workdir(tmp_path))
    assert record.requested == config_to_dict(settings())
    stored["dataset"]["fit"] = "pad"
    with pytest.raises(InputError, match=r"holds a run with other settings \(dataset\.fit: 'pad' stored, 'crop' req"):
        stored_choice.own_record(Record(stored), settings(), Workdir(tmp_path))


def test_a_choice_is_continued_in_the_precision_that_it_was_begun_in(settings, tmp_path):
    requested = config_to_dict(settings())
    with pytest.raises(InputError, match=r"the choice was begun in bfloat16, but .* --config\.precision=bfloat16"):
        stored_choice.own_record(Record(requested, precision="bfloat16"), settings(), Workdir(tmp_path))
    as_resolved = settings(precision="float32")
    continued = stored_choice.own_record(Record(requested, precision="float32"), as_resolved, Workdir(tmp_path))
    assert continued.requested == requested
    assert stored_choice.own_record(None, as_resolved, Workdir(tmp_path)).precision == "float32"


def interrupted(*arguments):
    raise Stopped(signal.SIGTERM)


def test_a_choice_is_not_continued_on_other_photos(photo_settings, tmp_path, monkeypatch):
    write_split_photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos", tmp_path / "others")
    (tmp_path / "others/train/class 0/2.png").unlink()
    of_two = {"recipes": "baseline,baseline_trivialaugment", "folds": 2, "max_labels_per_class": None}
    config, others = (photo_settings(tmp_path / folder, "auto", **of_two) for folder in ("photos", "others"))
    run = tmp_path / "run"
    monkeypatch.setattr(final, "choose", interrupted)

    def assert_only_the_same_photos_continue():
        before = contents(run)
        with pytest.raises(InputError) as refused:
            chimeramix_jax.choose_and_train(others, run)
        assert str(refused.value).startswith(f"--workdir={run}: holds a run on other data (")
        assert str(refused.value).endswith("1 image missing); choose another --workdir")
        assert contents(run) == before
        with pytest.raises(Stopped):
            chimeramix_jax.choose_and_train(config, run)

    with pytest.raises(Stopped):
        chimeramix_jax.choose_and_train(config, run)
    assert_only_the_same_photos_continue()
    (run / "data.json").unlink()  # an earlier version recorded the images of the trials only
    trial = Workdir(run / "auto/rung-1/fold-1-of-2/baseline")
    trial.path.mkdir(parents=True)
    trial.claim_data(load_few_shot(config.dataset, None, config.seed, 2, 1).identity)
    record = Record.read(Workdir(run))
    record.rungs = [RungRecord(1.0, 2, 9.0, {}, [Tried("baseline", 1, "auto/rung-1/fold-1-of-2/baseline", 1, [], [])])]
    record.write(Workdir(run))
    assert_only_the_same_photos_continue()


def test_the_time_of_a_trial_that_was_killed_counts_once(settings, tmp_path, monkeypatch):
    run, place, seconds = tmp_path / "run", f"auto/timing/fold-1-of-2/{menu.MENU[0]}", 1e6
    monkeypatch.setattr(trials, "prepared", killed)

    def used_at_the_next_kill():
        with pytest.raises(Killed):
            chimeramix_jax.choose_and_train(settings(), run)
        stored = json.loads((run / "auto.json").read_text())
        assert stored["trial"]["workdir"] == place
        return stored["used"]

    first = used_at_the_next_kill()
    about = {run / place / "classifier": {"seconds": seconds, "data": {}}}
    monkeypatch.setattr(checkpoints, "newest", about.get)
    second = used_at_the_next_kill()
    assert second >= first + seconds
    assert second <= used_at_the_next_kill() < second + seconds


def test_what_an_interrupted_process_trained_of_a_timing_is_trained_again(settings, tmp_path, monkeypatch):
    run = Workdir(tmp_path / "run")
    monkeypatch.setattr(trials, "prepared", killed)
    for folder, is_kept in ((trials.TIMING, False), (trials.TIMING_AGAIN, False), ("rung-1", True)):
        generator = run.auto / folder / "fold-1-of-2" / "chimeramix_grid" / "generator"
        generator.mkdir(parents=True)
        of_folds = trials.FoldTrials(settings(), run, ("chimeramix_grid",), lambda _: None)
        with pytest.raises(Killed):
            of_folds.run("chimeramix_grid", Schedule(1, 1), folder, 1)
        assert generator.exists() == is_kept


@pytest.mark.parametrize(
    ("recipes", "folder", "fold", "line"),
    [
        (("cutmix",), trials.TIMING, 0, "measuring how long an epoch takes"),
        (("cutmix",), trials.TIMING, 1, "measuring how long an epoch takes"),
        (("cutmix",), "rung-1", 2, "fold 2 of 5"),
        (("cutmix", "mixup"), trials.TIMING, 1, "measuring how long an epoch of cutmix takes"),
        (("cutmix", "mixup"), trials.TIMING_AGAIN, 1, "measuring once more how long an epoch of cutmix takes"),
        (("cutmix", "mixup"), "rung-1", 4, "comparison 1, fold 4: cutmix"),
        (menu.MENU, "rung-2", 1, "comparison 2, fold 1: cutmix"),
    ],
)
def test_progress_names_recipes_only_if_there_is_a_choice(
    settings, tmp_path, monkeypatch, capsys, recipes, folder, fold, line
):
    monkeypatch.setattr(trials, "prepared", killed)
    of_folds = trials.FoldTrials(settings(folds=5), Workdir(tmp_path), recipes, lambda _: None)
    with pytest.raises(Killed):
        of_folds.run("cutmix", Schedule(0, 1), folder, fold)
    assert capsys.readouterr().err == f"{line}\n"


def chosen_by_folds(config, run):
    """Makes a run with folds one whose recipe was chosen by them, and whose images are said to have been mirrored."""
    chimeramix_jax.train_and_evaluate(menu.config_of("baseline", config, Schedule(0, 5)), run)
    config.augment.horizontal_flip, tried = True, []
    for fold in (1, 2):
        place = f"auto/rung-1/fold-{fold}-of-2/baseline"
        (run / place).parent.mkdir(parents=True)
        (run / "folds" / f"fold-{fold}-of-2").rename(run / place)
        tried.append(Tried("baseline", fold, place, 1.0, [0], [0]))
    for of_run in (run, *(run / fold.workdir for fold in tried)):
        stored_settings.change(of_run, lambda stored: stored["augment"].update(horizontal_flip=True))
    rung = RungRecord(1.0, 2, 9.0, {"baseline": Schedule(0, 5)}, tried, ["baseline"])
    cost = Cost(1.0, 1.0, 0.0, 1.0)
    chosen = Record(config_to_dict(config), 9.0, {"baseline": cost}, [rung], "baseline", 0.5, 0.0, Schedule(0, 5))
    chosen.write(Workdir(run))


def test_a_run_chosen_by_folds_is_measured_with_other_views_and_refused_stages_change_no_file(
    photo_settings, tmp_path, capsys
):
    write_split_photos(tmp_path / "photos")
    of_two = {"recipes": "baseline,baseline_trivialaugment", "folds": 2, "max_labels_per_class": None}
    of_two["classifier.epochs"] = 8  # five were left for the final model
    config, run = photo_settings(tmp_path / "photos", "auto", **of_two), tmp_path / "run"
    chosen_by_folds(config, run)
    with_mirror = copy.deepcopy(config)
    with_mirror.evaluation.mirror = True

    def assert_refused(expected, config, stage):
        before = contents(run)
        with pytest.raises(InputError, match=expected) as refused:
            chimeramix_jax.choose_and_train(config, run, stage=stage)
        assert contents(run) == before and "--retrain" not in str(refused.value)

    assert_refused("evaluation.mirror: False stored, True requested", with_mirror, "report")
    chimeramix_jax.choose_and_train(config, run)  # finished, as before
    assert "leaves 5 epochs for the final model instead of the usual 8." in capsys.readouterr().err
    chimeramix_jax.choose_and_train(with_mirror, run, stage="evaluate")
    for of_run in (run, run / "auto/rung-1/fold-2-of-2/baseline"):
        assert json.loads((of_run / "results.json").read_text())["config"]["evaluation"]["mirror"]
    write_photo(tmp_path / "photos/train/class 0/new.png", 9000)
    for stage in ("all", "evaluate", "report"):
        assert_refused("new image.*; update it with --stage=update, which .*, or choose another", with_mirror, stage)


def test_recipes_that_mix_are_compared_on_groups_with_many_photos_each(photo_settings, tmp_path, capsys):
    """Two groups of six photos per class: a fold's run trains on six of each class."""
    write_images(tmp_path / "photos", 24)
    rows = [(f"photos/{n}.png", ("dog", "cat")[n % 2], f"object {n % 2} {n // 12}") for n in range(24)]
    table = write_table(tmp_path / "photos.csv", rows, header="path,label,group")
    recipes = "baseline,chimeramix_grid"

    def choosing(images):
        changes = {"folds": 2, "max_labels_per_class": None, "recipes": recipes, "mixing.images": images}
        config = photo_settings(table, "auto", **changes)
        workdir = Workdir(tmp_path / f"run of {images}")
        workdir.create()
        return final._Choosing(config, workdir, Record(config_to_dict(config)))

    of_six = choosing(6)
    assert list(of_six._candidates.names) == recipes.split(",")
    of_six.begin()
    assert "to mix" not in capsys.readouterr().err
    of_seven = choosing(7)
    assert list(of_seven._candidates.names) == ["baseline"]
    of_seven.begin()
    assert "auto: chimeramix_grid needs more than 6 images of every class to mix" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("usual", "recipes", "expected"),
    [
        (400, "baseline,cutmix", "instead of the usual 400. With more minutes, or with baseline by itself in the same"),
        (400, "baseline", "instead of the usual 400. With more minutes, expect a better model."),
        (5, "baseline,cutmix", ""),
    ],
)
def test_a_choice_says_if_its_folds_leave_less_than_the_usual_training(
    settings, tmp_path, capsys, usual, recipes, expected
):
    config = settings(minutes=5, recipes=recipes, **{"classifier.epochs": usual})
    workdir = Workdir(tmp_path)
    rung = RungRecord(60.0, 2, 180.0, {"baseline": Schedule(0, 5)}, [], ["baseline"])
    record = Record(config_to_dict(config), 170.0, {"baseline": COST}, [rung], "baseline", 0.5, 0.0)
    final._Choosing(config, workdir, record).choose()
    said = capsys.readouterr().err
    assert record.final is not None and (record.final.classifier < usual) == bool(expected)
    if expected:
        assert said.startswith("auto: the folds took ") and said.count("\n") == 1 and expected in said
        assert f" of 5 minutes, which leaves {record.final.classifier} epochs " in said
    else:
        assert said == ""


def test_a_time_that_is_too_short_to_compare_trains_the_first_recipe(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(menu, "MENU", ("baseline", "baseline_trivialaugment", "chimeramix_grid"))
    monkeypatch.setattr(halving, "LEAST_OF_USUAL", 1e9)
    monkeypatch.setattr(halving, "schedules", lambda seconds, runs, costs, *_: dict.fromkeys(costs, Schedule(0, 2)))
    run = tmp_path / "run"
    results = chimeramix_jax.choose_and_train(settings(minutes=10), run)
    first, others = menu.MENU[0], ", ".join(menu.MENU[1:])
    assert results["experiment"] == first and "folds" not in results
    said = capsys.readouterr().err
    assert f"auto: 10 minutes are too short to compare recipes, so {first} is trained; not compared: {others}\n" in said
    assert [path.name for path in (run / "auto").iterdir()] == ["timing"]
    page = (run / "report.html").read_text()
    assert "which was too short to compare recipes" in page and f"There was no time to compare {others}." in page
    again = chimeramix_jax.choose_and_train(settings(minutes=10), run)
    assert again["test"]["top1"] == results["test"]["top1"]
    measured = chimeramix_jax.choose_and_train(settings(minutes=10), run, stage="evaluate")
    assert measured["test"]["top1"] == results["test"]["top1"]


@pytest.mark.slow
def test_a_recipe_is_chosen_by_folds_and_trained_on_all_images_in_time(settings, tmp_path, capsys):
    names = ("baseline_trivialaugment", "chimeramix_grid")
    run, recipes = tmp_path / "run", ",".join(names)
    minutes, results = 0.1, None
    while results is None:  # the least time depends on the machine, and is only known once all recipes are measured
        try:
            results = chimeramix_jax.choose_and_train(settings(minutes=minutes, recipes=recipes), run)
        except InputError as error:
            assert f"minutes: {minutes:g} is too short to compare 2 recipes here; it must be at least" in str(error)
            least = float(str(error).split()[-1])
            assert least > minutes
            minutes = 1.3 * least
    record = json.loads((run / "auto.json").read_text())
    assert record["used"] == pytest.approx(60 * minutes, rel=0.15)  # 10 %, and what else the machine has to do
    last = record["rungs"][-1]
    measured = {name: [tried for tried in last["tried"] if tried["recipe"] == name] for name in names}
    for tried in last["tried"]:
        stored = json.loads((run / tried["workdir"] / "results.json").read_text())
        right = np.mean(np.array(tried["predictions"]) == np.array(tried["labels"]))
        assert stored["validation"]["top1"] == pytest.approx(right)
        assert stored["config"]["classifier"]["epochs"] == last["schedules"][tried["recipe"]]["classifier"]
    assert len(measured[names[0]]) == len(measured[names[1]]) >= 1
    assert record["winner"] == last["kept"][0] == results["experiment"]
    assert results["folds"]["expected_accuracy"] == pytest.approx(record["accuracy"] - record["optimism"])
    assert results["test"]["examples"] == 697 and len(results["train_indices"]) == 40
    final = from_json((run / "config.json").read_text())
    assert final.experiment == record["winner"] and final.classifier.epochs == record["final"]["classifier"]
    assert "expected from the" in closing_text(results)
    data = load_few_shot(final.dataset, final.max_labels_per_class, final.seed)
    images = [data.train.images[0], data.held_out.images[0]]
    for source in (run, chimeramix_jax.export(run, tmp_path / "model.zip").path):
        assert [image.trained_on for image in chimeramix_jax.predict(source, images)] == [True, False]
    capsys.readouterr()
    again = chimeramix_jax.choose_and_train(settings(minutes=minutes, recipes=recipes), run)
    np.testing.assert_equal(again["test"], results["test"])
    assert "steps" not in capsys.readouterr().err
    (run / "report.html").unlink()
    chimeramix_jax.choose_and_train(settings(recipes=recipes), run, stage="report")
    assert "How the recipe was chosen" in (run / "report.html").read_text()
    with pytest.raises(InputError, match="minutes: "):
        chimeramix_jax.choose_and_train(settings(minutes=minutes + 1, recipes=recipes), run)


@pytest.mark.slow
def test_a_single_recipe_is_trained_as_long_as_the_time_allows_on_larger_images(photo_settings, tmp_path, capsys):
    write_split_photos(tmp_path / "photos", per_class=2, sides=(20, 30))
    choice = {"recipes": "baseline", "larger_sides": "16,24", "minutes": 0.5}
    config = photo_settings(tmp_path / "photos", "auto", max_labels_per_class=None, **choice)
    results = chimeramix_jax.choose_and_train(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "auto.json").read_text())
    assert (record["rungs"], record["winner"], record["side"]) == ([], "baseline", 16)  # photos have 20 pixels
    assert 10 < record["used"] < 1.15 * 30  # the steps of tiny networks take less than their pixels let expect
    assert record["final"]["classifier"] > 20
    final_settings = from_json((tmp_path / "run" / "config.json").read_text())
    assert (final_settings.experiment, final_settings.classifier.image_side) == ("baseline", 16)
    assert "images of 16x16 pixels" in capsys.readouterr().err
    assert results["test"]["examples"] == 10 and "folds" not in results
    page = (tmp_path / "run" / "report.html").read_text()
    assert "How long it was trained" in page and "How the recipe was chosen" not in page
    assert "single run of a given recipe" in (tmp_path / "run" / "model_card.md").read_text()
    config.larger_sides = ""
    with pytest.raises(InputError, match=r"holds a run with other settings \(larger_sides: '16,24' stored, '' req"):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")


def test_epochs_are_left_out_of_a_final_training_that_is_late_and_that_is_said(photo_settings, tmp_path, monkeypatch):
    write_split_photos(tmp_path / "photos")
    choice = {"recipes": "baseline", "minutes": 5}
    config = photo_settings(tmp_path / "photos", "auto", max_labels_per_class=None, **choice)
    limits, began, timing = [], time.monotonic(), FoldTrials.run

    def as_costly_as_said(*arguments):
        return timing(*arguments)[0], COST  # so that the plan does not depend on the machine

    monkeypatch.setattr(FoldTrials, "run", as_costly_as_said)

    class Late(Pace):
        def __init__(self, limit, *arguments):
            limits.append(limit)
            super().__init__(dataclasses.replace(limit, until=0.0), *arguments)

    programs, functions = [], epochs.StepFunctions
    monkeypatch.setattr(epochs, "StepFunctions", lambda *stage: programs.append(stage) or functions(*stage))
    monkeypatch.setattr(loop, "Pace", Late)
    results = chimeramix_jax.choose_and_train(config, tmp_path / "run")
    assert len(programs) == 1  # of the timing and of the training
    record = json.loads((tmp_path / "run" / "auto.json").read_text())
    cost, planned = record["costs"]["baseline"], record["final"]["classifier"]
    assert len(limits) == 1  # not of the timing
    assert limits[0].until == pytest.approx(began + 300 - cost["setup"], abs=10)
    assert (limits[0].seconds_per_epoch, list(limits[0].weights)) == (cost["classifier_epoch"], cost["weights"])
    left_out = results["epochs_left_out"]["classifier"]
    assert left_out == pytest.approx(0.75 * planned, abs=2)
    assert len((tmp_path / "run/classifier/metrics.jsonl").read_text().splitlines()) == planned - left_out
    said = f"{left_out} of the {planned} epochs were left out to keep to the time"
    assert said in " ".join(closing_text(results).split())
    assert said in " ".join((tmp_path / "run" / "report.html").read_text().split())


def test_a_finished_run_that_has_used_its_time_is_measured_again_where_its_photos_are_now(
    photo_settings, tmp_path, monkeypatch, capsys
):
    write_split_photos(tmp_path / "photos")
    config = photo_settings(tmp_path / "photos", "auto", max_labels_per_class=None, recipes="baseline", minutes=5)
    monkeypatch.setattr(Pace, "left_out_after", lambda pace, completed: max(pace._epochs - 1 - completed, 0))
    run = tmp_path / "run"
    decide(run, config)
    results = chimeramix_jax.choose_and_train(config, run)
    record = json.loads((run / "auto.json").read_text())
    (run / "auto.json").write_text(json.dumps(record | {"used": 300.0}))
    (run / "results.json").unlink()  # as a kill in the evaluation leaves it
    capsys.readouterr()
    again = chimeramix_jax.choose_and_train(config, run)
    np.testing.assert_equal(again["test"], results["test"])
    (tmp_path / "photos").rename(tmp_path / "moved")
    config.dataset.directory = str(tmp_path / "moved")
    measured = chimeramix_jax.choose_and_train(config, run, stage="evaluate")
    np.testing.assert_equal(measured["test"], results["test"])
    (run / "report.html").unlink()
    chimeramix_jax.choose_and_train(config, run, stage="report")
    assert (run / "report.html").exists()
    assert "steps" not in capsys.readouterr().err
    of_the_run = Workdir(run).read_config()  # what the command line changes where only --workdir is given
    assert of_the_run.dataset.directory == str(tmp_path / "moved")
    of_the_run.classifier.learning_rate = 7.0
    with pytest.raises(InputError, match=r"with other settings \(classifier.learning_rate: .* 7.0 requested"):
        chimeramix_jax.choose_and_train(of_the_run, run, stage="report")


def test_the_time_of_a_final_training_that_was_stopped_or_killed_counts(photo_settings, tmp_path, monkeypatch):
    write_split_photos(tmp_path / "photos")
    choice = {"recipes": "baseline", "minutes": 5}
    config = photo_settings(tmp_path / "photos", "auto", max_labels_per_class=None, **choice)
    decide(tmp_path / "run", config)
    run_step, steps_left = StepCall.run, [10]

    def stopped_in_the_final_training(call):
        time.sleep(0.2)
        steps_left[0] -= 1
        if steps_left[0] == 0:
            raise Stopped(signal.SIGTERM)
        return run_step(call)

    monkeypatch.setattr(StepCall, "run", stopped_in_the_final_training)
    record = tmp_path / "run" / "auto.json"
    with pytest.raises(Stopped):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")
    stored = json.loads(record.read_text())
    assert stored["used"] > stored["planned_at"] + 1.9
    record.write_text(json.dumps(stored | {"used": stored["planned_at"]}))  # as a kill leaves it
    steps_left[0] = 1
    with pytest.raises(Stopped):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")
    assert json.loads(record.read_text())["used"] > stored["planned_at"] + 1.9
