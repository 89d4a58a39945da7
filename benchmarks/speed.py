"""Times the training iterations and the same iterations in PyTorch (``benchmarks/pytorch_twin.py``).

    python -m benchmarks.speed --stage generator --preset small
    python -m benchmarks.speed --stage classifier --preset paper --pytorch published lean --json speed.json
    python -m benchmarks.speed --stage generator --preset paper --pytorch  # ours alone

Our iterations run exactly as in training. Each side has its own process, and the sides run alternating rounds of some
iterations, so that only one works at a time and other work on the machine affects all alike. The first round, which
compiles, does not count. Times are medians over the other rounds, and comparisons are medians of the rounds' ratios.

- *images per second*: pairs per second; each pair gives a mixed image.
- *to start*: the additional time of the first round (for ours, compilation).
- *needed GFLOP*: the arithmetic of an iteration, counted by hand (``benchmarks/flops.py``). Rates and the share of the
  device's peak are based on it, so unnecessary work does not count. *XLA's count* is that of the compiled step.
- *peak memory*: the device's on a GPU, the whole process's on CPU.

A classifier's round has a fixed number of mixed batches, the same on both sides (``--mixing-probability``, by default
half of them). Our side runs only epochs whose coins give this number.

The twin does the work of the published program, or only what is needed (``--pytorch lean``); its module says what that
means. Its images are already augmented and in the device's memory, which favours it: ours draws, pairs and augments its
images in every step. With ``--loader-workers``, processes load and augment the twin's images, as in PyTorch programs.

``--against`` times our side of another checkout of this repository as well, such as a worktree of an earlier commit. It
gets only those sizes that differ from the defaults, so an earlier version need not know the later ones.

Only the comparison needs PyTorch: ``pip install torch``. ``--pytorch-python`` names the interpreter of another
environment that has torch and jaxtyping.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks import flops
from benchmarks.presets import PRESETS, Preset, Request

ROOT = Path(__file__).parents[1]
OURS, OTHER_CHECKOUT = "ours", "checkout"
TITLES = {
    OURS: "chimeramix_jax",
    OTHER_CHECKOUT: "the other checkout",
    "published": "PyTorch, published",
    "lean": "PyTorch, lean",
}


class Side:
    """A side of the comparison in its process, with its measurements."""

    def __init__(self, name: str, request: Request, python: str, checkout: Path = ROOT):
        """Starts the process in a checkout and waits until it is ready."""
        self.name = name
        work = OURS if name == OTHER_CHECKOUT else name
        self.seconds: list[float] = []  # per round, without the first
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.speed_worker", work, json.dumps(request.changed())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
        )
        self.about = self._answer()
        self.first_round = 0.0
        self.afterwards: dict[str, Any] = {}

    def first(self) -> None:
        """Runs the round that compiles."""
        self.first_round = self._ask("round")["seconds"]

    def round(self) -> None:
        """Runs a round that counts."""
        self.seconds.append(self._ask("round")["seconds"])

    def end(self) -> None:
        """Asks for the figures that are known at the end."""
        self.afterwards = self._ask("end")

    def __enter__(self) -> Self:
        """Returns this side."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer shows that the process has ended
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "its process ended; its messages are above"}
        if "error" in answer:
            sys.exit(f"{TITLES[self.name]}: {answer['error']}")
        return answer


def main() -> None:
    """Prints a table, a column per side."""
    arguments = parse_arguments()
    preset = PRESETS[arguments.stage, arguments.preset]
    preset = dataclasses.replace(
        preset,
        decoder_residual_blocks=arguments.decoder_residual_blocks,
        mixing_probability=arguments.mixing_probability,
    )
    request = Request(preset, arguments.device, arguments.steps, arguments.loader_workers)
    sides = run(request, arguments.pytorch, arguments.pytorch_python, arguments.rounds, arguments.against)
    figures = {side.name: figures_of(side, sides[0], preset) for side in sides}
    print(f"{arguments.stage}, {arguments.preset}: {preset}")
    print(f"{os.cpu_count()} cores of {processor()}, python {platform.python_version()}")
    print(f"{arguments.rounds} alternating rounds of {sides[0].about['steps']} iterations")
    print(table(figures))
    if arguments.json:
        machine = {"cores": os.cpu_count(), "processor": processor()}
        content = {
            "arguments": vars(arguments),
            "preset": dataclasses.asdict(preset),
            "machine": machine,
            "sides": figures,
        }
        Path(arguments.json).write_text(json.dumps(content, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("generator", "classifier"), required=True, help="the stage to time")
    parser.add_argument("--preset", choices=("tiny", "small", "paper"), default="small", help="its sizes")
    parser.add_argument("--device", choices=("cpu", "gpu", "auto"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--rounds", type=int, default=7, help="how many rounds of each side count")
    parser.add_argument("--steps", type=int, default=0, help="iterations per round (default: 1 to 6, on a GPU 50)")
    parser.add_argument("--decoder-residual-blocks", type=int, choices=(0, 2), default=0, help="2: as in the paper")
    parser.add_argument(
        "--mixing-probability",
        type=float,
        default=0.5,
        help="share of the classifier's batches that are mixed, on both sides: 0.5 as published, 1 for all",
    )
    parser.add_argument(
        "--pytorch",
        nargs="*",
        choices=("published", "lean"),
        default=["published"],
        help="the twin's work: as published, or only what is needed; both or none are allowed",
    )
    parser.add_argument("--against", metavar="FOLDER", help="another checkout of this repository to compare with")
    parser.add_argument("--loader-workers", type=int, default=0, help="processes that load the twin's images")
    parser.add_argument("--pytorch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--json", help="file for all figures, including those of every round")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.steps < 0 or arguments.loader_workers < 0:
        parser.error("--rounds must be at least 1; --steps and --loader-workers must not be negative")
    if not 0 < arguments.mixing_probability <= 1:
        parser.error("--mixing-probability must be above 0 and up to 1")
    if arguments.against and not Path(arguments.against, "benchmarks", "speed_worker.py").is_file():
        parser.error(f"--against: {arguments.against} is not a checkout of this repository")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        parser.error(f"--json: {arguments.json} its folder does not exist")
    return arguments


def processor() -> str:
    """Returns the processor's name, or its architecture if the system does not tell the name."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1] if name else platform.machine()


def run(
    request: Request, works: Sequence[str], pytorch_python: str, rounds: int, against: str | None = None
) -> list[Side]:
    """Runs all sides in alternating rounds; returns them with their measurements, ours first."""
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(Side(OURS, request, sys.executable))]
        # Our side decides what "auto" means; the others follow.
        about = sides[0].about
        request = dataclasses.replace(request, device=about["platform"], steps=about["steps"])
        if against is not None:
            sides.append(stack.enter_context(Side(OTHER_CHECKOUT, request, sys.executable, Path(against))))
        for work in dict.fromkeys(works):
            sides.append(stack.enter_context(Side(work, request, pytorch_python)))
        for side in sides:
            side.first()
        for number in range(rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                side.round()
            times = "; ".join(f"{TITLES[side.name]} {side.seconds[-1]:.3f} s" for side in sides)
            print(f"round {number + 1} of {rounds}: {times}", file=sys.stderr, flush=True)
        for side in sides:
            side.end()
    return sides


def figures_of(side: Side, ours: Side, preset: Preset) -> dict[str, Any]:
    """Returns all figures of a side, in JSON's types."""
    steps, needed = side.about["steps"], flops.needed(preset)
    median = statistics.median(side.seconds)
    rate = needed * steps / median
    ratios = [mine / theirs for mine, theirs in zip(side.seconds, ours.seconds, strict=True)]
    return side.about | {
        "ms_per_iteration": median / steps * 1e3,
        "time_over_ours": statistics.median(ratios),
        "quartiles_over_ours": statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else ratios * 2,
        "images_per_second": preset.batch_size * steps / median,
        "seconds_to_start": max(side.first_round - median, 0.0),
        "needed_flops": needed,
        "xla_flops": side.afterwards["xla_flops"],
        "flops_per_second": rate,
        "share_of_peak": flops.share_of_peak(side.about["device"], side.about["precision"], rate),
        "peak_bytes": side.afterwards["peak_bytes"],
        "seconds_per_round": side.seconds,
    }


ROWS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "version": lambda side: ", ".join(
        f"{name} {side['versions'][name]}" for name in side["versions"] if name != "python"
    ),
    "device": lambda side: side["device"],
    "computes in": lambda side: side["precision"],
    "ms per iteration, median": lambda side: f"{side['ms_per_iteration']:.4g}",
    "time over ours, median of rounds": lambda side: f"{side['time_over_ours']:.2f}",
    "its quartiles": lambda side: " to ".join(f"{ratio:.2f}" for ratio in side["quartiles_over_ours"]),
    "images per second": lambda side: f"{side['images_per_second']:.4g}",
    "to start": lambda side: f"{side['seconds_to_start']:.1f} s",
    "needed GFLOP per iteration": lambda side: f"{side['needed_flops'] / 1e9:.4g}",
    "XLA's count of GFLOP": lambda side: "-" if side["xla_flops"] is None else f"{side['xla_flops'] / 1e9:.4g}",
    "needed GFLOP/s": lambda side: f"{side['flops_per_second'] / 1e9:.4g}",
    "share of the device's peak": lambda side: "-" if side["share_of_peak"] is None else f"{side['share_of_peak']:.1%}",
    "peak memory": lambda side: f"{side['peak_bytes'] / 2**20:.0f} MiB",
}


def table(figures: Mapping[str, dict[str, Any]]) -> str:
    """Returns a table with a column of figures for each side."""
    lines = [["", *(TITLES[name] for name in figures)]]
    lines += [[row, *(show(side) for side in figures.values())] for row, show in ROWS.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in lines
    )


if __name__ == "__main__":
    main()
