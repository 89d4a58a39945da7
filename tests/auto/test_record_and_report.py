"""The record of a choice on the report's page, and runs whose recipe was chosen among other runs."""

import re

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax import report
from chimeramix_jax.auto import menu
from chimeramix_jax.auto.halving import Schedule, minutes_in_words
from chimeramix_jax.auto.record import Record, RungRecord, Tried
from chimeramix_jax.command_line import actions, device_settings, main_command
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.errors import InputError
from chimeramix_jax.report import auto_choice
from chimeramix_jax.reporting.statistics import wilson_interval
from chimeramix_jax.runtime import backend
from chimeramix_jax.summary.trials import find_runs
from tests.report import finished_run


def record():
    """Returns the record of two recipes on two folds; the first is right on 7 of 10 images, the second on 6."""

    def tried(recipe, fold, right):
        return Tried(recipe, fold, f"auto/rung-1/{fold}/{recipe}", 60.0, [0] * right + [1] * (5 - right), [0] * 5)

    runs = [tried("plain", 1, 3), tried("mixed", 1, 4), tried("plain", 2, 4), tried("mixed", 2, 2)]
    schedules = {"plain": Schedule(0, 12), "mixed": Schedule(5, 7)}
    rung = RungRecord(90.0, 2, 600.0, schedules, runs, ["plain"])
    requested = {"minutes": 10, "classifier": {"epochs": 128}}
    return Record(requested, 500.0, {}, [rung], "plain", 0.7, 0.034, Schedule(0, 99))


def test_the_page_shows_everything_that_was_tried_and_the_correction(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    report.write(workdir, dataset, predictions)
    assert "How the recipe was chosen" not in workdir.report.read_text()
    record().write(workdir)
    report.write(workdir, dataset, predictions)
    text = workdir.report.read_text()
    page = " ".join(re.sub("<[^>]*>", " ", text).split())
    assert '<a href="#choice">Choice</a>' in text and '<section id="choice">' in text
    assert "How the recipe was chosen" in page and "plain was the most accurate" in page
    assert re.search(r"plain 70 % \d+ % to \d+ % none 12 2m 00s yes mixed 60 % \d+ % to \d+ % 5 7 2m 00s no", page)
    assert "The winner's accuracy on the folds is 70 %; 3.4 percentage points are subtracted." in page
    grouped = record()
    grouped.rungs[0].effective = {"plain": 4.0, "mixed": 2.5}
    grouped.write(workdir)
    assert Record.read(workdir).rungs[0].effective == grouped.rungs[0].effective
    rows = auto_choice.content(workdir)["rungs"][0]["rows"]
    assert [row["interval"] for row in rows] == [wilson_interval(0.7 * 4, 4), wilson_interval(0.6 * 2.5, 2.5)]
    card = workdir.model_card.read_text()
    assert "compared 2 recipes on folds of the training images, and plain was the most accurate." in card
    assert "about 3.4 percentage points too high, because it was chosen by them. The accuracy above was meas" in card
    assert "1000 bootstrap samples" in page and "trained for 99 epochs instead of the usual 128, since" in page
    as_usual = record()
    as_usual.requested["classifier"]["epochs"] = 99
    as_usual.write(workdir)
    report.write(workdir, dataset, predictions)
    text = workdir.report.read_text()
    assert "trained for 99 epochs" in text and "instead of the usual" not in text


def test_the_first_recipe_is_said_to_be_chosen_because_no_other_is_clearly_ahead(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    kept = record()
    kept.winner, kept.rungs[0].kept, kept.left_out = "mixed", ["mixed"], ["other", "third"]
    kept.write(workdir)
    assert Record.read(workdir).left_out == ["other", "third"]
    report.write(workdir, dataset, predictions)
    page = " ".join(re.sub("<[^>]*>", " ", workdir.report.read_text()).split())
    because = "was chosen, because no other was ahead of it by more than the standard error of the difference."
    assert f"mixed {because}" in page and "was the most accurate" not in page
    assert "There was no time to compare other, third." in page
    assert f"and mixed {because}" in " ".join(workdir.model_card.read_text().split())


def test_a_time_that_was_too_short_to_compare_anything_is_named(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    alone = record()
    alone.rungs, alone.accuracy, alone.optimism, alone.left_out = [], None, None, ["mixed", "other"]
    alone.write(workdir)
    report.write(workdir, dataset, predictions)
    page = " ".join(re.sub("<[^>]*>", " ", workdir.report.read_text()).split())
    assert "The whole run was given 10 minutes, which was too short to compare recipes." in page
    assert "There was no time to compare mixed, other." in page and "no other recipe" not in page


def test_recipes_that_diverged_are_said_to_have(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    diverged = record()
    diverged.rungs[0].schedules |= {"wild": Schedule(0, 3), "mixed": Schedule(5, 7)}
    del diverged.rungs[0].tried[3]  # mixed, in the second fold
    diverged.diverged = {"wild": "rung-1, fold 1: not finite", "mixed": "rung-1, fold 2: not finite in epoch 2"}
    diverged.write(workdir)
    assert Record.read(workdir).diverged == diverged.diverged
    report.write(workdir, dataset, predictions)
    page = " ".join(re.sub("<[^>]*>", " ", workdir.report.read_text()).split())
    assert re.search(r"plain 70 % .* yes (mixed|wild) diverged .* no (mixed|wild) diverged", page)
    assert "mixed diverged and was left out from then on (rung-1, fold 2: not finite in epoch 2)." in page
    assert "3 recipes were tried" in page and "plain was the only one whose training did not diverge" in page
    assert "points are subtracted" not in page and "was the most accurate" not in page
    card = " ".join(workdir.model_card.read_text().split())
    assert "The program tried 3 recipes on folds of the training images, and plain was the only one whose tr" in card


def test_a_recipe_that_is_left_because_all_others_diverged_at_once_was_not_given(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    alone = record()
    del alone.rungs[0].schedules["mixed"], alone.rungs[0].tried[1::2]
    alone.diverged = {"mixed": "timing: not finite in epoch 1"}
    alone.write(workdir)
    report.write(workdir, dataset, predictions)
    page = " ".join(re.sub("<[^>]*>", " ", workdir.report.read_text()).split())
    assert "plain was the only one whose training did not diverge" in page
    assert "no other recipe was tried" not in page
    assert "a single run of a given recipe" not in workdir.model_card.read_text()


def test_a_damaged_record_is_refused_when_the_page_is_drawn(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog", "owl"))
    workdir.auto_record.write_text("{}")
    with pytest.raises(InputError, match=r"auto.json: cannot be read: KeyError"):
        report.write(workdir, dataset, predictions)


def test_runs_that_were_tried_are_not_summarised(tmp_path):
    tried = tmp_path / "mine" / "auto" / "timing" / "fold-1-of-2" / "plain"
    tried.mkdir(parents=True)
    (tried / "config.json").write_text("{}")
    (tmp_path / "mine" / "auto.json").write_text("{}")
    assert [run.path for run in find_runs(tmp_path, on_error=print)] == [tmp_path / "mine"]


def test_every_recipe_of_the_menu_has_valid_settings_that_change_nothing_else():
    config = settings.load("digits:auto")
    assert config.experiment == "auto" and len(set(menu.MENU)) == len(menu.MENU)
    for recipe in menu.MENU:
        own = menu.config_of(recipe, config, Schedule(3, 4))
        settings.check(own)
        assert (own.experiment, own.classifier.epochs, own.compare_with_baseline) == (recipe, 4, False)
        expected = settings.load(f"digits:{recipe}")
        expected.classifier.epochs = 4
        expected.generator.epochs = 3
        assert settings.differences(expected, own) == []
    assert config.mixing.mask == "grid" and config.experiment == "auto"  # the given settings are unchanged


def test_a_setting_that_recipes_set_themselves_is_said_to_be_theirs(capsys):
    changes = ["--config.augment.policy=randaugment", "--config.classifier.learning_rate=0.5"]
    recipes = "--config.recipes=baseline,mixup_trivialaugment,cutmix"
    parsed = main_command.parse_arguments(["--config=digits:auto", recipes, *changes])
    actions._say_what_recipes_set(parsed)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == ("chimeramix: warning: augment.policy: is overridden by mixup_trivialaugment")


@pytest.mark.parametrize("flag", ["--retrain", "--generator_workdir=runs/other"])
def test_flags_that_a_limited_time_leaves_without_effect_are_refused_without_speaking_of_a_choice_alone(flag):
    parsed = main_command.parse_arguments(
        ["--config=image_folder", "--config.dataset.directory=tests", "--minutes=5", flag]
    )
    with pytest.raises(InputError, match=rf"^{flag.partition('=')[0]}: cannot be used with --minutes or a choice"):
        actions._choose(parsed)


def test_recipes_with_the_same_masks_share_generators():
    config = settings.load("digits:auto")
    families = {recipe: menu.family(recipe, config) for recipe in menu.MENU}
    assert families["chimeramix_grid"] == families["chimeramix_grid_trivialaugment"] == "grid"
    assert families["chimeramix_segmentation"] == "segmentation"
    assert families["baseline_trivialaugment"] == families["mixup_trivialaugment"] == ""
    assert menu.usual_schedule(menu.MENU[0], config).generator == 0
    assert "auto" not in EXPERIMENTS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--config=digits", "--minutes=5", "--config.mixing.mask=none"],
            "--minutes: trains experiment chimeramix_grid as it is, but mixing.mask, which it sets, was changed",
        ),
        (["--config=digits", "--minutes=5", "--config.classifier.epochs=3"], "classifier.epochs was set, but"),
        (["--config=digits", "--minutes=5", "--config.recipes=cutmix"], "recipes: 'cutmix', but --minutes trains exp"),
        (["--config=digits", "--minutes=5", "--config.minutes=9"], "minutes: is set twice, to '5.0' and '9'"),
        (["--config=digits", "--config.minutes=5", "--config.classifier.epochs=3"], "classifier.epochs was set, but"),
        (["--config=digits:auto", "-config.classifier.epochs=3"], "--minutes: classifier.epochs was set, but"),
        (
            ["--config=digits", "--minutes=5", "--config.seeds=0:2"],
            "seeds: '0:2', but --minutes plans the time for a single seed; it must be empty",
        ),
        (["--config=digits", "--minutes=5", "--fold_repeats=2"], "fold_repeats: 2, but --minutes plans the time for a"),
        (
            ["--config=digits", "--minutes=5", "--config.classifier.members=5"],
            "classifier.members: 5, but --minutes plans the time for a single network; it must be 1",
        ),
        (["--config=digits:auto", "--minutes=5", "--config.seeds=0:2"], "seeds: '0:2', but to choose a recipe"),
        (
            ["--config=digits:auto", "--minutes=0"],
            "--minutes: '0' is not allowed; it must be a number of minutes above 0",
        ),
        (["--config=digits:auto", "--config.minutes=0"], "minutes: 0.0 is not allowed"),
    ],
)
def test_times_that_do_not_fit_are_refused(arguments, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        main_command.parse_arguments(arguments)
    assert main_command.parse_arguments(["--config=digits:auto", "--minutes=5"]).config.minutes == 5


def test_an_experiment_that_the_program_does_not_know_is_not_trained_for_a_given_time(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from chimeramix_jax.config import load\n"
        "def get_config():\n    config = load('digits')\n    config.experiment = 'own'\n    return config\n"
    )
    with pytest.raises(InputError, match="--minutes: experiment 'own' is not known to the program"):
        main_command.parse_arguments([f"--config={file}", "--minutes=5"])


@pytest.mark.parametrize("seconds", [61, 89, 290, 400])
def test_the_least_time_that_a_message_names_can_be_given(seconds):
    least = minutes_in_words(seconds)
    config = main_command.parse_arguments(["--config=digits:auto", f"--minutes={least}"]).config
    assert config.minutes >= seconds / 60


def test_a_choice_among_one_recipe_has_what_the_config_file_sets_for_it(tmp_path):
    folder = f"--config.dataset.directory={tmp_path}"
    for flags in (["--config=image_folder", "--minutes=5"], ["--config=image_folder:auto", "--minutes=5"]):
        parsed = main_command.parse_arguments([*flags, folder, "--config.recipes=mixup_trivialaugment"])
        assert menu.config_of("mixup_trivialaugment", parsed.config).classifier.batch_statistics == "running"
    several = main_command.parse_arguments(["--config=image_folder:auto", folder]).config
    assert menu.config_of("mixup_trivialaugment", several).classifier.batch_statistics == "unmixed"


def test_a_given_experiment_with_minutes_is_a_choice_among_it_alone():
    arguments = ["--config=digits:cutout", "--minutes=5", "--config.classifier.learning_rate=0.5"]
    config = main_command.parse_arguments(arguments).config
    assert (config.experiment, menu.recipes_of(config), config.minutes) == ("auto", ("cutout",), 5)
    recipe = menu.config_of("cutout", config)
    assert (recipe.experiment, recipe.augment.cutout, recipe.classifier.learning_rate) == ("cutout", True, 0.5)
    assert "auto-cutout" in settings.default_workdir(config)


@pytest.mark.parametrize("on_a_gpu", [False, True])
@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if "simclr" not in name])
def test_minutes_change_nothing_but_the_epochs_of_an_experiment(experiment, on_a_gpu, tmp_path, monkeypatch):
    """A config file may have other settings for its default than for the rest, as those of folders have."""
    monkeypatch.setattr(backend, "on_accelerator", lambda: on_a_gpu)

    def parsed(*more):
        flags = [f"--config=image_folder:{experiment}", f"--config.dataset.directory={tmp_path}", "--config.folds=2"]
        found = main_command.parse_arguments([*flags, *more])
        return device_settings.chosen(found.config, found.source, found.overrides, None)

    alone, in_time = parsed(), menu.config_of(experiment, parsed("--minutes=5"))
    assert settings.differences(alone, in_time) == []
    assert alone.classifier.image_side == (96 if on_a_gpu else 32)
