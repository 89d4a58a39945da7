import itertools
from collections import Counter
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.augment import policies
from chimeramix_jax.augment.operations import Operation
from chimeramix_jax.config import defaults, rules
from tests.augment.pillow_reference import expected, photographs

POLICIES = {
    "autoaugment_cifar10": jax.jit(partial(policies.auto_augment, policy="cifar10")),
    "autoaugment_imagenet": jax.jit(partial(policies.auto_augment, policy="imagenet")),
    "randaugment": jax.jit(policies.rand_augment, static_argnums=(2, 3)),
    "trivialaugment": jax.jit(policies.trivial_augment_wide),
}


def images(count=12, side=27):
    """Returns copies of a photograph with an odd side."""
    return np.tile(photographs(64)[1:2, :side, :side], (count, 1, 1, 1))


@cache
def draw(draws, seed, count, **settings):
    """Draws ``count`` operations and magnitudes."""
    compiled = jax.jit(partial(draws, batch_size=count, **settings))
    return tuple(np.asarray(drawn) for drawn in compiled(jax.random.key(seed)))


def assert_about(count, draws, probability):
    """Asserts that the count fits the probability, within five standard deviations plus one draw."""
    assert abs(count - draws * probability) <= 5 * np.sqrt(draws * probability * (1 - probability)) + 1


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_maps_uint8_images_to_uint8_images(name):
    augmented = POLICIES[name](jax.random.key(0), images())
    assert augmented.shape == images().shape
    assert augmented.dtype == np.uint8


@pytest.mark.parametrize("name", rules.POLICIES)
@pytest.mark.parametrize("autoaugment_policy", rules.AUTOAUGMENT_POLICIES)
def test_every_policy_allowed_in_a_config_can_be_drawn(name, autoaugment_policy):
    settings = defaults.get_config().augment
    settings.update(policy=name, autoaugment_policy=autoaugment_policy)
    policy = policies.Policy.of(settings)
    assert (policy is None) == (name == "none")
    if policy is not None:
        assert policy.draw(jax.random.key(0), 3, 27).operations.shape == (3, 1 if name == "trivialaugment" else 2)


def test_labels_move_with_their_pixels():
    numbers = jnp.arange(27 * 27, dtype=jnp.int32).reshape(1, 27, 27) % 255 + 1
    pictures = jnp.repeat(numbers[..., None].astype(jnp.uint8), 3, axis=-1)
    for operation, magnitude in (("ROTATE", 20.0), ("SHEAR_Y", -0.3), ("TRANSLATE_X", 5.0)):
        draws = policies.Draws(jnp.array([[Operation[operation]]]), jnp.array([[magnitude]]))
        moved = np.asarray(draws.labels(numbers, outside=0))
        np.testing.assert_array_equal(moved[..., None] * np.ones(3, int), draws.images(pictures))
        assert np.any(moved != numbers)


def test_colour_operations_do_not_move_labels():
    numbers = jnp.arange(27 * 27, dtype=jnp.int32).reshape(1, 27, 27)
    draws = policies.Draws(jnp.array([[Operation.SOLARIZE, Operation.COLOR]]), jnp.array([[100.0, 0.5]]))
    np.testing.assert_array_equal(draws.labels(numbers, outside=-1), numbers)


@pytest.mark.parametrize("name", POLICIES)
def test_images_draw_independently_and_equal_keys_draw_the_same(name):
    first, again, other = (np.asarray(POLICIES[name](jax.random.key(seed), images())) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    assert len(np.unique(first.reshape(len(first), -1), axis=0)) > 4


def test_an_unknown_policy_is_an_error_that_names_the_known_policies():
    with pytest.raises(ValueError, match=r"'svhn'.*cifar10, imagenet"):
        policies.auto_augment(jax.random.key(0), jnp.asarray(images()), "svhn")


@pytest.mark.parametrize("policy", ["cifar10", "imagenet"])
def test_autoaugment_equals_pillow_with_the_same_operations(policy):
    drawn = draw(policies.auto_augment_draws, 1, len(images()), side=images().shape[1], policy=policy)
    ours = POLICIES[f"autoaugment_{policy}"](jax.random.key(1), images())
    pillow = images()
    for place in (0, 1):
        steps = zip(pillow, *(values[:, place] for values in drawn), strict=True)
        pillow = np.stack([expected(image, operation, magnitude) for image, operation, magnitude in steps])
    # A difference of one grey level after the first operation may grow in the second.
    differences = np.abs(np.asarray(ours).astype(int) - pillow)
    assert differences.mean(axis=(1, 2, 3)).max() < 0.1


@pytest.mark.parametrize("policy", ["cifar10", "imagenet"])
def test_autoaugment_draws_all_pairs_equally_often_and_each_operation_with_its_own_probability(policy):
    count, side = 40_000, 32
    operations, magnitudes = draw(policies.auto_augment_draws, 0, count, side=side, policy=policy)
    found = Counter(map(tuple, np.concatenate([operations, np.abs(magnitudes).round(2)], axis=1).tolist()))
    expected = probabilities_of_outcomes(policies.AUTO_AUGMENT_PAIRS[policy], policies.auto_augment_magnitudes(side))
    assert found.keys() <= expected.keys()
    for outcome, probability in expected.items():
        assert_about(found[outcome], count, probability)


def probabilities_of_outcomes(pairs, magnitudes):
    """Returns probabilities by outcome: both operations, then both magnitudes, rounded and without sign."""
    found = Counter()
    for codes, chances, bins in zip(*pairs, strict=True):
        strengths = [magnitudes.get(code, np.zeros(10))[index] for code, index in zip(codes, bins, strict=True)]
        for happens in itertools.product((False, True), repeat=2):
            probability = np.prod(np.where(happens, chances, 1 - chances)) / len(pairs.operations)
            outcome = np.where(happens, [codes, np.float32(strengths).round(2)], 0)
            found[tuple(outcome.flat)] += probability
    return {outcome: probability for outcome, probability in found.items() if probability > 0}


@pytest.mark.parametrize(
    ("policy", "number", "pair"),
    [
        ("cifar10", 0, [("INVERT", 0.1), ("CONTRAST", 0.2, 6)]),
        ("cifar10", 14, [("SOLARIZE", 0.5, 2), ("INVERT", 0.0)]),
        ("cifar10", 24, [("TRANSLATE_Y", 0.7, 9), ("AUTO_CONTRAST", 0.9)]),
        ("imagenet", 0, [("POSTERIZE", 0.4, 8), ("ROTATE", 0.6, 9)]),
        ("imagenet", 18, [("SHEAR_X", 0.6, 5), ("EQUALIZE", 1.0)]),
        ("imagenet", 24, [("EQUALIZE", 0.8), ("EQUALIZE", 0.6)]),
    ],
)
def test_the_pairs_equal_the_published_pairs(policy, number, pair):
    pairs = policies.AUTO_AUGMENT_PAIRS[policy]
    assert len(pairs.operations) == 25
    for place, (name, probability, *index) in enumerate(pair):
        assert pairs.operations[number, place] == Operation[name]
        assert pairs.probabilities[number, place] == np.float32(probability)
        assert pairs.bins[number, place] == (index[0] if index else 0)


def test_trivialaugment_draws_all_operations_but_inversion_and_all_magnitudes_equally_often():
    count = 40_000
    operations, magnitudes = draw(policies.trivial_augment_wide_draws, 0, count)
    found = dict(zip(*np.unique(operations, return_counts=True), strict=True))
    assert found.keys() == set(Operation) - {Operation.INVERT}
    for operation, times in found.items():
        assert_about(times, count, 1 / 14)
        if operation in policies.TRIVIAL_AUGMENT_MAGNITUDES:
            bins = np.float32(policies.TRIVIAL_AUGMENT_MAGNITUDES[operation])
            strengths = np.abs(magnitudes[operations == operation])
            for strength in np.unique(bins):
                assert_about(np.sum(strengths == strength), times, np.mean(bins == strength))


@pytest.mark.parametrize(("count", "magnitude"), [(2, 9), (3, 0), (1, 30)])
def test_randaugment_draws_as_many_operations_as_set_equally_often_and_with_one_strength(count, magnitude):
    images = 20_000
    operations, magnitudes = draw(
        policies.rand_augment_draws, 0, images, side=32, operations=count, magnitude=magnitude
    )
    assert operations.shape == (images, count)
    table = policies.rand_augment_magnitudes(32)
    for place in range(count):
        found = dict(zip(*np.unique(operations[:, place], return_counts=True), strict=True))
        assert found.keys() == set(Operation) - {Operation.INVERT}
        for operation, times in found.items():
            assert_about(times, images, 1 / 14)
            expected = table[operation][magnitude] if operation in table else 0
            np.testing.assert_allclose(np.abs(magnitudes[operations == operation]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("draws", "settings"),
    [
        (policies.trivial_augment_wide_draws, {}),
        (policies.rand_augment_draws, {"side": 32, "operations": 2, "magnitude": 9}),
        (policies.auto_augment_draws, {"side": 32, "policy": "cifar10"}),
    ],
)
def test_half_of_the_magnitudes_are_negative_if_an_operation_has_two_directions(draws, settings):
    operations, magnitudes = draw(draws, 0, 40_000, **settings)
    one_way = (operations == Operation.POSTERIZE) | (operations == Operation.SOLARIZE)
    assert np.all(magnitudes[one_way] >= 0)
    two_ways = magnitudes[~one_way & (magnitudes != 0)]
    assert_about(np.sum(two_ways < 0), len(two_ways), 0.5)


@pytest.mark.parametrize(
    ("magnitudes", "operation", "weakest", "strongest"),
    [
        (policies.auto_augment_magnitudes(331), "TRANSLATE_X", 0, 150),
        (policies.auto_augment_magnitudes(331), "SHEAR_Y", 0, 0.3),
        (policies.auto_augment_magnitudes(331), "ROTATE", 0, 30),
        (policies.auto_augment_magnitudes(331), "COLOR", 0, 0.9),
        (policies.auto_augment_magnitudes(331), "SOLARIZE", 255, 0),
        (policies.rand_augment_magnitudes(331), "TRANSLATE_Y", 0, 150),
        (policies.rand_augment_magnitudes(331), "SHEAR_X", 0, 0.3),
        (policies.rand_augment_magnitudes(331), "ROTATE", 0, 30),
        (policies.rand_augment_magnitudes(331), "CONTRAST", 0, 0.9),
        (policies.rand_augment_magnitudes(331), "SOLARIZE", 255, 0),
        (policies.TRIVIAL_AUGMENT_MAGNITUDES, "TRANSLATE_Y", 0, 32),
        (policies.TRIVIAL_AUGMENT_MAGNITUDES, "SHEAR_X", 0, 0.99),
        (policies.TRIVIAL_AUGMENT_MAGNITUDES, "ROTATE", 0, 135),
        (policies.TRIVIAL_AUGMENT_MAGNITUDES, "SHARPNESS", 0, 0.99),
        (policies.TRIVIAL_AUGMENT_MAGNITUDES, "SOLARIZE", 255, 0),
    ],
)
def test_magnitudes_are_evenly_spaced_over_the_published_range(magnitudes, operation, weakest, strongest):
    bins = magnitudes[Operation[operation]]
    assert (bins[0], bins[-1]) == pytest.approx((weakest, strongest))
    np.testing.assert_allclose(np.diff(bins), (strongest - weakest) / (len(bins) - 1))


def test_autoaugment_has_ten_magnitudes_and_the_others_have_31():
    tables = policies.auto_augment_magnitudes(32), policies.rand_augment_magnitudes(32)
    counts = [{len(bins) for bins in table.values()} for table in (*tables, policies.TRIVIAL_AUGMENT_MAGNITUDES)]
    assert counts == [{10}, {31}, {31}]


def test_posterize_magnitudes_are_integers():
    assert policies.auto_augment_magnitudes(32)[Operation.POSTERIZE].tolist() == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    bits = policies.rand_augment_magnitudes(32)[Operation.POSTERIZE]
    assert bits.tolist() == [8] * 4 + [7] * 8 + [6] * 7 + [5] * 8 + [4] * 4
    bits = policies.TRIVIAL_AUGMENT_MAGNITUDES[Operation.POSTERIZE]
    assert bits.tolist() == [8] * 3 + [7] * 5 + [6] * 5 + [5] * 5 + [4] * 5 + [3] * 5 + [2] * 3
