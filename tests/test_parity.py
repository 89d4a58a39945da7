"""Our modules against the published program's own outputs, gradients and parameters (tests/fixtures)."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT
from flax import nnx

from chimeramix_jax.augment.geometry import resize_align_corners
from chimeramix_jax.interop.pytorch import load_discriminator, load_generator, load_wide_resnet
from chimeramix_jax.mixing.blending import as_many, mixed_images
from chimeramix_jax.training import losses
from chimeramix_jax.training.classification_step import ClassificationStep, sgd
from chimeramix_jax.training.generator import AdversarialStep
from chimeramix_jax.training.schedules import Cosine

FORWARD_TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def double_precision():
    """The reference was computed in float64; in float32, Adam turns the noise of zero gradients into whole steps."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def fixture(reference):
    return Reference(reference)


@nnx.jit
def apply(network, images):
    return network(images)


class Reference:
    """The fixture file's arrays: images as NHWC, weights by the published program's names, all float64."""

    def __init__(self, arrays):
        self.arrays = arrays

    def images(self, name):
        return self.arrays[name].transpose(0, 2, 3, 1).astype(np.float64)

    def weights(self, prefix):
        return {
            name.removeprefix(prefix): array.astype(np.float64)
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }

    def generator_weights(self, prefix):
        """With the decoder's unused residual blocks, which have no gradient and do not change."""
        return self.weights("generator/") | self.weights(prefix)

    def inputs(self):
        return tuple(jnp.asarray(self.images(f"in/{name}")) for name in ("a", "b", "mask"))


def largest_relative_difference(ours, expected):
    """Per parameter: the largest difference relative to the parameter's largest value; the largest of them."""

    def difference(x, y):
        # Biases before an instance norm have gradients that are zero up to rounding.
        return float(jnp.max(jnp.abs(x - y)) / (jnp.max(jnp.abs(y)) + 1e-9))

    return max(jax.tree.leaves(jax.tree.map(difference, ours, expected)))


@pytest.fixture
def adversarial(fixture):
    generator, discriminator = networks(fixture)
    step = AdversarialStep(nnx.graphdef(generator), nnx.graphdef(discriminator), optax.adam(2e-4, b1=0.5, b2=0.999))
    return step, step.initial_state(generator, discriminator)


@partial(jax.jit, static_argnums=0)
def discriminator_gradients(step, generator, discriminator, a, b, mask):
    fake = mixed_images(nnx.merge(step.generator, generator), a, b, mask)
    return jax.grad(step.discriminator_loss)(discriminator, a, fake, None)


def networks(fixture):
    return load_generator(fixture.weights("generator/")), load_discriminator(fixture.weights("discriminator/"))


def test_generator_encodes_mixes_and_reconstructs_as_the_reference(fixture):
    generator, _ = networks(fixture)
    a, b, mask = fixture.inputs()

    @nnx.jit
    def outputs(generator):
        return {
            "features_a": generator.encode(a),
            "features_b": generator.encode(b),
            "mixed": mixed_images(generator, a, b, mask),
            "reconstruction_a": mixed_images(generator, a, b, jnp.ones_like(mask)),
            "reconstruction_b": mixed_images(generator, a, b, jnp.zeros_like(mask)),
        }

    for name, output in outputs(generator).items():
        np.testing.assert_allclose(output, fixture.images(f"out/{name}"), atol=FORWARD_TOLERANCE, err_msg=name)


def test_discriminator_scores_as_the_reference(fixture):
    _, discriminator = networks(fixture)
    for images, name in (("in/a", "out/discriminator_a"), ("out/mixed", "out/discriminator_mixed")):
        scores = apply(discriminator, fixture.images(images))
        np.testing.assert_allclose(scores, fixture.images(name), atol=FORWARD_TOLERANCE)


def test_laplacian_pyramid_and_its_loss_equal_the_reference(fixture):
    a, b, _ = fixture.inputs()
    for index, level in enumerate(losses.laplacian_pyramid(a)):
        np.testing.assert_allclose(level, fixture.images(f"out/laplacian_pyramid_{index}"), atol=FORWARD_TOLERANCE)
    expected = fixture.arrays["out/laplacian_loss_ab"]
    np.testing.assert_allclose(losses.laplacian_pyramid_loss(a, b), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "side"), [("out/resize_up", 64), ("out/resize_down", 16)])
def test_resizes_equal_the_reference(fixture, name, side):
    resized = resize_align_corners(jnp.asarray(fixture.images("in/a")), side)
    np.testing.assert_allclose(resized, fixture.images(name), atol=FORWARD_TOLERANCE)


def test_generator_gradients_equal_the_reference(fixture, adversarial):
    step, state = adversarial
    a, b, mask = fixture.inputs()
    gradients, _ = jax.jit(jax.grad(step.generator_loss, has_aux=True))(
        state["generator"], state["discriminator"], *as_many(a, b, mask), None
    )
    expected = load_generator(fixture.generator_weights("grad/generator/"))
    assert largest_relative_difference(gradients, nnx.state(expected)) < 1e-3


def test_two_adversarial_iterations_equal_the_reference(fixture, adversarial):
    step, state = adversarial
    a, b, mask = fixture.inputs()
    images, partition = as_many(a, b, mask)
    update = jax.jit(step.update)
    losses_seen, first_discriminator = [], state["discriminator"]
    for iteration in range(2):
        state, metrics = update(state, images, partition, partition, real=a)
        terms = ("reconstruction", "adversarial", "perceptual", "generator", "discriminator")
        losses_seen.append([float(metrics[term]) for term in terms])
        if iteration == 0:
            gradients = discriminator_gradients(step, state["generator"], first_discriminator, a, b, mask)
    np.testing.assert_allclose(losses_seen, fixture.arrays["out/losses"], rtol=1e-5)

    expected = nnx.state(load_discriminator(fixture.weights("grad/discriminator/")))
    assert largest_relative_difference(gradients, expected) < 1e-3
    expected = nnx.state(load_generator(fixture.generator_weights("after2/generator/")))
    assert largest_relative_difference(state["generator"], expected) < 1e-5
    expected = nnx.state(load_discriminator(fixture.weights("after2/discriminator/")))
    assert largest_relative_difference(state["discriminator"], expected) < 1e-5


def test_three_classifier_steps_equal_the_reference(fixture):
    classifier = load_wide_resnet(fixture.weights("classifier/"))
    images, labels = fixture.images("in/classifier_images"), fixture.arrays["in/classifier_labels"]
    logits = apply(load_wide_resnet(fixture.weights("classifier/")).train(), images)
    np.testing.assert_allclose(logits, fixture.arrays["out/classifier_logits_train"], atol=FORWARD_TOLERANCE)

    step = ClassificationStep(nnx.graphdef(classifier), sgd(Cosine.over(4.6e-3, 10), momentum=0.9, weight_decay=5.3e-3))
    state = step.initial_state(classifier)
    update, losses_seen = jax.jit(step.update), []
    for _ in range(3):
        state, metrics = update(state, images, labels)
        losses_seen.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses_seen, fixture.arrays["out/classifier_losses"], rtol=1e-6)

    expected = load_wide_resnet(fixture.weights("after3/classifier/"))
    assert largest_relative_difference(state["parameters"], nnx.state(expected, nnx.Param)) < 1e-5
    assert largest_relative_difference(state["batch_statistics"], nnx.state(expected, nnx.BatchStat)) < 1e-5
    trained = nnx.merge(nnx.graphdef(expected.eval()), state["parameters"], state["batch_statistics"])
    logits = apply(trained, images)
    np.testing.assert_allclose(logits, fixture.arrays["out/classifier_logits_eval"], atol=FORWARD_TOLERANCE)


@pytest.mark.slow
def test_all_of_this_also_holds_with_xla_as_users_run_it():
    """``conftest.py`` turns XLA's optimizations off, unless the environment has flags of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n0", "-q", __file__]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": ""}, capture_output=True, text=True)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_learning_rate_of_the_classifier_equals_the_reference(fixture):
    schedule = Cosine.over(4.6e-3, 10)
    rates = [float(schedule(step)) for step in range(3)]
    np.testing.assert_allclose(rates, fixture.arrays["out/classifier_learning_rates"], atol=1e-8)
