"""The coin that decides whether a whole batch is mixed: its fairness, who shares it, and what it saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from jaxprs import equations, products
from training.recorder import Recorder

from chimeramix_jax import config as settings
from chimeramix_jax.augment.mixup import draw_mixup
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.training import finiteness
from chimeramix_jax.training.calls import Carry, EpochDraws, Span
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.epochs import EpochRunner, shared_key
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.stage_data import StageData
from chimeramix_jax.training.team import Stacked

SIDE = 32


def classifier_stage(experiment="chimeramix_grid", **changes):
    """The classifier's stage on noise images, mixing with an untrained generator."""
    config = settings.load(f"configs/digits.py:{experiment}")
    config.update_from_flattened_dict(TINY | {"classifier.image_side": SIDE} | changes)
    settings.check(config)
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(4) % 2
    generator = build_generator(config, nnx.Rngs(0)) if settings.needs_generator(config) else None
    augmentation = Augmentation.for_classifier(config.augment, SIDE)
    data = StageData(to_device(pixels, labels, 2), augmentation, EpochPlan(4, 4, 4))
    return ClassifierStage(config, data, 2, TestSet(pixels, labels, 4), config.mixing.mask != "none", generator)


class CoinStage:
    """Tosses one coin of each seed's own and one that the seeds share, and records both."""

    inputs = jnp.zeros(())

    def __init__(self, steps):
        self.plan = EpochPlan(steps, 1, 1)

    def train_step(self, state, inputs, indices, example_mask, key, shared_key):
        coins = {"own": jax.random.bernoulli(key), "shared": jax.random.bernoulli(shared_key)}
        history = {name: state[name].at[indices[0] * 0 + state["step"]].set(coin) for name, coin in coins.items()}
        return history | {"step": state["step"] + 1}, {"loss": jnp.zeros(())}


def tosses(seed, epoch, steps=200, **runner_arguments):
    stage = CoinStage(steps)
    state = {name: jnp.zeros(steps) for name in ("own", "shared")} | {"step": 0}
    runner = EpochRunner(stage, **runner_arguments)
    progress = runner.begin(state, epoch, jax.random.key(seed))
    while not runner.is_over(progress):
        call = runner.call(progress)
        progress = runner.after(call, call.run())
    state = progress.carry.state
    return np.asarray(state["own"]), np.asarray(state["shared"])


def test_seeds_share_the_coin_and_nothing_else():
    (own, shared), (own_of_another, shared_of_another) = tosses(seed=0, epoch=3), tosses(seed=1, epoch=3)
    np.testing.assert_array_equal(shared, shared_of_another)
    assert np.mean(own != own_of_another) > 0.3
    assert np.mean(own != shared) > 0.3


def test_every_epoch_has_coins_of_its_own_however_it_is_divided_into_calls():
    first, second = tosses(0, epoch=0)[1], tosses(0, epoch=1)[1]
    assert np.mean(first != second) > 0.3
    np.testing.assert_array_equal(tosses(0, epoch=1, steps_per_call=7)[1], second)


def test_shared_draws_use_none_of_the_first_seeds_own_keys():
    def keys(key, depth):
        inner = [jax.random.fold_in(key, number) for number in range(4)]
        return [key, *inner] + [deeper for child in inner if depth > 1 for deeper in keys(child, depth - 1)]

    own = {tuple(jax.random.key_data(key).tolist()) for key in keys(jax.random.key(0), 3)}
    shared = {tuple(jax.random.key_data(shared_key(epoch, step)).tolist()) for epoch in range(4) for step in range(4)}
    assert len(shared) == 16 and not shared & own


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_batches_are_mixed_with_the_configured_probability(probability):
    stage = classifier_stage(**{"mixing.probability": probability})
    keys = jax.random.split(jax.random.key(0), 4000)
    share = np.mean(jax.vmap(stage.batches.is_mixed)(keys))
    assert share == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / 4000))


def test_every_batch_is_mixed_with_probability_one_and_none_in_the_baseline():
    keys = jax.random.split(jax.random.key(0), 100)
    assert all(map(classifier_stage(**{"mixing.probability": 1.0}).batches.is_mixed, keys))
    assert not any(map(classifier_stage("baseline").batches.is_mixed, keys))


def test_mixup_leaves_a_mixed_batch_alone():
    drawn, mixed = draw_mixup(jax.random.key(0), 6), jnp.array(True)
    images = jax.random.normal(jax.random.key(1), (6, 4, 4, 3))
    logits, labels = jax.random.normal(jax.random.key(2), (6, 3)), jnp.arange(6) % 3
    np.testing.assert_array_equal(drawn.unless(mixed).blend(images), images)
    own = -jax.nn.log_softmax(logits)[jnp.arange(6), labels]
    np.testing.assert_allclose(drawn.unless(mixed).losses(logits, labels), own, rtol=1e-6)
    np.testing.assert_array_equal(drawn.unless(~mixed).blend(images), drawn.blend(images))


@pytest.mark.parametrize(("mixup_of", "probability"), [("unmixed", 0.5), ("all", 0.5), ("all", 1.0)])
def test_mixup_blends_the_batches_that_are_set(mixup_of, probability):
    stage = classifier_stage(
        "chimeramix_grid_direct",
        **{"augment.mixup": True, "augment.mixup_of": mixup_of, "mixing.probability": probability},
    )
    stage._step, outcomes = Recorder(), set()
    for number in range(8):
        coin = shared_key(0, number)
        stage.train_step({}, stage.inputs, jnp.arange(4), None, jax.random.key(number), coin)
        mixed, blended = bool(stage.batches.is_mixed(coin)), float(stage._step.calls[-1][5].share) < 1
        outcomes.add((mixed, blended))
    expected = {"unmixed": {(True, False), (False, True)}, "all": {(True, True), (False, True)}}[mixup_of]
    assert outcomes == (expected if probability < 1 else {(True, True)})


def test_mixup_of_mixed_batches_blends_mixes_and_the_losses_of_both_labels():
    """By hand: the mixes of the step's key, blended by the step's own draw."""
    stage = classifier_stage("chimeramix_grid_direct", **{"augment.mixup": True, "augment.mixup_of": "all"})
    image_key, _, mixup_key = jax.random.split(jax.random.key(0), 3)
    mixes = stage.batches.images(image_key, stage.inputs.data, stage.inputs.networks, jnp.arange(4), True)
    expected = draw_mixup(mixup_key, 4)
    stage._step = Recorder()
    heads = next(number for number in range(20) if stage.batches.is_mixed(shared_key(0, number)))
    stage.train_step({}, stage.inputs, jnp.arange(4), None, jax.random.key(0), shared_key(0, heads))
    (_, images, labels, _, _, mixup, class_weights), own = stage._step.calls[0], np.asarray(mixes)
    blended = float(expected.share) * own + (1 - float(expected.share)) * own[np.asarray(expected.partners)]
    np.testing.assert_allclose(mixup.blend(images), blended, atol=1e-6)
    np.testing.assert_array_equal(labels, [0, 1, 0, 1])
    assert class_weights is None


def test_two_seeds_in_one_program_still_branch_and_an_unmixed_batch_skips_the_generator():
    stage, seeds = classifier_stage(), 2
    runner = EpochRunner(stage)
    program = Stacked(runner.program(0, 0).steps, jax.local_devices()[:1], seeds)
    keys = jax.random.split(jax.random.key(0), seeds)
    states = jax.eval_shape(jax.vmap(stage.initial_state), keys)
    order, counts = jax.eval_shape(jax.vmap(stage.plan.order), keys)
    zeros = {name: jax.ShapeDtypeStruct((seeds,), jnp.float32) for name in ("loss", "accuracy")}
    fault = jax.eval_shape(jax.vmap(finiteness.no_fault), zeros)
    inputs = jax.tree.map(lambda leaf: jnp.zeros((seeds, *leaf.shape), leaf.dtype), stage.inputs)
    arguments = Carry(states, zeros, fault), inputs, EpochDraws(order, counts, keys), Span(0, 0, 1)
    leaves, structure = jax.tree.flatten(arguments)  # JAX describes arguments by trees whose leaves are no arrays
    traced = jax.jit(lambda *leaves: program.compiled(*structure.unflatten(leaves))).trace(*leaves)
    (branch,) = equations(traced.jaxpr.jaxpr, "cond")
    costs = sorted(len(products(side.jaxpr)) for side in branch.params["branches"])
    assert costs[0] == 0 and costs[1] > 5
    assert branch.invars[0].aval.shape == ()  # one coin, not one per seed
    assert " conditional(" in traced.lower().compile().as_text()
