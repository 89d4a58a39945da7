"""Times the models' convolutions on CPU in XLA's form and in ours (``models/convolution.py``), shape by shape.

    python -m benchmarks.convolutions
    python -m benchmarks.convolutions --ynnpack

The shapes are those of the digits' generator (32 px, ngf 16, 64 pairs) and of WRN-10-2 (batch 32). The forward pass,
the input gradient and the kernel gradient are timed separately, with both candidates in alternating rounds. The table
has the medians and the median of the rounds' ratios. Where our form is XLA's, the ratio shows the noise. ``--ynnpack``
keeps XLA's default, which since 0.10 hands convolutions to YNNPACK (``chimeramix_jax/runtime/xla_flags.py``); the
column XLA shows its times.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

from chimeramix_jax.models.convolution import conv_general_dilated
from chimeramix_jax.runtime import cpu_setup, host_memory, xla_flags

Function = Callable[..., Any]

ROUNDS = 9
SHAPES = (  # name, batch, padded side, channels in and out, kernel side, stride
    ("encoder 7x7, 3 to 16", 128, 38, 3, 16, 7, 1),
    ("encoder 3x3/2, 16 to 32", 128, 34, 16, 32, 3, 2),
    ("encoder 3x3/2, 32 to 64", 128, 18, 32, 64, 3, 2),
    ("residual 3x3, 64 to 64", 128, 10, 64, 64, 3, 1),
    ("decoder 7x7, 16 to 3", 192, 38, 16, 3, 7, 1),
    ("discriminator 4x4/2, 16 to 32", 128, 18, 16, 32, 4, 2),
    ("discriminator 4x4/2, 64 to 128", 128, 6, 64, 128, 4, 2),
    ("discriminator 4x4, 128 to 1", 128, 5, 128, 1, 4, 1),
    ("WRN 3x3, 32 to 32, 32 px", 32, 34, 32, 32, 3, 1),
    ("WRN 3x3, 64 to 64, 16 px", 32, 18, 64, 64, 3, 1),
    ("WRN 3x3, 128 to 128, 8 px", 32, 10, 128, 128, 3, 1),
)


def main() -> None:
    """Prints a line per shape and direction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ynnpack", action="store_true", help="leave convolutions to XLA's default library")
    arguments = parser.parse_args()
    host_memory.keep_freed_memory()
    cpu_setup.compute_in_the_calling_thread()
    if not arguments.ynnpack:
        xla_flags.keep_convolutions_from_ynnpack()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'convolution':30}  {'':15}  {'XLA':>9}  {'ours':>9}  {'ours/XLA':>8}")
    for name, batch, padded, in_channels, out_channels, side, stride in SHAPES:
        random = np.random.default_rng(0)
        out = (padded - side) // stride + 1
        images = random.standard_normal((batch, padded, padded, in_channels), np.float32)
        kernel = random.standard_normal((side, side, in_channels, out_channels), np.float32)
        cotangent = random.standard_normal((batch, out, out, out_channels), np.float32)
        operands = jax.device_put((images, kernel, cotangent))  # once: only the convolutions are timed
        for direction, make in DIRECTIONS.items():
            candidates = [
                jax.jit(make(convolve, stride)) for convolve in (lax.conv_general_dilated, conv_general_dilated)
            ]
            times = [[_seconds(candidate, *operands) for candidate in candidates] for _ in range(ROUNDS + 1)][1:]
            xla, ours = (statistics.median(column) for column in zip(*times, strict=True))
            ratio = statistics.median(mine / theirs for theirs, mine in times)
            print(f"{name:30}  {direction:15}  {xla * 1e3:6.1f} ms  {ours * 1e3:6.1f} ms  {ratio:8.2f}", flush=True)


def _applied(convolve: Function, stride: int) -> Function:
    numbers = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))  # NHWC, HWIO, NHWC
    padding = ((0, 0), (0, 0))
    return lambda images, kernel: convolve(images, kernel, (stride, stride), padding, dimension_numbers=numbers)


def _forward(convolve: Function, stride: int) -> Function:
    return lambda images, kernel, cotangent: _applied(convolve, stride)(images, kernel)


def _gradient(argument: int) -> Function:
    """Returns a maker of functions that compute only one argument's gradient, and nothing for the other's."""

    def make(convolve: Function, stride: int) -> Function:
        return lambda *operands: jax.vjp(_applied(convolve, stride), *operands[:2])[1](operands[2])[argument]

    return make


DIRECTIONS = {"forward": _forward, "input gradient": _gradient(0), "kernel gradient": _gradient(1)}


def _seconds(function: Function, *arguments: jax.Array) -> float:
    started = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
