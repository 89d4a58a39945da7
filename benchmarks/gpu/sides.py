"""The sides of ``benchmarks/speed.py``, and the kit's additions: a compiled twin, and sides that may fail."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import speed
from benchmarks.gpu.items import ROOT, Context
from benchmarks.presets import PRESETS, Preset, Request

COMPILED = "compiled"
TITLES = speed.TITLES | {COMPILED: "PyTorch, lean, torch.compile"}


class Contestant(speed.Side):
    """A side of the comparison in its process."""

    def __init__(self, name: str, request: Request, title: str = ""):
        """Starts the process and waits until it is ready."""
        self.name, self.title, self.request = name, title or TITLES[name], request
        self.seconds: list[float] = []
        environment = dict(os.environ)
        environment.pop("XLA_PYTHON_CLIENT_PREALLOCATE", None)  # memory as in training
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.side", name, json.dumps(dataclasses.asdict(request))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self.about = self._answer()
        self.first_round = 0.0
        self.afterwards: dict[str, Any] = {}


def request(stage: str, *, tiny: bool) -> Request:
    """Returns the request for the published sizes of a stage, or for tiny ones."""
    return Request(PRESETS[stage, "tiny" if tiny else "paper"], "auto", 2 if tiny else 0)


def alternate(contestants: Sequence[Contestant], rounds: int, context: Context) -> None:
    """Runs everyone's compiling round, if it has not run yet, and then alternating rounds while the time allows."""
    for one in contestants:
        if not one.first_round:
            one.first()
    longest = 0.0
    for number in range(rounds):
        if number and context.seconds_left < 2 * longest:
            break
        before = context.seconds_left
        for one in contestants if number % 2 == 0 else reversed(contestants):
            one.round()
        longest = max(longest, before - context.seconds_left)
    for one in contestants:
        one.end()


def figures(contestant: Contestant, ours: Contestant, preset: Preset) -> dict[str, Any]:
    """Returns all figures of a side."""
    return speed.figures_of(contestant, ours, preset)
