import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.training.evaluation import TestSet, evaluate_logits, predicted_classes


def logits_that_predict(classes, num_classes):
    """Logits with the given classes highest; the others decrease from class 0 on."""
    logits = np.tile(-np.arange(num_classes, dtype=np.float32), (len(classes), 1))
    logits[np.arange(len(classes)), classes] = 1
    return logits


def test_top1_is_the_share_of_images_whose_class_has_the_highest_logit():
    evaluation = evaluate_logits(logits_that_predict([0, 1, 2, 2], 3), np.array([0, 1, 1, 2]))
    assert (evaluation.top1, evaluation.examples) == (0.75, 4)


def test_top5_counts_the_five_highest_classes_and_not_the_sixth():
    logits = -np.tile(np.arange(8, dtype=np.float32), (8, 1))
    evaluation = evaluate_logits(logits, np.arange(8))
    assert (evaluation.top1, evaluation.top5) == (1 / 8, 5 / 8)


@pytest.mark.parametrize("num_classes", [2, 4, 5])
def test_top5_is_one_with_up_to_five_classes(num_classes):
    evaluation = evaluate_logits(logits_that_predict([1, 1, 0], num_classes), np.array([0, 1, num_classes - 1]))
    assert evaluation.top5 == 1


def test_macro_accuracy_weights_the_classes_in_the_split_equally_and_ignores_others():
    labels = np.array([0, 0, 0, 0, 1, 3])  # classes 0, 1 and 3 of five; accuracies 3/4, 0 and 1
    evaluation = evaluate_logits(logits_that_predict([0, 0, 0, 2, 4, 3], 5), labels)
    np.testing.assert_allclose(evaluation.macro_accuracy, (0.75 + 0 + 1) / 3)
    np.testing.assert_allclose(evaluation.top1, 4 / 6)


@pytest.mark.parametrize("scale", [1, 1000])
def test_loss_is_the_mean_cross_entropy_however_large_the_logits(scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(20, 7))).astype(np.float32)
    labels = rng.integers(0, 7, 20)
    wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    expected = np.mean(np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(20), labels])
    np.testing.assert_allclose(evaluate_logits(logits, labels).loss, expected, rtol=1e-5)


def test_the_confusion_matrix_counts_images_by_true_row_and_predicted_column():
    evaluation = evaluate_logits(logits_that_predict([0, 2, 2, 1, 2], 4), np.array([0, 0, 0, 1, 2]))
    expected = [[1, 0, 2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(evaluation.confusion, expected)
    assert evaluation.confusion.sum() == evaluation.examples == 5


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan, np.inf])
def test_a_classifier_with_equal_logits_for_all_classes_is_never_correct(value):
    labels = np.arange(10)
    evaluation = evaluate_logits(np.full((10, 10), value, np.float32), labels)
    assert (evaluation.top1, evaluation.top5, evaluation.macro_accuracy) == (0, 0, 0)
    assert evaluation.confusion.sum() == 10


@pytest.mark.parametrize("values", [[0, 1], [0, 1, np.nan], [-np.inf, 0, np.inf], [-np.inf, np.nan]])
def test_the_diagonal_of_the_confusion_matrix_adds_up_to_top1_even_with_ties(values):
    rng = np.random.default_rng(0)
    logits, labels = rng.choice(np.array(values, np.float32), (200, 4)), rng.integers(0, 4, 200)
    evaluation = evaluate_logits(logits, labels)
    assert np.trace(evaluation.confusion) == round(evaluation.top1 * 200) > 0 or np.isnan(values).any()
    assert np.trace(evaluation.confusion) == np.sum(predicted_classes(logits, labels) == labels)
    np.testing.assert_array_equal(evaluation.confusion.sum(axis=1), np.bincount(labels))


def test_the_predicted_class_has_the_highest_logit_if_there_are_no_ties():
    logits = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    labels = np.arange(50) % 6
    np.testing.assert_array_equal(predicted_classes(logits, labels), np.argmax(logits, axis=1))


def test_a_tie_with_the_highest_logit_counts_as_wrong_in_top1_and_as_second_in_top5():
    logits = np.array([[1, 1, 0, 0, 0, 0, 0]], np.float32)
    evaluation = evaluate_logits(logits, np.array([0]))
    assert (evaluation.top1, evaluation.top5) == (0, 1)


@pytest.mark.parametrize(("examples", "batch_size", "batches"), [(7, 3, 3), (6, 3, 2), (2, 500, 1), (5, 1, 5)])
def test_a_test_set_counts_every_image_once_whatever_the_batch_size(examples, batch_size, batches):
    labels = np.arange(examples) % 3
    images = np.full((examples, 2, 2, 3), 10, np.uint8) * (1 + labels[:, None, None, None]).astype(np.uint8)
    shapes = []

    def predict(batch):
        """Predicts the class from the grey level; the black padding images come out as class 0."""
        assert batch.dtype == jnp.uint8
        shapes.append(batch.shape)
        return -jnp.abs(batch[:, 0, 0, :1] / 10.0 - 1 - jnp.arange(3))

    evaluation = TestSet(images, labels, batch_size).evaluate(predict)
    assert (evaluation.examples, evaluation.top1) == (examples, 1)
    np.testing.assert_array_equal(evaluation.confusion, np.diag(np.bincount(labels, minlength=3)))
    assert shapes == [(min(batch_size, examples), 2, 2, 3)] * batches


def test_a_test_set_keeps_images_and_labels_together():
    images, labels = (
        np.arange(1, 8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8),
        np.arange(7),
    )
    wrong = np.array([2, 5])

    def predict(batch):
        seen = np.asarray(batch[:, 0, 0, 0]).astype(int) - 1
        return logits_that_predict(np.where(np.isin(seen, wrong), (seen + 1) % 7, seen), 7)

    evaluation = TestSet(images, labels, 3).evaluate(predict)
    np.testing.assert_allclose(evaluation.top1, 5 / 7)
    assert np.flatnonzero(np.diag(evaluation.confusion) == 0).tolist() == wrong.tolist()


def test_other_images_are_computed_in_batches_of_the_same_size_with_all_outputs_of_a_network():
    shapes = []

    def network(batch):
        shapes.append(batch.shape)
        grey = jnp.asarray(batch[:, 0, 0, :1], jnp.float32)
        return 2 * grey, jnp.concatenate([grey, -grey], axis=1)

    def images(*greys):
        return np.array(greys, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)

    test_set = TestSet(images(1, 2, 3, 4), np.zeros(4, np.int32), 3)
    doubled, both = test_set.outputs(network)
    assert doubled.tolist() == [[2], [4], [6], [8]] and both[3].tolist() == [4, -4]
    doubled, both = test_set.outputs_of(images(7), network)
    assert doubled.tolist() == [[14]] and both.tolist() == [[7, -7]]
    assert shapes == [(3, 2, 2, 3)] * 3
