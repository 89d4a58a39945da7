import os
from pathlib import Path

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir


@pytest.fixture
def config():
    return defaults.get_config()


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "run")


def refusal(workdir, config) -> str:
    with pytest.raises(InputError) as caught:
        workdir.check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_constructor_creates_nothing(workdir):
    assert not workdir.path.exists()
    assert workdir.written() == []


def test_the_check_creates_an_empty_directory_with_its_parents(tmp_path, config):
    path = tmp_path / "runs" / "with space" / "run"
    Workdir(str(path)).check(config)
    assert path.is_dir()
    assert list(path.iterdir()) == []


def test_a_tilde_stands_for_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workdir("~/run").path == tmp_path / "run"


def test_a_directory_with_other_files_is_accepted_and_keeps_them(workdir, config):
    workdir.path.mkdir()
    (workdir.path / "notes.txt").write_text("mine")
    workdir.check(config)
    assert (workdir.path / "notes.txt").read_text() == "mine"


def test_stored_paths_lead_to_the_same_place_from_any_folder(workdir, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config.dataset.directory, config.dataset.archive, config.dataset.data_dir = "photos", "/data/a.zip", "~/prepared"
    workdir.check(config)
    workdir.claim(config)
    stored = workdir.read_config().dataset
    expected = str(tmp_path / "photos"), "/data/a.zip", "~/prepared", ""
    assert (stored.directory, stored.archive, stored.data_dir, stored.image_directory) == expected
    assert config.dataset.directory == "photos"
    workdir.check(config)


def test_where_no_run_is_the_error_names_the_run_that_was_probably_meant(tmp_path, config):
    outer = Workdir(tmp_path / "runs")
    for made, hint in (
        (None, ""),
        ("first", f"; did you mean {outer.path / 'first'}?"),
        ("other", f"; did you mean one of the 2 runs in it, such as {outer.path / 'first'}?"),
    ):
        if made is not None:
            run = Workdir(outer.path / made)
            run.check(config)
            run.claim(config)
        (outer.path / "foreign").mkdir(parents=True, exist_ok=True)
        (outer.path / "foreign" / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(InputError) as caught:
            outer.read_config()
        assert str(caught.value) == f"--workdir={outer.path}: holds no run{hint}"
    checked = Workdir(tmp_path / "checked")
    checked.check(config)
    checked.check_findings.write_text("{}")
    with pytest.raises(InputError, match="holds no run, only what --stage=check found; train it first"):
        checked.read_config()
    for part in (checked.classifier, checked.results):  # as after a copy that was interrupted
        part.mkdir()
        with pytest.raises(InputError, match=f"holds no run: config.json is missing beside {part.name}; copy it"):
            checked.read_config()


def test_a_fold_is_trained_by_the_run_that_it_belongs_to(workdir, config, monkeypatch):
    fold = Workdir(workdir.folds / "fold-1-of-3")
    assert fold.trained_by == fold.path  # the folder around it is no run yet
    for run in (workdir, fold):
        run.check(config)
        run.claim(config)
    assert (fold.trained_by, workdir.trained_by) == (workdir.path, workdir.path)
    monkeypatch.chdir(workdir.folds)
    assert Workdir(fold.path.name).trained_by == workdir.path
    with pytest.raises(InputError, match=rf"no results.json; write it with --stage=evaluate --workdir={workdir.path}$"):
        fold.read_results()


def test_claimed_settings_are_read_back_unchanged_and_accepted_again(workdir, config):
    config.max_labels_per_class = 5
    workdir.check(config)
    workdir.claim(config)
    workdir.check(config)
    assert settings.flatten(workdir.read_config()) == settings.flatten(config)


def test_other_settings_are_refused_naming_exactly_the_keys_that_differ(workdir, config):
    workdir.check(config)
    workdir.claim(config)
    config.seed = 3
    config.generator.epochs = 7
    message = refusal(workdir, config)
    assert message.startswith(f"--workdir={workdir.path}: ")
    assert "seed: 0 stored, 3 requested" in message
    assert "generator.epochs: 200 stored, 7 requested" in message
    assert message.count(" stored, ") == 2
    assert workdir.read_config().seed == 0


def test_settings_without_effect_on_results_may_change(workdir, config):
    workdir.check(config)
    workdir.claim(config)
    config.compare_with_baseline = True
    config.dataset.data_dir = "/elsewhere"
    config.dataset.archive = "data.zip"
    config.evaluation.every_epochs = 1
    config.evaluation.batch_size = 3
    config.checkpoint.every_seconds = 0.0
    config.checkpoint.keep = 1
    config.steps_per_call = 4
    workdir.check(config)


@pytest.mark.parametrize("inside", ["", "run", "a/b/run"], ids=["itself", "parent", "grandparent"])
def test_a_file_in_place_of_a_directory_is_refused_and_stays(tmp_path, config, inside):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / inside
    message = refusal(Workdir(path), config)
    assert f"--workdir={path}: cannot be created" in message
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_is_not_writable_is_refused(workdir, config, monkeypatch):
    workdir.path.mkdir()
    # Changing the mode would not do, since root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == workdir.path and mode & os.W_OK))
    assert f"--workdir={workdir.path}: not writable" in refusal(workdir, config)


def test_unreadable_stored_settings_are_refused(workdir, config):
    workdir.config.mkdir(parents=True)
    assert f"{workdir.config}: cannot be read" in refusal(workdir, config)


@pytest.mark.parametrize("content", [b"", b'{"seed": ', b"[1]"], ids=["empty", "truncated", "not an object"])
def test_damaged_stored_settings_are_refused_and_stay(workdir, config, content):
    workdir.path.mkdir()
    workdir.config.write_bytes(content)
    assert f"{workdir.config}: cannot be read: " in refusal(workdir, config)
    assert workdir.config.read_bytes() == content


def test_parts_can_be_moved_aside_repeatedly_without_overwriting_any(workdir):
    workdir.path.mkdir()
    for content in ("first", "second", "third"):
        workdir.results.write_text(content)
        workdir.generator.mkdir()
        (workdir.generator / "weights").write_text(content)
        workdir.move_aside(workdir.results, workdir.generator)
        assert workdir.written() == []
    for number, content in enumerate(("first", "second", "third"), 1):
        assert (workdir.path / f"results.replaced-{number}.json").read_text() == content
        assert (workdir.path / f"generator.replaced-{number}" / "weights").read_text() == content
    assert len(list(workdir.path.iterdir())) == 6


def test_parts_that_do_not_exist_are_not_moved_aside(workdir):
    workdir.path.mkdir()
    workdir.move_aside(workdir.results, workdir.picture)
    assert list(workdir.path.iterdir()) == []


def test_only_existing_parts_are_listed_as_written(workdir):
    workdir.path.mkdir()
    workdir.picture.write_bytes(b"")
    workdir.classifier.mkdir()
    (workdir.path / "notes.txt").write_text("mine")
    assert workdir.written() == [workdir.picture, workdir.classifier]
    workdir.generator.mkdir()
    workdir.baseline.mkdir()
    for file in (workdir.results, workdir.report, workdir.model_card, workdir.held_out, workdir.masks_picture):
        file.write_text("{}")
    pages = ["results.json", "report.html", "model_card.md", "held_out.csv"]
    parts = [*pages, "mixing.png", "masks.png", "generator", "classifier", "baseline"]
    assert workdir.written() == [workdir.path / part for part in parts]


@pytest.mark.parametrize("seeds", ["", "0,1"])
def test_a_refused_run_leaves_no_folder_behind(tmp_path, seeds):
    import chimeramix_jax

    config = settings.load("image_folder:baseline")
    photos = tmp_path / "photos"
    photos.mkdir()
    config.dataset.directory, config.dataset.data_dir, config.seeds = str(photos), str(tmp_path / "data"), seeds
    train = chimeramix_jax.train_and_evaluate_seeds if seeds else chimeramix_jax.train_and_evaluate
    with pytest.raises(InputError, match="contains no class folders"):
        train(config, tmp_path / "runs" / "mine")
    assert list(tmp_path.iterdir()) == [photos]


def test_a_directory_that_may_not_be_entered_is_refused(workdir, monkeypatch):
    workdir.path.mkdir()
    exists = Path.exists

    def closed(path, **options):  # root may enter everywhere
        if path.is_relative_to(workdir.update):
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **options)

    monkeypatch.setattr(Path, "exists", closed)
    with pytest.raises(InputError, match=r"^--workdir=.*/run: cannot be read: Permission denied$"):
        workdir.read_config()


def test_only_what_a_killed_process_was_writing_as_a_part_of_the_run_is_removed(workdir):
    ending = "0123456789abcdef.part"
    kept = (f".model.onnx.{ending}", "notes.part", "config.json")  # the first one may be written at this moment
    workdir.path.mkdir()
    for name in (*kept, f".config.json.{ending}", f".held_out.csv.{ending}"):
        (workdir.path / name).touch()
    (workdir.path / f".generator_kept.{ending}" / "generator").mkdir(parents=True)
    workdir.remove_unfinished()
    assert {path.name for path in workdir.path.iterdir()} == set(kept)
