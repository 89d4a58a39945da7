"""The ranking of trials, and the best as a config file."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import tune
from chimeramix_jax.tune import outcome, page
from chimeramix_jax.tune.outcome import DONE, FAILED, PRUNED, Ranking, TrialRecord
from chimeramix_jax.tune.space import Choice, Range
from chimeramix_jax.tune.trial import Plan
from tests.data.own_images import write_images, write_table

SPACE = (
    Range("classifier.learning_rate", 0.01, 1.0, True, False),
    Range("classifier.epochs", 5, 20, False, True),
    Choice("augment.policy", ("none", "trivialaugment")),
    Choice("augment.cutout", (True, False)),
)


def record(number, accuracy, state=DONE, rate=0.1, **more):
    values = {
        "classifier.learning_rate": rate,
        "classifier.epochs": 5 + number,
        "augment.policy": "trivialaugment",
        "augment.cutout": True,
    }
    return TrialRecord(number, state, values, accuracy, 200 if state == DONE else 0, 12.5, **more)


@pytest.fixture
def ranking():
    trials = [record(0, 0.5), record(1, 0.7), record(2, 0.75, PRUNED), record(3, 0.7), record(4, np.nan, FAILED)]
    return Ranking.of([*trials, *(record(number, 0.1) for number in range(5, 9))])


@pytest.fixture
def plan(tmp_path):
    def make(*overrides, source="digits:baseline"):
        config = settings.load(source)
        settings.override(config, overrides)
        return Plan(tmp_path, source, overrides, config, prunes=True)

    return make


def loaded(folder):
    return settings.load(str(folder / outcome.BEST))


def test_the_best_is_the_first_of_the_most_accurate_that_are_done(ranking):
    assert [trial.number for trial in ranking.finished][:3] == [1, 3, 0]
    assert outcome.counts(ranking) == "trials: 7 done, 1 stopped early, 1 failed"


def test_the_bootstrap_draws_images_and_not_predictions(plan, tmp_path):
    repeated = plan("--config.folds=2", "--config.fold_repeats=3")
    for number in (0, 1):
        for index, folder in enumerate(repeated.folders_of_runs(number)):
            folder.mkdir(parents=True)
            answers = ["a", "b"] if (index + number) % 2 else ["a", "a"]
            lines = [f"{index % 2}-{image},a,{answer}" for image, answer in enumerate(answers)]
            (folder / "held_out.csv").write_text("\n".join(["image,true_class,predicted_class", *lines]))
    correct = outcome._correct([0, 1], repeated)
    assert correct.tolist() == [[True, True, True, False], [True, False, True, True]]
    spoilt = repeated.folders_of_runs(1)[0] / "held_out.csv"
    for content in ("image,true_class,predicted_class\nkäse,a,a\n".encode("cp1252"), b'image,true_class\n"a\0",b\n'):
        spoilt.write_bytes(content)  # as a spreadsheet may
        assert outcome._correct([0, 1], repeated) is None


def test_the_bootstrap_draws_images_that_belong_together_at_once(plan):
    of_folds, random = plan("--config.folds=2"), np.random.default_rng(0)
    names = [f"{number:03}.jpg" for number in range(200)]
    units = {name: f"object {number // 10}" for number, name in enumerate(names)}
    trials = []
    for number in range(6):
        right = np.repeat(random.random(20) < 0.6, 10)
        trials.append(record(number, right.mean()))
        for fold, folder in enumerate(of_folds.folders_of_runs(number)):
            folder.mkdir(parents=True)
            rows = [(name, "a", "a" if good else "b") for name, good in zip(names, right, strict=True)][fold::2]
            lines = [",".join(row) for row in random.permutation(rows)]
            (folder / "held_out.csv").write_text("\n".join(["image,true_class,predicted_class", *lines]))
    alone = Ranking.of(trials, of_folds)
    assert Ranking.of(trials, of_folds, {name: name for name in names}).optimism == alone.optimism
    assert Ranking.of(trials, of_folds, units).optimism > 2 * alone.optimism > 0


@pytest.mark.parametrize("folds", [0, 3])
def test_images_of_a_group_are_known_by_the_names_that_the_predictions_have(tmp_path, folds):
    write_images(tmp_path / "photos", 24)
    rows = [(f"photos/{n}.png", ("dog", "cat")[n % 2], f"patient {n // 4}") for n in range(24)]
    config = settings.load("image_folder:baseline")
    config.dataset.directory = str(write_table(tmp_path / "photos.csv", rows, header="path,label,group"))
    config.dataset.data_dir, config.folds = str(tmp_path / "data"), folds
    config.max_labels_per_class = None if folds else 2
    judged = tune._validation_data(config)
    found = tune._units(judged, tune._divided_into_folds(config))
    assert set(judged.held_out.names) <= set(found)
    assert all(found[file] == f"group {group}" for file, _, group in rows if file in found)
    assert len(set(found.values())) == 6 if folds else 0 < len(set(found.values())) < len(found)


def test_the_table_shows_five_trials_at_most_and_fits_a_terminal(ranking):
    text = outcome.table(ranking, SPACE)
    assert text.splitlines()[0].split() == ["trial", "1", "3", "0"] and max(map(len, text.splitlines())) < 80
    assert len(outcome.table(ranking, SPACE[:2]).splitlines()[0].split()) == 6


def test_the_csv_file_has_every_trial(ranking, plan, tmp_path):
    outcome.write_table(tmp_path / "all.csv", ranking, SPACE, plan())
    with open(tmp_path / "all.csv", newline="") as table:
        lines = list(csv.DictReader(table))
    assert [line["accuracy"] for line in lines][:5] == ["0.500000", "0.700000", "0.750000", "0.700000", ""]
    assert lines[2]["workdir"] == "trials/2" and lines[2]["state"] == PRUNED


def test_the_config_file_has_the_best_values_upon_those_of_all_trials(ranking, plan, tmp_path):
    given = ["--config.classifier.dropout_rate=0.25", "--config.classifier.epochs=3", "--config.max_labels_per_class=4"]
    outcome.write_best(tmp_path / outcome.BEST, ranking, plan(*given), "chimeramix", only_folds=False)
    config, base = loaded(tmp_path), settings.load("digits:baseline")
    settings.check(config)
    assert settings.differences(base, config) == [
        "max_labels_per_class: 5 stored, 4 requested",
        "augment.cutout: False stored, True requested",
        "augment.policy: 'none' stored, 'trivialaugment' requested",
        "classifier.dropout_rate: 0.3 stored, 0.25 requested",
        "classifier.epochs: 20 stored, 6 requested",
    ]
    assert config.classifier.learning_rate == 0.1


@pytest.mark.parametrize(("only_folds", "folds"), [(False, 0), (True, 5)])
def test_folds_measure_the_final_model_only_where_there_are_no_test_images(ranking, plan, tmp_path, only_folds, folds):
    best = tmp_path / outcome.BEST
    outcome.write_best(best, ranking, plan("--config.folds=5"), "chimeramix", only_folds=only_folds)
    assert loaded(tmp_path).folds == folds
    assert ("All images took part in the search" in best.read_text()) == only_folds


def test_a_config_file_of_ones_own_is_named_by_its_full_path(ranking, plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('own "file".py').write_text(
        "from chimeramix_jax.config import load\n\n\ndef get_config(name):\n    return load(f'digits:{name}')\n"
    )
    own = plan(source='own "file".py:mixup')
    outcome.write_best(tmp_path / outcome.BEST, ranking, own, 'python "a\\b"""', only_folds=False)
    monkeypatch.chdir("/")
    assert loaded(tmp_path).experiment == "mixup"


def test_the_page_shows_every_trial_with_an_accuracy_in_every_slice(ranking, plan):
    slices = page.slices(ranking, SPACE)
    assert [one.key for one in slices] == [dimension.key for dimension in SPACE]
    assert all(len(one.marks) == 8 for one in slices)
    assert [mark.style for mark in slices[0].marks].count("best") == 1
    (rate,) = {mark.x for mark in slices[0].marks}
    assert rate == pytest.approx((48 + 330) / 2)  # halfway between 0.01 and 1 on a logarithmic scale
    importance = {dimension.key: 0.25 for dimension in SPACE}
    text = page.write(ranking, SPACE, importance, plan(), "Search of <digits>").read_text()
    assert "Search of &lt;digits&gt;" in text and text.count("25%") >= 4
    assert "Too few trials are finished" in page.write(ranking, SPACE, None, plan(), "Search").read_text()


@pytest.mark.parametrize("with_test", [True, False])
def test_a_folder_without_test_images_is_known(tmp_path, data_dir, with_test):
    for split in ("train", "test")[: 1 + with_test]:
        for name in ("apple", "pear"):
            for number in range(3):
                path = tmp_path / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng([len(split), len(name), number]).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(path)
    config = settings.load("image_folder:baseline")
    config.update_from_flattened_dict(
        {"dataset.directory": str(tmp_path), "dataset.data_dir": str(data_dir), "dataset.image_side": 8, "folds": 2}
    )
    assert bool(len(tune._divided_into_folds(config).held_out.labels)) == with_test
