"""Finds the nearest neighbours of vectors by cosine similarity, in blocks that bound the memory."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

BLOCK = 1024  # vectors of either kind that are compared at once: 4 MB of similarities


class Neighbours(NamedTuple):
    """The nearest references of each query, the nearest first."""

    indices: Int[np.ndarray, "queries count"]
    similarities: Float[np.ndarray, "queries count"]  # cosines of the angles between query and reference


def nearest_by_cosine(
    queries: Float[np.ndarray, "queries channels"],
    references: Float[np.ndarray, "references channels"],
    count: int,
    block: int = BLOCK,
) -> Neighbours:
    """Returns each query's ``count`` most similar references, or all if there are fewer; of equals, the first.

    A vector of zeros has similarity 0 to all others. Besides the arguments and the result, the memory is that of one
    block of similarities.
    """
    references = _of_length_one(references)
    count = min(count, len(references))
    indices = np.empty((len(queries), count), np.int64)
    similarities = np.empty((len(queries), count), np.float32)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        directions = _of_length_one(queries[rows])
        best = Neighbours(np.empty((len(directions), 0), np.int64), np.empty((len(directions), 0), np.float32))
        for first in range(0, len(references), block):
            best = _merged(best, directions @ references[first : first + block].T, first, count)
        indices[rows], similarities[rows] = best
    return Neighbours(indices, similarities)


def _merged(best: Neighbours, similarities: Float[np.ndarray, "queries block"], first: int, count: int) -> Neighbours:
    """Returns the best of the neighbours so far and of a block of references that begins at number ``first``."""
    numbers = np.broadcast_to(np.arange(first, first + similarities.shape[1]), similarities.shape)
    candidates = np.concatenate([best.indices, numbers], axis=1)
    values = np.concatenate([best.similarities, similarities], axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return Neighbours(np.take_along_axis(candidates, order, axis=1), np.take_along_axis(values, order, axis=1))


def _of_length_one(vectors: Float[np.ndarray, "vectors channels"]) -> Float[np.ndarray, "vectors channels"]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
