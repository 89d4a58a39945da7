"""The gradient of a convolution's kernel: XLA's lowering against ours (``models/convolution.py``), shape by shape.

    python -m benchmarks.kernel_gradient

The shapes are those of the digits' generator (32 px, ngf 16, 64 pairs) and of WRN-10-2 (batch 32). Both candidates run
in alternating rounds; the median of each and the median of the rounds' ratios are printed.
"""

import statistics
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from jax import lax

from chimeramix_jax.models.convolution import kernel_gradient

ROUNDS = 9
SHAPES = (  # name, batch, padded side, channels in and out, kernel side, stride
    ("encoder 7x7, 3 to 16", 128, 38, 3, 16, 7, 1),
    ("encoder 3x3/2, 16 to 32", 128, 34, 16, 32, 3, 2),
    ("encoder 3x3/2, 32 to 64", 128, 18, 32, 64, 3, 2),
    ("residual 3x3, 64 to 64", 128, 10, 64, 64, 3, 1),
    ("decoder 7x7, 16 to 3", 192, 38, 16, 3, 7, 1),
    ("discriminator 4x4/2, 16 to 32", 128, 18, 16, 32, 4, 2),
    ("WRN 3x3, 32 to 32, 32 px", 32, 34, 32, 32, 3, 1),
    ("WRN 3x3, 64 to 64, 16 px", 32, 18, 64, 64, 3, 1),
    ("WRN 3x3, 128 to 128, 8 px", 32, 10, 128, 128, 3, 1),
)


def main() -> None:
    """Prints a line per shape."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'convolution':30}  {'XLA':>9}  {'ours':>9}  {'ours/XLA':>8}")
    for name, batch, padded, in_channels, out_channels, side, stride in SHAPES:
        random = np.random.default_rng(0)
        out = (padded - side) // stride + 1
        images = random.standard_normal((batch, padded, padded, in_channels), np.float32)
        cotangent = random.standard_normal((batch, out, out, out_channels), np.float32)
        kernel = np.zeros((side, side, in_channels, out_channels), np.float32)
        candidates = [jax.jit(_xla(kernel, stride)), jax.jit(_ours(kernel.shape, stride))]
        times = [[_seconds(candidate, images, cotangent) for candidate in candidates] for _ in range(ROUNDS + 1)][1:]
        xla, ours = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(mine / theirs for theirs, mine in times)
        print(f"{name:30}  {xla * 1e3:6.1f} ms  {ours * 1e3:6.1f} ms  {ratio:8.2f}", flush=True)


def _xla(kernel: np.ndarray, stride: int) -> Callable:
    def gradient(images, cotangent):
        def convolve(weights):
            return lax.conv_general_dilated(
                images, weights, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        return jax.vjp(convolve, kernel)[1](cotangent)[0]

    return gradient


def _ours(shape: tuple[int, int, int, int], stride: int) -> Callable:
    return lambda images, cotangent: kernel_gradient(images, cotangent, shape, (stride, stride))


def _seconds(function: Callable, *arguments: np.ndarray) -> float:
    started = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
