"""Growing sides: which step shows its images at which side, and that nothing else depends on the change."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from PIL import Image
from training.recorder import Recorder

from chimeramix_jax import config as settings
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.runtime import backend
from chimeramix_jax.training import loop
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.epochs import EpochRunner
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.growing import GrowingSides
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.stage_data import load_stage_data
from chimeramix_jax.training.team import Team

SIDES = GrowingSides.of("8:0.4,12:0.25", 16, 15)  # 6, 4 and 5 steps: the first change is in the second epoch of 5 steps
SHOWN = [8] * 6 + [12] * 4 + [16] * 5


class SidesStage:
    """Records the side of every step, and a random number of it."""

    name, epochs, inputs, plan, growing = "classifier", 3, jnp.zeros(()), EpochPlan(5, 1, 1), SIDES

    def initial_state(self, key):
        return {"parameters": {"step": jnp.zeros((), jnp.int32), "sides": jnp.zeros(15), "draws": jnp.zeros(15)}}

    def train_step(self, state, inputs, indices, example_mask, key, shared_key, side):
        step, sides, draws = (state["parameters"][name] for name in ("step", "sides", "draws"))
        draws = draws.at[step].set(jax.random.uniform(key) + indices[0])
        sides = sides.at[step].set(side)
        return {"parameters": {"step": step + 1, "sides": sides, "draws": draws}}, {"loss": jnp.zeros(())}

    def learning_rate(self, step):
        return 0.1

    def skip(self, state, steps):
        return state

    def finished(self, state, key):
        return state

    def evaluate(self, state):
        return {}


def config_of(experiment="baseline", **changes):
    config = settings.load(f"digits:{experiment}")
    config.update_from_flattened_dict(TINY | {"checkpoint.every_seconds": 0.0} | changes)
    return config


def train(stage, directory, execution=None, **changes):
    return loop.train(stage, directory, config_of(**changes), {}, title="classifier", execution=execution)


def recorded(trained):
    return {name: np.asarray(value) for name, value in trained.state["parameters"].items()}


def test_each_share_of_the_steps_is_at_its_side_and_the_rest_at_the_full_side():
    assert [SIDES.side(step) for step in range(15)] == SHOWN
    assert [SIDES.next_start(step) for step in (0, 5, 6, 9, 10, 14)] == [6, 6, 10, 10, None, None]
    assert GrowingSides.of("", 32, 100) == GrowingSides((32,), (0,))


def test_work_is_that_of_the_pixels_unless_the_steps_have_been_timed():
    pixels = [(side / 16) ** 2 for side in SHOWN]
    assert [SIDES.work(steps) for steps in range(16)] == pytest.approx([sum(pixels[:steps]) for steps in range(16)])
    timed = [{8: 2 / 5, 12: 3 / 5, 16: 1}[side] for side in SHOWN]
    assert [SIDES.work(n, (2.0, 3.0, 5.0)) for n in range(16)] == pytest.approx([sum(timed[:n]) for n in range(16)])
    assert SIDES.work(15, (2.0, 3.0)) == SIDES.work(15)  # not one for each side, as in a timing of few steps


def test_a_side_without_steps_in_a_short_training_is_skipped():
    short = GrowingSides.of("8:0.4,12:0.05", 16, 4)  # 1.6 and 1.8 are both rounded to 2
    assert [short.side(step) for step in range(4)] == [8, 8, 16, 16]
    assert short.next_start(0) == 2


@pytest.mark.parametrize("steps_per_call", [1, 2, 5])
def test_no_call_has_steps_at_two_sides(tmp_path, steps_per_call):
    spans, stage = [], SidesStage()

    def watched(running):
        answer = None
        while True:
            try:
                call = running.send(answer)
            except StopIteration as end:
                return end.value
            first = 5 * int(call.span.epoch)
            spans.append(SHOWN[first + int(call.span.first) : first + int(call.span.end)])
            answer = call.run()

    trained = watched(train(stage, tmp_path, **{"steps_per_call": steps_per_call}))
    assert recorded(trained)["sides"].tolist() == SHOWN
    assert all(len(set(span)) == 1 for span in spans) and [side for span in spans for side in span] == SHOWN
    assert max(map(len, spans)) == min(steps_per_call, 5)


def test_the_first_call_at_a_new_side_has_one_step_where_calls_adapt(monkeypatch):
    monkeypatch.setattr(backend, "runs_several_steps_per_call", lambda: True)
    stage, lengths = SidesStage(), []
    stage.plan = EpochPlan(15, 1, 1)
    runner = EpochRunner(stage)
    progress = runner.begin(stage.initial_state(jax.random.key(0)), 0, jax.random.key(0))
    while not runner.is_over(progress):
        call = runner.call(progress)
        lengths.append(call.span.end - call.span.first)
        progress = runner.after(call, call.run()._replace(seconds=0.0))
    assert lengths == [1, 2, 3, 1, 2, 1, 1, 2, 2]


@pytest.mark.parametrize("seeds_per_call", [1, 2])
def test_seeds_that_train_together_change_sides_together(tmp_path, seeds_per_call):
    alone = [drive(train(SidesStage(), tmp_path / f"alone-{seed}", seed=seed)) for seed in range(2)]
    team = Team(jax.local_devices()[:1], seeds_per_call)
    outcomes = team.run(
        [
            lambda member, seed=seed: train(SidesStage(), tmp_path / str(seed), member, seed=seed, steps_per_call=3)
            for seed in range(2)
        ]
    )
    for outcome, expected in zip(outcomes, alone, strict=True):
        jax.tree.map(np.testing.assert_array_equal, recorded(outcome.result), recorded(expected))
    assert np.any(recorded(alone[0])["draws"] != recorded(alone[1])["draws"])


# ----------------------------------------------------------------------------------------------- the classifier's steps


def classifier_stage(experiment="baseline", **changes):
    """The classifier's stage on four noise images of two classes: 3 steps in each of 3 epochs."""
    config = config_of(experiment, **({"classifier.image_side": 16, "classifier.epochs": 3} | changes))
    settings.check(config)
    pixels, labels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8), np.arange(4) % 2
    data = dataclasses.replace(load_stage_data(config, "classifier", pixels, labels, 2), plan=EpochPlan(4, 3, 4))
    generator = build_generator(config, nnx.Rngs(0)) if settings.needs_generator(config) else None
    return ClassifierStage(config, data, 2, TestSet(pixels, labels, 4), config.mixing.mask != "none", generator)


GROWING = {"classifier.growing_sides": "8:0.5"}  # 4 of 9 steps: the side changes within the second epoch


class InterruptedTrainingError(Exception):
    pass


def test_training_resumes_bit_for_bit_before_and_at_the_change_of_the_side(tmp_path, monkeypatch):
    stage, save = classifier_stage(**GROWING), StageCheckpoints.save
    assert [stage.growing.side(step) for step in range(9)] == 4 * [8] + 5 * [16]
    expected = drive(train(stage, tmp_path / "whole")).state
    steps_to_interrupt = [3, 4]

    def save_and_interrupt(self, step, state, about):
        save(self, step, state, about)
        if step in steps_to_interrupt:
            steps_to_interrupt.remove(step)
            raise InterruptedTrainingError

    monkeypatch.setattr(StageCheckpoints, "save", save_and_interrupt)
    for _ in range(2):
        with pytest.raises(InterruptedTrainingError):
            drive(train(stage, tmp_path / "interrupted", **{"checkpoint.every_seconds": 1e-9}))
    resumed = drive(train(stage, tmp_path / "interrupted")).state
    assert not steps_to_interrupt
    jax.tree.map(np.testing.assert_array_equal, resumed, expected)


def seen(stage, side, key):
    """The images that the network gets in a step at a side."""
    stage._step = Recorder()
    stage.train_step({}, stage.inputs, jnp.arange(4), None, key, key, side=side)
    _, images, *_ = stage._step.calls[0]
    return np.asarray(images)


def test_the_network_sees_the_augmented_images_resized_as_by_pillow():
    stage, key = classifier_stage(**{"augment.crop_padding_fraction": 0.125, "augment.cutout": True}), jax.random.key(0)
    full = seen(stage, 16, key)
    np.testing.assert_array_equal(full, seen(stage, None, key))
    for side in (8, 12):
        channels = [
            [np.asarray(Image.fromarray(channel).resize((side, side), Image.Resampling.BILINEAR)) for channel in image]
            for image in full.transpose(0, 3, 1, 2)
        ]
        np.testing.assert_allclose(seen(stage, side, key), np.transpose(channels, (0, 2, 3, 1)), atol=5e-6)


@pytest.mark.parametrize("experiment", ["mixup", "chimeramix_grid", "chimeramix_segmentation_direct"])
def test_every_kind_of_batch_can_be_shown_at_a_smaller_side(experiment):
    changes = {"generator.image_side": 32, "augment.mixup": True, "mixing.segmentation_min_size": 4}
    stage = classifier_stage(experiment, **GROWING, **changes)
    key, mask = jax.random.key(0), jnp.array([True, True, True, False])
    state = jax.eval_shape(stage.initial_state, key)
    step = partial(stage.train_step, side=8)
    after, _ = jax.eval_shape(step, state, stage.inputs, jnp.arange(4), mask, key, key)
    assert after == state


def lowered(stage, side):
    key = jax.random.key(0)
    state = jax.eval_shape(stage.initial_state, key)

    # A flat list, since JAX also describes arguments by their trees with other leaves, which are not arrays.
    leaves, structure = jax.tree.flatten((state, stage.inputs, jnp.arange(4)))

    def step(*leaves):
        return stage.train_step(*jax.tree.unflatten(structure, leaves), None, key, key, side=side)

    return jax.jit(step).lower(*leaves).as_text()


def test_at_the_full_side_the_program_is_the_one_without_growing_sides():
    with_growing, without = classifier_stage(**GROWING), classifier_stage()
    assert lowered(with_growing, 16) == lowered(without, without.growing.side(0)) == lowered(without, None)
    assert lowered(with_growing, 8) != lowered(without, None)


def test_the_classifier_is_evaluated_at_the_full_side():
    stage = classifier_stage(**GROWING)
    state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
    np.testing.assert_array_equal(stage.classifier.logits(state), classifier_stage().classifier.logits(state))


@pytest.mark.parametrize("steps", [0, 4, 6, 10])
def test_the_work_of_steps_is_counted_in_steps_at_the_full_side(steps):
    sides = GrowingSides.of("16:0.4,24:0.3", 32, 10)
    expected = sum((sides.side(step) / 32) ** 2 for step in range(steps))
    assert sides.work(steps) == pytest.approx(expected)
