import tracemalloc

import numpy as np
import pytest

from chimeramix_jax.runs.nearest import nearest_by_cosine


def vectors(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 4, 7, 100])
def test_the_nearest_are_those_of_largest_cosine_whatever_the_blocks(block):
    queries, references = vectors(11, 0), vectors(23, 1)
    cosines = queries @ references.T / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(references, axis=1)
    expected = np.argsort(-cosines, axis=1)[:, :3]
    indices, similarities = nearest_by_cosine(queries, references, 3, block)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(similarities, np.take_along_axis(cosines, expected, axis=1), rtol=1e-5)


def test_the_length_of_a_vector_does_not_matter_and_zeros_are_similar_to_nothing():
    queries = np.array([[2.0, 0.0], [0.0, 0.0]], np.float32)
    references = np.array([[0.0, 5.0], [0.0, 0.0], [0.1, 0.0], [-9.0, 0.0]], np.float32)
    indices, similarities = nearest_by_cosine(queries, references, 4)
    assert indices.tolist() == [[2, 0, 1, 3], [0, 1, 2, 3]]
    assert similarities.tolist() == [[1, 0, 0, -1], [0, 0, 0, 0]]


def test_all_references_are_returned_if_there_are_fewer_than_requested():
    assert nearest_by_cosine(vectors(2, 0), vectors(1, 1), 3).indices.tolist() == [[0], [0]]


def test_the_memory_is_that_of_a_block_and_not_of_all_pairs():
    queries, references = vectors(3000, 0), vectors(3000, 1)  # 36 MB of similarities
    tracemalloc.start()
    try:
        nearest_by_cosine(queries, references, 3, block=100)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
