"""Keeping a stage to its time: which epochs are left out, and what the training is like without them."""

import dataclasses
import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY
from training.toy_stage import ToyStage

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.training import loop
from chimeramix_jax.training.calls import CompletedCall, drive
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.pace import LONGEST_STRIDE, Pace, TimeLimit
from chimeramix_jax.training.schedules import advanced
from chimeramix_jax.training.stage_data import load_stage_data


def trained_epochs(epochs, took, seconds, compiles=lambda epoch: epoch == 0, work=float):
    """Trains epochs that take ``took(epoch)`` seconds, planned to take one second each; returns them and the time."""
    now, programs, epoch, trained = 0.0, 0, 0, []
    pace = Pace(TimeLimit(seconds, 1.0), epochs, work, lambda: programs, lambda: now)
    while epoch < epochs:
        programs += compiles(epoch)
        now += took(epoch)
        trained.append(epoch)
        epoch += 1
        epoch += pace.left_out_after(epoch)
    assert epoch == epochs
    return trained, now


@pytest.mark.parametrize("seconds", [1.0, 0.8])
def test_nothing_is_left_out_while_epochs_take_what_they_were_to_take_or_less(seconds):
    assert trained_epochs(100, lambda epoch: seconds, 100)[0] == [*range(100)]


def test_a_machine_that_becomes_slower_trains_fewer_epochs_spread_evenly_and_ends_in_time():
    trained, seconds = trained_epochs(400, lambda epoch: 1.0 if epoch < 100 else 1.5, 400)
    assert seconds == pytest.approx(400, rel=0.02)
    assert trained[:100] == [*range(100)] and trained[-1] == 399
    assert set(np.diff(trained)) == {1, 2}  # never several in a row
    halves = [sum(low <= epoch < low + 150 for epoch in trained) for low in (100, 250)]
    assert halves[0] == pytest.approx(halves[1], abs=8) and sum(halves) == pytest.approx(200, abs=4)


def test_a_machine_that_is_fast_again_trains_every_epoch_again():
    trained, seconds = trained_epochs(400, lambda epoch: 2.0 if 100 <= epoch < 150 else 0.9, 400)
    assert trained[-120:] == [*range(280, 400)] and len(trained) > 370 and seconds <= 404


def test_what_compiling_takes_is_not_taken_for_slow_steps():
    """Two programs take 30 s each to compile, of which the plan knows; the steps are as fast as planned."""
    times = {0: 31.0, 60: 31.0}
    trained, _ = trained_epochs(100, lambda epoch: times.get(epoch, 1.0), 160, lambda epoch: epoch in times)
    assert trained == [*range(100)]


def test_far_too_little_time_is_exceeded_rather_than_leaving_out_nearly_everything():
    trained, seconds = trained_epochs(100, lambda epoch: 20.0, 100)
    assert len(trained) == pytest.approx(100 / LONGEST_STRIDE, abs=2) and trained[-1] == 99
    assert seconds > 400


def test_steps_that_take_longer_at_larger_sides_are_planned_as_such():
    """The second half has epochs of four times the work: as many seconds as planned, so nothing is left out."""

    def work(epochs):
        return min(epochs, 50) + 4 * max(epochs - 50, 0)

    def took(epoch):
        return 100 * (work(epoch + 1) - work(epoch)) / work(100)

    assert trained_epochs(100, took, 100, work=work)[0] == [*range(100)]


def test_the_time_of_several_members_is_divided_among_those_that_are_left():
    now = time.monotonic()
    part = TimeLimit(now + 90, 2.0, (1.0, 2.0)).shared_by(3)
    assert part.until == pytest.approx(now + 30, abs=1)
    assert (part.seconds_per_epoch, part.weights) == (2.0, (1.0, 2.0))


def driven(running, seconds_of_step, clock):
    """Executes a run on a clock of its own."""
    try:
        call = next(running)
        while True:
            completed = call.run()
            clock[0] += seconds_of_step * (int(call.span.end) - int(call.span.first))
            call = running.send(CompletedCall(completed.carry, completed.seconds))
    except StopIteration as end:
        return end.value


def test_a_stage_that_leaves_out_epochs_is_finished_records_it_and_stays_so_when_it_is_resumed(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop, "Pace", partial(Pace, now=lambda: clock[0]))
    config = defaults.get_config()
    train = partial(loop.train, ToyStage(epochs=40), tmp_path, config, {}, title="toy", limit=TimeLimit(240.0, 6.0))
    trained = driven(train(), 2.0, clock)  # six steps of two seconds instead of one
    assert clock[0] == pytest.approx(240, rel=0.1) and 17 <= trained.epochs_left_out <= 21
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 40 - trained.epochs_left_out and rows[-1]["epoch"] == 40
    assert all(row["step"] == 6 * row["epoch"] for row in rows)
    again = drive(train())
    assert again.epochs_left_out == trained.epochs_left_out
    without_limit = drive(loop.train(ToyStage(epochs=40), tmp_path / "all", config, {}, title="toy"))
    assert without_limit.epochs_left_out == 0


def classifier_stage(*changes):
    """A classifier on four noise images of two classes: 2 steps in each of 12 epochs, half of them at the half side."""
    config = settings.load("digits:baseline")
    growing = {"classifier.growing_sides": "8:0.5", "classifier.image_side": 16, "classifier.epochs": 12}
    config.update_from_flattened_dict(TINY | growing | dict([changes] if changes else []))
    pixels, labels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8), np.arange(4) % 2
    data = dataclasses.replace(load_stage_data(config, "classifier", pixels, labels, 2), plan=EpochPlan(4, 2, 4))
    return ClassifierStage(config, data, 2, TestSet(pixels, labels, 4), mixes=False), config


def test_the_learning_rate_ends_as_planned_although_epochs_are_left_out(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop, "Pace", partial(Pace, now=lambda: clock[0]))
    stage, config = classifier_stage()
    limit = TimeLimit(24.0, 2.0, (1.0, 1.0))
    trained = driven(loop.train(stage, tmp_path, config, {}, title="tiny", limit=limit), 2.0, clock)
    assert 3 <= trained.epochs_left_out <= 6
    leaves = jax.tree_util.tree_leaves_with_path(trained.state["optimizer"])
    assert [int(leaf) for path, leaf in leaves if getattr(path[-1], "name", "") == "count"] == [12 * 2]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 12 - trained.epochs_left_out
    assert [row["learning_rate"] for row in rows] == [stage.learning_rate(row["step"] - 1) for row in rows]


def test_counting_further_steps_moves_the_schedule_of_an_optimizer_and_nothing_else():
    state, optimizer = {"weights": jnp.ones(3)}, optax.sgd(lambda step: 0.5 / (1 + step), momentum=0.9)
    counted = advanced({"parameters": state, "optimizer": optimizer.init(state)}, 4)
    updates, _ = optimizer.update({"weights": jnp.ones(3)}, counted["optimizer"])
    np.testing.assert_allclose(updates["weights"], -0.5 / 5)
    np.testing.assert_array_equal(counted["parameters"]["weights"], 1)


def test_steps_that_are_left_out_do_not_enlarge_the_updates_of_adam():
    """The gradients are always 1, so that every update is the learning rate, whatever the number of updates."""
    parameters, optimizer = {"weights": jnp.ones(3)}, optax.adam(lambda step: 0.5 / (1 + step), b1=0.5, b2=0.999)
    state = {"generator": parameters, "generator_optimizer": optimizer.init(parameters)}
    for _ in range(3):
        _, state["generator_optimizer"] = optimizer.update(parameters, state["generator_optimizer"])
    state = advanced(state, 40)
    updates, _ = optimizer.update(parameters, state["generator_optimizer"])
    np.testing.assert_allclose(updates["weights"], -0.5 / 44, rtol=1e-5)


def test_a_stage_that_leaves_out_epochs_ages_its_average(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop, "Pace", partial(Pace, now=lambda: clock[0]))
    stage, config = classifier_stage("classifier.averaged_share", 0.25)
    limit = TimeLimit(24.0, 2.0, (1.0, 1.0))
    trained = driven(loop.train(stage, tmp_path, config, {}, title="tiny", limit=limit), 2.0, clock)
    assert trained.epochs_left_out
    assert int(trained.state["average"]["steps"]) < 2 * (12 - trained.epochs_left_out)
