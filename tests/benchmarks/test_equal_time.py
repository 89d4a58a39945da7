"""The comparison at equal processor time: recipes as text, epochs from short runs, and the table."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import equal_time
from benchmarks.equal_time import Epochs, Recipe, Study
from chimeramix_jax.errors import InputError

TINY = (
    ("classifier.model", "wrn-10-1"),
    ("classifier.image_side", "8"),
    ("classifier.growing_sides", ""),
    ("classifier.batch_size", "4"),
    ("classifier.num_dataset_repeats_base", "2"),
)
PLAIN = Recipe("plain", "mixup_trivialaugment", TINY)
MIXED = Recipe("mixed", "chimeramix_grid", TINY)


@pytest.fixture
def images(tmp_path):
    """Ten noisy images of each of two grey levels, without test images."""
    random = np.random.default_rng(0)
    for name, grey in (("dark", 60), ("light", 180)):
        folder = tmp_path / "images" / "train" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = grey + random.integers(-40, 41, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def study(images, tmp_path):
    def make(*recipes, seconds=30.0, seeds=(0, 1)):
        return Study(str(images), 2, seconds, recipes, seeds, "validation", tmp_path / "study")

    return make


@pytest.fixture
def costs(monkeypatch):
    """Runs that take 10 s, 2 s per epoch of the classifier and 5 s per epoch of the generator; returns all of them."""
    runs = []

    def run(config, workdir):
        assert workdir not in [place for place, *_ in runs], "a finished run takes no time"
        mixes = config.mixing.mask != "none"
        runs.append((workdir, config.generator.epochs if mixes else 0, config.classifier.epochs))
        results = {"top1": 0.5 + 0.1 * config.seed + 0.05 * mixes, "examples": 16}
        seconds = 10 + 2 * config.classifier.epochs + (5 * config.generator.epochs if mixes else 0)
        return {"validation": results, "versions": {}, "git_commit": "0"}, seconds

    monkeypatch.setattr(equal_time, "_run", run)
    return runs


def test_both_stages_together_take_the_given_time(study, costs):
    mixed = Recipe("mixed", "chimeramix_grid", (*TINY, ("generator.epochs", "20")))
    compared = study(PLAIN, mixed, seconds=200.0)
    compared.train()
    assert compared.epochs(PLAIN) == Epochs(0, 100, 0.0, 2.0)
    assert compared.epochs(mixed) == Epochs(20, 50, 5.0, 2.0)
    trained = [run for run in costs if "timing" not in run[0].parts]
    assert [run[1:] for run in trained] == [(0, 100), (20, 50)] * 2  # of two seeds, which share the measurement


@pytest.mark.parametrize("noise", [0.0, -2.0, 3.0, 8.0])
def test_epochs_are_measured_even_if_the_rest_of_a_run_varies_by_more_than_they_take(noise):
    runs = []

    def seconds(epochs):
        runs.append(epochs)
        return 10.0 + 0.25 * epochs + (noise if len(runs) == 1 else 0.0)  # eight more epochs are two seconds

    assert equal_time.seconds_per_epoch(seconds, 4, 12) == pytest.approx(0.25, rel=0.25)
    assert runs[:2] == [4, 12]


def test_epochs_that_take_no_time_are_not_divided_by():
    with pytest.raises(InputError, match="too little time"):
        equal_time.seconds_per_epoch(lambda epochs: 10.0, 4, 12)


def test_a_generator_that_leaves_no_time_is_refused(study, costs):
    with pytest.raises(
        InputError, match=r"^--seconds=30: the generator of mixed takes 125; set generator.epochs lower$"
    ):
        study(MIXED).train()


def test_an_interrupted_measurement_starts_anew(study, costs, monkeypatch, tmp_path):
    run = equal_time._run

    def interrupted(config, workdir):
        workdir.mkdir(parents=True)
        (workdir / "checkpoint").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(equal_time, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(PLAIN).train()
    monkeypatch.setattr(equal_time, "_run", run)
    study(PLAIN).train()
    assert not list((tmp_path / "study" / "timing").rglob("checkpoint"))


def test_the_table_has_differences_paired_by_seed(study, costs):
    compared = study(PLAIN, MIXED, seconds=200.0)
    compared.train()
    plain, mixed = (line.split() for line in equal_time.table(compared).splitlines()[-2:])
    assert plain[:4] == ["plain", "0", "+", "100"] and plain[5] == "55.00"
    assert (plain[4], mixed[4]) == ("210", "211")  # 10, and the epochs that come nearest to 200
    assert mixed[5] == "60.00" and "+5.00 ±0.00" in equal_time.table(compared) and mixed[-3:] == ["2", "of", "2"]


def test_what_is_finished_is_not_trained_again_and_another_time_is_refused(study, costs):
    study(PLAIN).train()
    before = len(costs)
    study(PLAIN).train()
    assert len(costs) == before
    with pytest.raises(InputError, match=r"study.json: seconds was 30.0, now it is 60.0; choose another --workdir"):
        study(PLAIN, seconds=60.0).check()
    longer = Recipe("plain", "mixup_trivialaugment", (*TINY, ("classifier.dropout_rate", "0.3")))
    with pytest.raises(InputError, match=r"plain.json: changes was"):
        study(longer).check()


def test_results_of_other_photos_are_refused_and_those_of_a_moved_folder_are_not(study, costs, images, tmp_path):
    study(PLAIN).train()
    moved = images.rename(tmp_path / "moved")
    elsewhere = dataclasses.replace(study(PLAIN), images=str(moved))
    elsewhere.check()
    result = elsewhere._result_file(PLAIN, 0)
    stored = json.loads(result.read_text())
    Image.new("RGB", (32, 32)).save(moved / "train" / "dark" / "3.png")
    with pytest.raises(InputError, match=r"seed\d/plain.json: was measured on other images than .*moved has now"):
        elsewhere.check()
    for seed in (0, 1):  # as earlier versions stored it, whose results are known by the folder's name
        earlier = {key: value for key, value in stored.items() if key != "data"}
        elsewhere._result_file(PLAIN, seed).write_text(json.dumps(earlier))
    with pytest.raises(InputError, match=r"^--images: was '.*images', now it is '.*moved'"):
        elsewhere.check()
    moved.rename(images)
    study(PLAIN).check()


def test_the_length_of_the_training_is_not_a_recipes_to_change(study):
    with pytest.raises(InputError, match=r"--recipe=long: classifier.epochs cannot be changed"):
        study(Recipe("long", "baseline", (("classifier.epochs", "300"),))).check()


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """A processor that takes 5 s for each epoch of a classifier and 20 s for one of a generator, and no other time."""

    def spent():
        finished = dict.fromkeys(("classifier", "generator"), 0)
        for metrics in tmp_path.rglob("metrics.jsonl"):
            finished[metrics.parent.name] += metrics.read_text().count("\n")
        return 5.0 * finished["classifier"] + 20.0 * finished["generator"]

    monkeypatch.setattr(equal_time.time, "process_time", spent)


@pytest.mark.slow
def test_a_real_study_measures_and_trains_a_recipe(study, tmp_path, clock):
    """In particular, a run that measures the generator's epochs trains one, even with others beside it."""
    small = (("channels", "4"), ("discriminator_channels", "4"), ("residual_blocks", "1"), ("batch_size", "4"))
    generator = (*small, ("num_dataset_repeats_base", "2"), ("epochs", "2"))
    mixed = Recipe("mixed", "chimeramix_grid", (*TINY, *((f"generator.{key}", v) for key, v in generator)))
    compared = study(mixed, seconds=60.0, seeds=(3,))
    compared.check()
    compared.train()
    assert compared.epochs(mixed) == Epochs(2, 4, 20.0, 5.0)
    row = json.loads((tmp_path / "study" / "seed3" / "mixed.json").read_text())
    assert row["examples"] == 11 and 0 <= row["top1"] <= 1 and row["processor_seconds"] == 60.0


@pytest.mark.parametrize("text", ["plain", "plain:", "two words:baseline", "plain:baseline,classifier.epochs"])
def test_a_recipe_that_is_not_one_is_refused(text):
    with pytest.raises(InputError, match=r"must be NAME:EXPERIMENT\[,SETTING=VALUE...\]"):
        Recipe.parse(text)


def test_a_recipe_is_read_from_its_text():
    assert Recipe.parse("mixed:chimeramix_grid,augment.mixup=true") == Recipe(
        "mixed", "chimeramix_grid", (("augment.mixup", "true"),)
    )
