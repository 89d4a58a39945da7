import numpy as np
import pytest

from chimeramix_jax.training.temperature import fitted_temperature, probabilities


@pytest.fixture(scope="module")
def calibrated():
    """Logits of 3000 images whose softmax is the true distribution of their labels."""
    random = np.random.default_rng(0)
    logits = (2 * random.standard_normal((3000, 4))).astype(np.float32)
    labels = np.array([random.choice(4, p=row) for row in probabilities(logits)])
    return logits, labels


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_the_scale_of_the_logits_is_recovered(calibrated, scale):
    logits, labels = calibrated
    assert fitted_temperature(np.float32(scale) * logits, labels) == pytest.approx(scale, rel=0.05)


def test_the_temperature_has_the_lowest_loss(calibrated):
    logits, labels = calibrated
    rows = np.arange(len(labels))

    def loss(temperature):
        return -np.log(probabilities(3 * logits, temperature)[rows, labels]).mean()

    best = fitted_temperature(3 * logits, labels)
    assert loss(best) < min(loss(0.97 * best), loss(1.03 * best), loss(1.0))


def test_no_prediction_changes(calibrated):
    logits, labels = calibrated
    for temperature in (0.05, fitted_temperature(logits, labels), 30.0):
        np.testing.assert_array_equal(probabilities(logits, temperature).argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize("wrong", [0, 1])
def test_few_images_that_are_all_right_or_all_wrong_have_a_finite_temperature(wrong):
    labels = np.arange(20) % 4
    logits = 5 * np.eye(4, dtype=np.float32)[(labels + wrong) % 4]
    temperature = fitted_temperature(logits, labels)
    assert (0.5 < temperature < 1) if not wrong else (2 < temperature < 64)


def test_every_image_may_have_a_temperature_of_its_own(calibrated):
    logits = calibrated[0][:2]
    both = probabilities(logits, np.array([1.0, 3.0]))
    np.testing.assert_allclose(both[0], np.exp(logits[0]) / np.exp(logits[0]).sum(), rtol=1e-5)
    np.testing.assert_allclose(both[1], probabilities(logits[1:], 3.0)[0])
    assert both.sum(axis=1) == pytest.approx([1, 1])
