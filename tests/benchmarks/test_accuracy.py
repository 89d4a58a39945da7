"""The accuracy comparison: whole trainings of both sides, tiny, and what is made of their results."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from benchmarks import accuracy
from benchmarks.accuracy_generators import compare as compare_generators
from benchmarks.accuracy_mixes import compare as compare_mixes
from benchmarks.accuracy_settings import ARMS, Sizes, config_of, dataset_config
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import shared_generator
from chimeramix_jax.runs.workdir import Workdir

# Epochs of 2 classes x 3 images x 1 in batches of 4 and 2.
TINY = Sizes(
    channels=4,
    discriminator_channels=4,
    residual_blocks=1,
    images_per_epoch=3,
    generator_batch_size=4,
    generator_epochs=2,
    width=1,
    classifier_batch_size=4,
    classifier_epochs=4,
    test_batch_size=3,
)
SEEDS = (0, 1, 2)


@pytest.fixture
def images(tmp_path):
    """Noise around a grey level of its own for each class: 4 images to train with and 2 to test on."""
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name, grey in (("dark", 60), ("light", 180)):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = grey + random.integers(-40, 41, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def compare(images, tmp_path):
    def make(*sides, arms=("baseline", "coin", "every"), workdir="work", sizes=TINY, images_per_class=3):
        return accuracy.Comparison(
            str(images), images_per_class, (0,), arms, sides, tmp_path / workdir, threads=1, sizes=sizes
        )

    return make


@pytest.fixture
def twin():
    pytest.importorskip("torch").set_num_threads(1)  # as networks this small are fastest
    return pytest.importorskip("benchmarks.accuracy_twin")


def result(side, seed, arm, top1):
    machine = {"cores": 2, "processor": "a processor", "threads": 1}
    about = {
        "machine": machine,
        "finished": f"2026-01-0{seed + 1}T12:00:00+00:00",
        "versions": {side: "1.0", "absent": None},
    }
    seconds = {"classifier": 10.0 + seed} | ({} if arm == "baseline" else {"generator": 100.0})
    return about | {"side": side, "seed": seed, "arm": arm, "top1": top1, "seconds": seconds}


@pytest.fixture
def results():
    """Of three seeds, the last of which lacks ours with the coin."""
    top1 = {
        ("ours", "baseline"): (0.30, 0.34, 0.35),
        ("twin", "baseline"): (0.31, 0.33, 0.31),
        ("ours", "coin"): (0.36, 0.40),
        ("twin", "coin"): (0.35, 0.36, 0.40),
    }
    return {
        (side, seed, arm): result(side, seed, arm, value)
        for (side, arm), values in top1.items()
        for seed, value in enumerate(values)
    }


def test_means_and_differences_are_of_the_seeds_that_have_all_they_need(results):
    found = accuracy.estimates(results, SEEDS, ("baseline", "coin"))
    assert found["baseline, ours"].mean == pytest.approx(33)
    assert found["coin, twin"].mean == pytest.approx(37)
    assert found["coin, ours"].count == 2
    paired = found["baseline, ours - twin"]
    assert paired.mean == pytest.approx(4 / 3)
    expected = stats.t.interval(0.95, 2, loc=4 / 3, scale=stats.sem([-1, 1, 4]))
    assert paired.interval == pytest.approx(expected)
    assert found["coin - baseline, twin"].mean == pytest.approx((4 + 3 + 9) / 3)
    assert found["coin - baseline, ours"].mean == pytest.approx(6)
    assert found["coin - baseline, ours - twin"].mean == pytest.approx((6 - 4 + 6 - 3) / 2)


def test_tables_name_what_is_unfinished_and_of_how_many_seeds_a_mean_is(results):
    lines = accuracy.tables(results, SEEDS, ("baseline", "coin", "every")).splitlines()
    cells = {line.split("  ")[0]: line.split()[2:] for line in lines if line.startswith("seed")}
    assert cells["seed 0"] == ["30.00", "31.00", "36.00", "35.00", "unfinished", "unfinished"]
    assert cells["seed 2"] == ["35.00", "31.00", "unfinished", "40.00", "unfinished", "unfinished"]
    means = {line.split("  ")[0]: line for line in lines}
    assert means["every"].split()[1:] == ["unfinished"] * 3
    assert "38.00 ±25.41 (2 of 3 seeds)" in means["coin"]  # t of one degree of freedom, 12.706 x 2
    assert "37.00 ±6.57" in means["coin"]
    assert "seeds" not in means["baseline"]


def test_circumstances_are_those_of_the_results(results):
    ours, *versions, twin, _ = accuracy.circumstances(results).splitlines()
    assert ours.startswith("ours: a generator 100 s, a classifier 11 s (medians); 1 of 2 cores of a processor;")
    assert ours.endswith("2026-01-01 to 2026-01-03")
    assert versions == ["  ours 1.0"]
    assert twin.startswith("twin: ")
    assert "ours: nothing is finished" in accuracy.circumstances({})


@pytest.mark.parametrize("arm", ARMS)
def test_our_settings_are_those_of_the_sizes(arm, images):
    config = config_of(dataset_config(str(images), "data", TINY), 3, 7, arm, TINY)
    assert (config.seed, config.max_labels_per_class, config.dataset.directory) == (7, 3, str(images))
    assert (config.classifier.model, config.generator.channels) == ("wrn-10-1", 4)
    assert config.mixing.mask == ("none" if arm == "baseline" else "grid")
    if arm != "baseline":
        assert config.mixing.probability == ARMS[arm]


def test_generators_that_do_not_exist_are_not_compared(compare):
    with pytest.raises(InputError, match="has no finished classifier that mixes"):
        compare_generators(compare("ours"))


def test_mixes_of_a_generator_that_does_not_exist_are_not_compared(compare):
    with pytest.raises(InputError, match="PyTorch's training of seed 0 with arm 'coin' is not finished"):
        compare_mixes(compare("twin", arms=("coin",)), 1)


def test_our_side_is_trained_once_and_other_settings_are_refused(compare, monkeypatch, capsys):
    comparison = compare("ours", arms=("coin",))
    comparison.train()
    (finished,) = comparison.results().values()
    assert 0 <= finished["top1"] <= 1
    assert finished["seconds"].keys() == {"generator", "classifier"}
    assert finished["examples"] == 4
    folder = comparison.workdir / "ours/seed0"
    every = config_of(comparison.dataset, 3, 0, "every", TINY)
    assert shared_generator.choose(Workdir(folder / "every"), every, None).path == folder / "coin"
    compare_generators(comparison)
    assert 0 < float(capsys.readouterr().out.splitlines()[-1].split()[2]) < 2
    monkeypatch.setattr(accuracy, "_train_ours", None)
    comparison.train()
    comparison.check()
    with pytest.raises(InputError, match="images_per_class was 3, now it is 2; choose another --workdir"):
        compare("ours", images_per_class=2).check()
    photos = Path(comparison.images)
    moved = dataclasses.replace(comparison, images=str(photos.rename(photos.with_name("moved"))))
    moved.check()  # the same images
    Image.new("RGB", (32, 32)).save(Path(moved.images) / "test" / "dark" / "0.png")
    with pytest.raises(InputError, match=r"coin.json: was measured on other images than .*moved has now"):
        moved.check()


def test_twin_is_trained_whole_and_reported(compare, twin, tmp_path, capsys):
    comparison = compare("twin")
    comparison.train(tmp_path / "report.json")
    results = comparison.results()
    assert [arm for _, _, arm in results] == ["baseline", "coin", "every"]
    assert all(one["top1"] in (0, 0.25, 0.5, 0.75, 1) for one in results.values())
    # The arms share a generator.
    assert results["twin", 0, "coin"]["seconds"]["generator"] == results["twin", 0, "every"]["seconds"]["generator"]
    capsys.readouterr()
    compare_generators(comparison)
    (line,) = capsys.readouterr().out.splitlines()[1:]  # our side is not finished
    seed, side, *errors = line.split()
    assert (seed, side) == ("0", "twin") and all(0 < float(error) < 2 for error in errors)
    mixes = compare_mixes(dataclasses.replace(comparison, arms=("coin",)), 100)[0]
    for kind in ("mixed", "unmixed"):
        for name, (mean, error) in mixes[f"{kind}, ours"].items():
            assert mean == pytest.approx(mixes[f"{kind}, PyTorch"][name][0], abs=6 * error), (kind, name)
    (mixed, _), (unmixed, error) = (mixes[f"{kind}, ours"]["sharpness"] for kind in ("mixed", "unmixed"))
    assert abs(mixed - unmixed) > 6 * error  # the measures tell images apart
    assert "cross-entropy" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["results"] == list(results.values())
    assert report["estimates"]["every, ours"] is None
    assert report["estimates"]["every, twin"]["mean"] == pytest.approx(100 * results["twin", 0, "every"]["top1"])


def test_interrupted_twin_ends_with_the_weights_of_one_that_was_not(compare, twin, tmp_path, monkeypatch):
    import torch

    steps = []
    train = twin.train

    def interruptible(training, iteration, *others):
        def counted(step):
            steps.append(step)
            if interrupts and len(steps) in (3, 9):  # in the generator's training, and in the classifier's
                raise KeyboardInterrupt
            iteration(step)

        return train(training, counted, *others)

    monkeypatch.setattr(twin, "train", interruptible)
    monkeypatch.setattr(twin, "CHECKPOINT_SECONDS", 0)
    interrupts = False
    compare("twin", arms=("coin",), workdir="whole").train()
    whole = list(steps)
    steps.clear()
    interrupts = True
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            compare("twin", arms=("coin",), workdir="parts").train()
    compare("twin", arms=("coin",), workdir="parts").train()
    assert steps == [0, 1, 2, 2, 3, 0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert whole == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]
    for name in ("generator", "coin"):
        ends = [torch.load(tmp_path / folder / f"twin/seed0/{name}.pt") for folder in ("whole", "parts")]
        for part, state in ends[0]["training"].items():
            if part in ("generator", "discriminator", "classifier"):
                assert all(torch.equal(value, ends[1]["training"][part][key]) for key, value in state.items())


def test_twin_refuses_the_checkpoint_of_other_images(compare, twin, images):
    comparison = compare("twin", arms=("baseline",))
    comparison.train()
    (comparison.workdir / "twin/seed0/baseline.json").unlink()
    for path in images.glob("train/dark/*"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match=r"baseline\.pt: is from other images or settings"):
        comparison.train()


@pytest.mark.parametrize(("arm", "mixed"), [("baseline", {False}), ("coin", {False, True}), ("every", {True})])
def test_twin_mixes_whole_batches_or_none(arm, mixed, compare, twin, monkeypatch):
    seen = []

    def iteration(self, a, b, labels, mask):
        seen.append(mask is not None)
        assert mask is None or len(mask) == len(a)

    monkeypatch.setattr(twin.ClassifierTraining, "iteration", iteration)
    compare("twin", arms=(arm,)).train()
    assert len(seen) == 8
    assert set(seen) == mixed


def test_batches_of_the_twin_are_pairs_of_a_class_and_epochs_show_all_images_alike(twin):
    greys = np.array([10, 20, 30, 110, 120, 130], np.uint8)
    images = np.broadcast_to(greys[:, None, None, None], (6, 16, 16, 3)).copy()
    batches = twin.Batches(images, np.array([0, 0, 0, 1, 1, 1], np.int32), 2, 5, (0, 0))
    assert batches.steps_per_epoch == 3
    drawn = [batches.draw(step) for step in range(6)]
    assert [len(a) for a, _, _ in drawn] == [5, 5, 2] * 2
    shown = [np.concatenate([(a[:, 0, 0, 0] + 1) * 127.5 for a, _, _ in drawn[first : first + 3]]) for first in (0, 3)]
    for epoch in shown:
        np.testing.assert_allclose(np.sort(epoch), np.repeat(greys, 2), atol=1e-4)
    assert not np.allclose(*shown)
    for a, b, labels in drawn:
        for side in (a, b):
            assert ((side[:, 0, 0, 0] > (50 / 127.5 - 1)) == labels.bool()).all()


def test_views_of_the_twin_are_shifted_by_an_eighth_at_most_and_mirrored_or_not(twin):
    import torch

    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    padded = np.pad(image[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")
    crops = [padded[row : row + 16, column : column + 16] for row in range(5) for column in range(5)]
    allowed = {view.tobytes() for crop in crops for view in (crop, np.ascontiguousarray(crop[:, ::-1]))}
    batches = twin.Batches(image, np.zeros(1, np.int32), 500, 500, (0, 0))
    torch.manual_seed(0)
    views = ((batches.draw(0)[0].permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
    assert {view.tobytes() for view in views} == allowed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--arms=coin,coins"], "--arms: 'coin,coins' must name some of baseline, coin, every, each once"),
        (["--sides=ours,ours"], "--sides: 'ours,ours' must name some of ours, twin, each once"),
        (["--seeds="], "--seeds: names no seed"),
        (["--seeds=5:3"], "--seeds: '5:3'"),
        (["--threads=-1"], "--threads must not be negative"),
        (["--json=nowhere/at.json"], "--json: nowhere/at.json its folder does not exist"),
    ],
)
def test_mistakes_on_the_command_line_are_named(given, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        accuracy.parse_arguments(["--images=images", "--workdir=work", *given])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_command_line_has_the_published_coin_among_its_defaults():
    arguments = accuracy.parse_arguments(["--images=images", "--workdir=work"])
    assert arguments.seeds == (0, 1, 2, 3, 4)
    assert [ARMS[arm] for arm in arguments.arms] == [0, 0.5, 1]
    assert arguments.sides == ["ours", "twin"]


def test_whole_trainings_on_the_same_draws_end_alike(images, tmp_path):
    pytest.importorskip("torch").set_num_threads(1)
    from benchmarks.accuracy_same_draws import compare as compare_on_the_same_draws

    sizes = dataclasses.replace(TINY, generator_epochs=10, classifier_epochs=20, dropout_rate=0.0)
    dataset = dataset_config(str(images), str(tmp_path / "data"), sizes)
    outcome = compare_on_the_same_draws(dataset, 3, 0, sizes)
    np.testing.assert_allclose(*outcome.errors, rtol=1e-3)
    assert len(set(outcome.accuracies)) == 1 and outcome.accuracies[0] > 0.5 and outcome.same_class == (1, 1)
    other = compare_on_the_same_draws(dataset, 3, 1, sizes)
    assert abs(other.errors[0] / outcome.errors[0] - 1) > 2e-3  # so agreement is not because all runs end there
