"""One generator for several experiments, through the real program."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from folders import contents

import chimeramix_jax
from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import shared_generator
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.workdir import Workdir


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def settings(data_dir):
    def make(experiment="chimeramix_grid", **changes):
        config = load(f"configs/digits.py:{experiment}")
        alone = {"dataset.data_dir": str(data_dir), "compare_with_baseline": False}
        config.update_from_flattened_dict(TINY | alone | changes)
        return config

    return make


@pytest.fixture
def dataset(settings):
    config = settings()
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed)


@pytest.fixture(scope="module")
def first(study, trained_run):
    """A finished run with a generator."""
    return shutil.copytree(trained_run, study / "first")


def kernel(workdir):
    return np.asarray(chimeramix_jax.restore_generator(workdir).encoder.stem.kernel[...])


def test_another_experiment_uses_the_generator_of_the_run_beside_it(first, settings, capsys):
    second = first.parent / "second"
    config = settings("chimeramix_grid_trivialaugment", **{"mixing.discriminator_candidates": 2})
    results = chimeramix_jax.train_and_evaluate(config, second)
    assert not (second / "generator").exists()
    assert f"generator: uses that of {first}" in capsys.readouterr().err
    np.testing.assert_array_equal(kernel(second), kernel(first))
    assert json.loads((second / "generator_from.json").read_text()) == {"workdir": "../first"}
    assert (second / "mixing.png").exists()
    stored = json.loads((first / "results.json").read_text())
    assert results["seconds"]["generator"] == stored["seconds"]["generator"]


@pytest.mark.slow
def test_a_run_that_differs_in_what_a_generator_depends_on_trains_its_own(first, settings):
    other = first.parent / "other-seed"
    chimeramix_jax.train_and_evaluate(settings(seed=1), other, stage="generator")
    assert (other / "generator").is_dir()
    assert np.any(kernel(other) != kernel(first))


def test_a_generator_that_left_out_epochs_to_keep_to_a_time_is_not_used_unasked(first, settings, monkeypatch):
    other = Workdir(first.parent / "another")
    assert shared_generator.choose(other, settings()).path == first
    read = shared_generator.newest
    monkeypatch.setattr(shared_generator, "newest", lambda directory: read(directory) | {"epochs_left_out": 2})
    assert shared_generator.choose(other, settings()).path == other.path


def test_a_generator_elsewhere_is_used_when_it_or_a_run_that_uses_it_is_named(first, settings, tmp_path):
    borrower, named = tmp_path / "borrower", tmp_path / "elsewhere" / "named"
    chimeramix_jax.train_and_evaluate(settings(), borrower, stage="generator", generator_workdir=first)
    chimeramix_jax.train_and_evaluate(settings(), named, stage="generator", generator_workdir=borrower)
    assert not (borrower / "generator").exists() and not (named / "generator").exists()
    for user in (borrower, named):
        np.testing.assert_array_equal(kernel(user), kernel(first))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"max_labels_per_class": 3},
        {"generator.image_side": 40},
        {"mixing.mask": "segmentation"},
        {"mixing.mix_size": 3},
        {"augment.crop_padding_fraction": 0.1},
    ],
)
def test_a_named_generator_that_was_trained_otherwise_is_refused_with_what_differs(first, settings, tmp_path, changes):
    with pytest.raises(InputError, match=f"generator_workdir={first}.*{next(iter(changes))}"):
        chimeramix_jax.train_and_evaluate(settings(**changes), tmp_path / "run", generator_workdir=first)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_named_folder_without_a_generator_is_refused(settings, tmp_path):
    with pytest.raises(InputError, match="holds no finished generator"):
        chimeramix_jax.train_and_evaluate(settings(), tmp_path / "run", generator_workdir=tmp_path / "absent")


def test_a_generator_is_refused_where_none_is_used(first, settings, tmp_path):
    with pytest.raises(InputError, match="'chimeramix_grid_direct' uses no generator"):
        chimeramix_jax.train_and_evaluate(settings("chimeramix_grid_direct"), tmp_path / "run", generator_workdir=first)


@pytest.mark.slow
def test_training_the_generator_anew_makes_an_own_one(first, settings):
    second = first.parent / "retrained"
    config = settings("chimeramix_grid_autoaugment")
    chimeramix_jax.train_and_evaluate(config, second, stage="generator", retrain=True)
    assert (second / "generator").is_dir()
    np.testing.assert_array_equal(kernel(second), kernel(first))  # the same settings and seed


def test_a_shared_generator_is_still_found_when_the_whole_folder_moves(first, settings, tmp_path):
    moved = tmp_path / "moved"
    second = first.parent / "second-to-move"
    chimeramix_jax.train_and_evaluate(settings("chimeramix_grid_autoaugment"), second, stage="generator")
    shutil.copytree(first.parent, moved)
    np.testing.assert_array_equal(kernel(moved / "second-to-move"), kernel(first))


def test_the_discriminator_can_be_restored_too(first):
    discriminator = chimeramix_jax.restore_discriminator(first)
    scores = nnx.jit(discriminator)(np.zeros((1, 32, 32, 3), np.float32))
    assert 0 < float(scores.mean()) < 1


def test_a_folder_around_that_may_not_be_listed_holds_nothing_to_share(settings, tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    workdir = Workdir(tmp_path / "run")
    assert shared_generator.choose(workdir, settings(), None) is workdir


@pytest.mark.parametrize("links", [True, False])
def test_a_generator_that_is_used_survives_that_its_run_is_deleted_or_trained_anew(
    first, settings, dataset, tmp_path, monkeypatch, links
):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    home, user = Workdir(shutil.copytree(first, tmp_path / "home")), Workdir(tmp_path / "user")
    user.path.mkdir()
    kept = shared_generator.adopt(user, home, settings(), dataset)
    assert user.generator_home().path == kept.path and (kept.generator / "metrics.jsonl").exists()
    home.move_aside(home.generator)
    shutil.rmtree(home.path)
    np.testing.assert_array_equal(kernel(user.path), kernel(first))
    assert shared_generator.choose(user, settings(), None).path == kept.path
    assert shared_generator.choose(user, settings(), first).path == kept.path  # the same command again
    shutil.rmtree(tmp_path / "user")


def test_a_generator_that_changes_while_it_is_kept_is_refused(first, settings, dataset, tmp_path, monkeypatch):
    user = Workdir(tmp_path / "user")
    user.path.mkdir()
    monkeypatch.setattr(shared_generator, "_link", lambda source, target: Path(target).touch())
    with pytest.raises(InputError, match="another process changed it"):
        shared_generator.adopt(user, Workdir(first), settings(), dataset)
    assert list(user.path.iterdir()) == []


@pytest.fixture(scope="module")
def small(first, study):
    """The same run with fewer files, which are copied many times: one checkpoint of its generator, no other stage."""
    folder = shutil.copytree(first, study / "small", ignore=shutil.ignore_patterns("baseline", "checkpoints", "*.png"))
    newest = max((first / "generator" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.copytree(newest, folder / "generator" / "checkpoints" / newest.name)
    return folder


@pytest.fixture
def adopting_while(small, settings, dataset, tmp_path, monkeypatch):
    """Has a run keep another's generator while something becomes of that other one, before each file in turn.

    Gives a function that does so and returns, for each of these moments, the error and what was kept.
    """

    def adopt(number, happens):
        home = Workdir(shutil.copytree(small, tmp_path / f"home-{number}"))
        user = Workdir(tmp_path / f"user-{number}")
        user.path.mkdir()
        copied, link, copy = [], shared_generator._link, shutil.copy2

        def counting(real):
            def call(source, target):
                if len(copied) == number:
                    happens(home)
                copied.append(source)
                return real(source, target)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(shared_generator, "_link", counting(link))
            patch.setattr(shutil, "copy2", counting(copy))
            try:
                kept, error = shared_generator.adopt(user, home, settings(), dataset), None
            except InputError as refusal:
                kept, error = None, str(refusal)
        assert kept is not None or list(user.path.iterdir()) == []
        return len(copied) > number, error, None if kept is None else contents(kept.path)

    def every(happens):
        outcomes = []
        while (outcome := adopt(len(outcomes), happens))[0]:
            outcomes.append(outcome[1:])
        assert len(outcomes) > 10 and outcome[1] is None
        return outcomes, outcome[2]

    return every


def trained_anew(home):
    """What ``--retrain`` of the run makes of its generator, all at once."""
    home.move_aside(home.generator)
    other = shutil.copytree(home.generator.with_name("generator.replaced-1"), home.generator)
    (other / "metrics.jsonl").write_text("{}\n")
    (other / "pictures" / "mixing-epoch-0001.png").write_bytes(b"another")


def deleted(home):
    shutil.rmtree(home.path)


@pytest.mark.parametrize("happens", [trained_anew, deleted])
def test_nothing_is_kept_of_two_generators_whenever_the_other_run_is_trained_anew(adopting_while, happens):
    outcomes, whole = adopting_while(happens)
    assert Path("generator", "metrics.jsonl") in whole and Path("config.json") in whole
    for error, kept in outcomes:
        assert kept is None and ("another process changed it" in error or "cannot be copied" in error)


def at_work(home):
    with locked(home.path):
        (home.path / "classifier" / "metrics.jsonl").write_text("{}\n")


def test_a_run_that_only_trains_its_classifier_does_not_disturb(adopting_while):
    outcomes, whole = adopting_while(at_work)
    assert all(error is None and kept == whole for error, kept in outcomes)


def test_a_generator_that_was_replaced_after_it_was_chosen_is_refused(first, settings, dataset, tmp_path):
    user = Workdir(tmp_path / "user")
    user.path.mkdir()
    config = settings()
    others = load_few_shot(config.dataset, config.max_labels_per_class, seed=1)
    for asked, data in ((settings(seed=1), dataset), (config, others)):
        with pytest.raises(InputError, match="another process changed it"):
            shared_generator.adopt(user, Workdir(first), asked, data)
    assert list(user.path.iterdir()) == []
