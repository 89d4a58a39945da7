"""Runs that are trained anew after photos were added, removed or moved: real ones, with tiny networks."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from folders import contents
from killed import Killed, killed
from networks import logits_of
from PIL import Image
from workflow.test_resume import epochs_done, kill_when

import chimeramix_jax
from chimeramix_jax.auto import menu
from chimeramix_jax.auto.halving import Cost
from chimeramix_jax.auto.trials import FoldTrials
from chimeramix_jax.command_line import program
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import update_text
from chimeramix_jax.reporting.statistics import mcnemar
from chimeramix_jax.runs import old_and_new, replacement
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.out_of_fold import config_of_fold
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.unseen import Models
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.workflow import update as update_module

PER_CLASS = 6


def write_photo(path, number):
    """Writes a photo whose colour depends on its class, so that there is something to learn, with much noise."""
    label = int(re.search(r"\d", path.parent.name)[0]) if re.search(r"\d", path.parent.name) else 10
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (8, 8, 3)) // 2 + np.array([label % 3, label // 3 % 3, label // 9]) * 63
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_photos(root, per_class=PER_CLASS):
    for label in range(10):
        for number in range(per_class):
            write_photo(root / f"class {label}" / f"{number}.png", 100 * label + number)
    return root


def change_photos(root):
    """Adds 4 photos to each of three classes, removes one, and moves one to another class."""
    for label in (1, 2, 3):
        for number in range(50, 54):
            write_photo(root / f"class {label}" / f"{number}.png", 100 * label + number)
    (root / "class 4" / "0.png").unlink()
    (root / "class 5" / "0.png").rename(root / "class 6" / "from class 5.png")


@pytest.fixture(scope="module")
def settings(photo_settings):
    def make(photos, experiment="baseline", **changes):
        return photo_settings(photos, experiment, **({"max_labels_per_class": None} | changes))

    return make


@pytest.fixture(scope="module")
def original(tmp_path_factory, settings):
    """A folder of photos without test/, and a finished run on it."""
    root = tmp_path_factory.mktemp("original")
    make_photos(root / "photos")
    chimeramix_jax.train_and_evaluate(settings(root / "photos"), root / "run")
    return root


@pytest.fixture
def copy(original, tmp_path, settings):
    """A copy of both, for a test to change."""
    root = Path(shutil.copytree(original, tmp_path / "copy"))
    config = settings(root / "photos")
    (root / "run" / "config.json").write_text(chimeramix_jax.config.to_json(config))
    return root


@pytest.fixture(scope="module")
def trained_update(original, settings, tmp_path_factory):
    """A copy of both whose update was killed after training, for tests to copy."""
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("trained") / "update"))
    change_photos(root / "photos")
    (root / "run" / "config.json").write_text(chimeramix_jax.config.to_json(settings(root / "photos")))
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(old_and_new, "compare", killed)
        chimeramix_jax.update(root / "run")
    return root


@pytest.fixture
def stopped(trained_update, tmp_path, settings):
    """A copy of it, for a test to change."""
    root = Path(shutil.copytree(trained_update, tmp_path / "stopped"))
    (root / "run" / "config.json").write_text(chimeramix_jax.config.to_json(settings(root / "photos")))
    return root


def contents_without_update(run):
    return {path: content for path, content in contents(run).items() if path.parts[0] != "update.unfinished"}


def split(run, name):
    """Maps the digests of a split's photos to their classes' names."""
    stored = json.loads((run / "data.json").read_text())
    labels = stored[name]["labels"]
    return {image: stored["class_names"][label] for image, label in zip(stored[name]["images"], labels, strict=True)}


def answers(run, photos):
    """Maps the digests of photos to the classes that a run's classifier gives them, by the restored network alone."""
    pixels = np.stack([np.asarray(Image.open(path)) for path in photos])
    logits = logits_of(chimeramix_jax.restore_classifier(run), pixels)
    names = chimeramix_jax.class_names(run)
    return {image_digest(image): names[label] for image, label in zip(pixels, np.argmax(logits, axis=1), strict=True)}


def assert_figures(figures, compared, old, new, true):
    """Requires that stored figures are those of these photos, given both models' answers and the true classes."""
    right = {image: (old[image] == true[image], new[image] == true[image]) for image in compared}
    counts = Counter(right.values())
    assert figures["number"] == len(compared) > 0
    assert (figures["only_old_right"], figures["only_new_right"]) == (counts[True, False], counts[False, True])
    assert figures["old_right"] == counts[True, False] + counts[True, True]
    assert figures["new_right"] == counts[False, True] + counts[True, True]
    assert figures["difference"] == (counts[False, True] - counts[True, False]) / len(compared)
    assert figures["mcnemar_p"] == mcnemar(counts[True, False], counts[False, True])


def test_an_update_compares_both_models_on_photos_that_neither_was_trained_on(stopped, capfd):
    photos, run = stopped / "photos", stopped / "run"
    before = contents_without_update(run)
    assert program.main(["--stage=update", f"--workdir={run}"]) == 0
    output, errors = capfd.readouterr()
    changed = ["class 1: 4 new photos", "class 4: 1 photo removed", "1 photo moved from class 5 to class 6"]
    assert all(f"update: {line}\n" in errors for line in changed)

    record = json.loads((run / "update.json").read_text())
    kept = run / record["before"]
    assert contents(kept) == before
    assert record["changes"][:3] == [f"class {label}: 4 new photos" for label in (1, 2, 3)]
    new_train, new_test = split(run, "train"), split(run, "held_out")
    old_train, old_test = split(kept, "train"), split(kept, "held_out")
    assert len(new_train) + len(new_test) == 10 * PER_CLASS + 12 - 1
    fair = [image for image in new_test if image not in old_train]
    files = sorted(photos.rglob("*.png"))
    old, new = answers(kept, files), answers(run, files)
    for group, compared in (
        ("old photos", [image for image in fair if image in old_test]),
        ("new photos", [image for image in fair if image not in old_test]),
        ("all", fair),
    ):
        assert_figures(record["photos"][group], compared, old, new, new_test)
    assert record["left_out"] == {
        "new_training_photos": len(new_train.keys() - old_train.keys() - old_test.keys()),
        "now_training_photos": len(new_train.keys() & old_test.keys()),
        "no_longer_training_photos": len(new_test.keys() & old_train.keys()),
        "training_photos_of_both": 0,
        "related_to_training_photos": 0,
    }

    conclusion = update_text.conclusion(record)
    assert conclusion in output and f"of the {len(fair)} photos" in conclusion
    assert output.splitlines()[-1].startswith("with the old one: ") and f"--workdir={kept} " in output
    page = " ".join(re.sub("<[^>]*>", " ", (run / "report.html").read_text()).split())
    assert conclusion in page and f"{len(fair)} photos" in page and str(kept) in page
    assert not (run / "update.unfinished").exists() and not list(run.rglob("lock.json"))

    after = contents(run)
    assert program.main(["--stage=update", f"--workdir={run}"]) == 0
    assert capfd.readouterr().out == f"nothing to update: {run} was trained on the photos as they are now\n"
    assert contents(run) == after
    for workdir, trained in ((run, new_train), (kept, old_train)):
        assert len(chimeramix_jax.predict(workdir, photos / "class 1")) == PER_CLASS + 4
        model = chimeramix_jax.export(workdir, stopped / f"{workdir.name}.zip").path
        expected = [image_digest(np.asarray(Image.open(path))) in trained for path in files]
        assert set(expected) == {True, False}
        for source in (workdir, model):
            assert [image.trained_on for image in chimeramix_jax.predict(source, files)] == expected
    stored = json.loads((run / "results.json").read_text())
    again = chimeramix_jax.train_and_evaluate(chimeramix_jax.config.from_json((run / "config.json").read_text()), run)
    assert again["test"]["loss"] == stored["test"]["loss"]  # the command that made the run finds it finished


def test_an_update_that_is_killed_anywhere_leaves_a_model_to_use_and_continues(copy, stopped, monkeypatch):
    photos, run = stopped / "photos", stopped / "run"
    change_photos(copy / "photos")
    old = chimeramix_jax.predict(copy / "run", photos / "class 7")

    def update_killed_in(owner, name, run=run):
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(owner, name, killed)
            chimeramix_jax.update(run)

    rename = Path.rename

    def rename_until_results(path, target):
        if path == run / "results.json":
            raise Killed
        return rename(path, target)

    for updated, owner, name in (
        (copy / "run", update_module, "train_and_evaluate"),
        (run, old_and_new, "compare"),
        (run, replacement, "replace"),
    ):
        update_killed_in(owner, name, updated)
        assert [image.classes for image in chimeramix_jax.predict(updated, photos / "class 7")] == [
            image.classes for image in old
        ]
    trained = contents(run / "update.unfinished" / "run" / "classifier")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "rename", rename_until_results)
        chimeramix_jax.update(run)
    with pytest.raises(InputError, match="finish it with --stage=update"):
        chimeramix_jax.predict(run, photos / "class 7")
    assert len(chimeramix_jax.predict(run / "update.unfinished" / "run", photos / "class 7")) == PER_CLASS
    update_killed_in(update_module, "train_and_evaluate")  # when the report is to be drawn
    assert len(chimeramix_jax.predict(run, photos / "class 7")) == PER_CLASS

    updated = chimeramix_jax.update(run)
    assert updated["changes"] and "test" not in updated  # only the report was missing
    assert contents(run / "classifier") == trained and not (run / "update.unfinished").exists()
    assert updated["update"]["photos"]["all"]["number"] > 0 and "Update" in (run / "report.html").read_text()
    assert chimeramix_jax.update(run) == {"changes": []}


def test_an_update_begun_for_photos_that_have_changed_again_starts_over(original, stopped, monkeypatch, capfd):
    photos, run = stopped / "photos", stopped / "run"
    before = contents_without_update(run)
    assert (run / "update.unfinished" / "run" / "results.json").exists()
    write_photo(photos / "class 8" / "late.png", 12345)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(update_module, "train_and_evaluate", killed)
        chimeramix_jax.update(run)
    assert "the photos have changed again since the update was begun" in capfd.readouterr().err
    assert not (run / "update.unfinished").exists()
    shutil.rmtree(photos)
    shutil.copytree(original / "photos", photos)
    assert chimeramix_jax.update(run) == {"changes": []}
    assert contents(run) == before


def assert_folds_of_a_choice_do_not_stand_in_for_its_model(run, chosen):
    """Requires that models that a choice trained for a part of the time are not compared in the place of the final one.

    In a run without a choice, they are models like the final one but for the fold.
    """
    shutil.copytree(run, chosen)
    assert Models.of(Workdir(chosen)).left_out_by
    tried = [{"recipe": "baseline", "workdir": f"folds/fold-{fold}-of-2"} for fold in (1, 2)]
    (chosen / "auto.json").write_text(json.dumps({"winner": "baseline", "rungs": [{"tried": tried}]}))
    assert Models.of(Workdir(chosen)).left_out_by == {}


def assert_every_model_sees_images_of_its_own_side(run, photos, copied):
    """Requires that a model classifies photos as its own settings say, whatever those of the final model are."""
    shutil.copytree(run, copied)
    final = json.loads((copied / "config.json").read_text())
    final["classifier"]["image_side"] = 16
    (copied / "config.json").write_text(json.dumps(final))
    before, now = Models.of(Workdir(run)), Models.of(Workdir(copied))
    files = sorted(photos.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in files])
    names, fold = [path.parent.name for path in files], "folds/fold-1-of-2"
    right = before.right(pixels, names, [run / fold] * len(files))
    np.testing.assert_array_equal(now.right(pixels, names, [copied / fold] * len(files)), right)


def test_with_folds_every_photo_is_compared_and_a_new_class_is_said_to_be_new(settings, tmp_path, capfd):
    per_class = 4  # as in other tests with folds, so that no other classifier must be compiled
    photos, run = make_photos(tmp_path / "photos", per_class), tmp_path / "run"
    chimeramix_jax.train_and_evaluate(settings(photos, folds=2), run)
    assert_folds_of_a_choice_do_not_stand_in_for_its_model(run, tmp_path / "chosen")
    assert_every_model_sees_images_of_its_own_side(run, photos, tmp_path / "larger final")
    # An update that was killed while its folds were trained, for photos that have changed again since.
    fold = Workdir(run / "update.unfinished" / "run" / "folds" / "fold-2-of-2")
    fold.path.mkdir(parents=True)
    fold.claim_data(load_dataset(config_of_fold(settings(photos, folds=2), 2)).identity)
    for number in range(4):
        write_photo(photos / "class 1" / f"new {number}.png", 9000 + number)
        write_photo(photos / "kiwi" / f"{number}.png", 8000 + number)
    updated = chimeramix_jax.update(run)
    assert "the photos have changed again since the update was begun, so it starts over" in capfd.readouterr().err
    assert updated["changes"] == ["class 'kiwi' is new", "class 1: 4 new photos", "kiwi: 4 new photos"]
    record = updated["update"]
    kept = run / record["before"]
    true = split(run, "train")
    files = sorted(photos.rglob("*.png"))
    models = {home: [home, *(home / "folds" / f"fold-{fold}-of-2" for fold in (1, 2))] for home in (kept, run)}
    unseen = {}
    for home, workdirs in models.items():
        of_each = {workdir: answers(workdir, files) for workdir in workdirs}
        final, *folds = workdirs
        left_out_by = {image: fold for fold in folds for image in split(fold, "held_out")}
        assert not any(split(fold, "train").keys() & split(fold, "held_out").keys() for fold in folds)
        unseen[home] = {image: of_each[left_out_by.get(image, final)][image] for image in true}
    old_photos = split(kept, "train")
    known = [image for image, name in true.items() if name != "kiwi"]
    assert len(known) == 10 * per_class + 4 and len(old_photos) == 10 * per_class
    for group, compared in (
        ("old photos", [image for image in known if image in old_photos]),
        ("new photos", [image for image in known if image not in old_photos]),
        ("all", known),
    ):
        assert_figures(record["photos"][group], compared, unseen[kept], unseen[run], true)
    right = sum(unseen[run][image] == "kiwi" for image, name in true.items() if name == "kiwi")
    assert record["new_classes"] == {"names": ["kiwi"], "number": 4, "new_right": right}
    assert set(record["left_out"].values()) == {0} and record["by_folds"] == {"old": True, "new": True}
    assert (run / "folds" / "fold-2-of-2" / "results.json").exists()
    assert "of 4 photos there that the new model was not trained on" in (run / "report.html").read_text()


def test_what_cannot_be_updated_is_refused_in_one_line_and_left_alone(original, copy, trained_run, tmp_path, capfd):
    photos, run = copy / "photos", copy / "run"
    change_photos(photos)
    unfinished = Path(shutil.copytree(run, tmp_path / "unfinished"))
    shutil.rmtree(unfinished / "classifier")
    earlier = Path(shutil.copytree(run, tmp_path / "earlier"))
    (earlier / "data.json").unlink()
    fold = Path(shutil.copytree(run, tmp_path / "fold"))
    stored = json.loads((fold / "config.json").read_text())
    of_fold = {"folds": 2, "fold": 1, "dataset": stored["dataset"] | {"evaluate_on": "validation"}}
    (fold / "config.json").write_text(json.dumps(stored | of_fold))
    model = tmp_path / "model.zip"
    chimeramix_jax.export(run, model)
    (tmp_path / "seeds").mkdir()
    shutil.copytree(run, tmp_path / "seeds" / "seed-0")
    capfd.readouterr()
    for arguments, expected in (
        ([], "--workdir: --stage=update needs it"),
        ([f"--workdir={tmp_path / 'nothing'}"], "nothing: holds no run"),
        ([f"--workdir={tmp_path / 'seeds'}"], f"did you mean {tmp_path / 'seeds' / 'seed-0'}?"),
        ([f"--workdir={run}", "--config.seeds=0,1"], "seeds: '0,1'"),
        ([f"--workdir={trained_run}"], "holds a run on digits, which does not change"),
        ([f"--workdir={model}"], "is a file; --stage=update needs a run's folder"),
        ([f"--workdir={unfinished}"], "its training is not finished"),
        ([f"--workdir={earlier}"], "did not record its photos"),
        ([f"--workdir={fold}"], "holds the run of a fold"),
        ([f"--workdir={run}", "--retrain"], "--retrain: --stage=update does not take it"),
        ([f"--workdir={run}", "--config.classifier.epochs=7"], "classifier.epochs: 5 stored, 7 requested"),
        ([f"--workdir={run}", "--config.dataset.directory=nosuch"], "nosuch"),
    ):
        before = contents(tmp_path)
        assert program.main(["--stage=update", *arguments]) == 2, expected
        output, errors = capfd.readouterr()
        assert expected in errors and errors.count("\n") == 1 and output == "", errors
        assert contents(tmp_path) == before
    with locked(run), pytest.raises(InputError, match="process"):
        chimeramix_jax.update(run)


@pytest.mark.slow
def test_an_update_killed_without_warning_ends_as_an_uninterrupted_one(settings, tmp_path):
    photos, run, uninterrupted = make_photos(tmp_path / "photos"), tmp_path / "run", tmp_path / "uninterrupted"
    epochs = 50  # so many that the kill is never too late
    chimeramix_jax.train_and_evaluate(settings(photos, **{"classifier.epochs": epochs}), run)
    change_photos(photos)
    shutil.copytree(run, uninterrupted)
    expected = chimeramix_jax.update(uninterrupted)
    new = run / "update.unfinished" / "run"

    def start():
        command = [sys.executable, str(ROOT / "main.py"), "--stage=update", f"--workdir={run}"]
        often = "--config.checkpoint.every_seconds=0"
        return subprocess.Popen([*command, often], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    kill_when(start(), lambda: epochs_done(new, "classifier") >= 1)
    assert epochs_done(new, "classifier") < epochs, "the kill came after the stage's end"
    kill_when(start(), (new / "results.json").exists)
    kill_when(start(), lambda: (run / "update.json").exists() or (new / "update.json").exists())
    process = start()
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    for name in ("classifier/metrics.jsonl", "held_out.csv"):
        assert (run / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert json.loads((run / "update.json").read_text())["photos"] == expected["update"]["photos"]
    assert not (run / "update.unfinished").exists()


@pytest.mark.slow
def test_a_run_whose_recipe_was_chosen_keeps_the_recipe(settings, tmp_path, monkeypatch):
    photos, run = make_photos(tmp_path / "photos"), tmp_path / "run"
    monkeypatch.setattr(menu, "MENU", ("baseline", "baseline_trivialaugment"))
    timed = FoldTrials.run

    def as_costly_as_said(*arguments):
        cost = Cost(compiling=0.0, setup=1.0, generator_epoch=0.0, classifier_epoch=10.0)  # on any machine
        return timed(*arguments)[0], cost

    monkeypatch.setattr(FoldTrials, "run", as_costly_as_said)
    chimeramix_jax.choose_and_train(settings(photos, "auto", folds=2, minutes=5), run)
    chosen = json.loads((run / "auto.json").read_text())
    change_photos(photos)
    updated = chimeramix_jax.update(run)
    stored = json.loads((run / "config.json").read_text())
    assert (stored["experiment"], stored["classifier"]["epochs"]) == (
        chosen["winner"],
        chosen["final"]["classifier"],
    )
    record = updated["update"]
    assert record["recipe_was_chosen"] and record["by_folds"] == {"old": False, "new": True}
    assert (run / record["before"] / "auto.json").exists() and not (run / "auto.json").exists()
    assert record["photos"]["all"]["number"] == 12
    assert record["left_out"]["training_photos_of_both"] == 10 * PER_CLASS - 1
    page = (run / "report.html").read_text()
    assert "The recipe was kept, not chosen again." in page and "had a part of the time only" in page
