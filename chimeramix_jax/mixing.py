"""Masks, and mixing two images' features (or pixels) by them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def blend(
    features_a: Float[Array, "batch height width channels"],
    features_b: Float[Array, "batch height width channels"],
    mask: Float[Array, "batch height width 1"],
) -> Float[Array, "batch height width channels"]:
    """Takes a where ``mask`` is 1 and b where it is 0; values between blend linearly."""
    mask = mask.astype(features_a.dtype)
    return mask * features_a + (1 - mask) * features_b


def grid_masks(
    key: PRNGKeyArray, batch_size: int, side: int, mix_size: int = 4
) -> Float[Array, "batch_size side side 1"]:
    """Random grids of zeros and ones, as the published program draws them.

    Each image gets its own ``mix_size`` x ``mix_size`` grid of fair coins. The grids are stretched (nearest
    neighbour) to ``side + pad`` with ``pad = side // mix_size``, and a window of ``side`` is cut out at an offset drawn
    from 0..pad-1 in each direction, the same for the whole batch.
    """
    pad = side // mix_size
    grid_key, offset_key = jax.random.split(key)
    grids = jax.random.bernoulli(grid_key, 0.5, (batch_size, mix_size, mix_size))
    rows, columns = jax.random.randint(offset_key, (2, 1), 0, pad) + jnp.arange(side)
    # Nearest neighbour, rounding down: pixel p of the stretched grid shows cell floor(p * mix_size / (side + pad)).
    cell_rows, cell_columns = rows * mix_size // (side + pad), columns * mix_size // (side + pad)
    return grids[:, cell_rows][:, :, cell_columns, None].astype(jnp.float32)
