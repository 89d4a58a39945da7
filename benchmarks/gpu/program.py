"""Runs ``main.py`` as a user would start it, in a separate process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.items import ROOT

# For rehearsals: networks and epochs that two cores train in seconds.
TINY: Mapping[str, Any] = {
    "classifier.batch_size": 8,
    "classifier.epochs": 5,
    "classifier.image_side": 8,
    "classifier.model": "wrn-10-1",
    "classifier.num_dataset_repeats_base": 4,
    "generator.batch_size": 8,
    "generator.channels": 4,
    "generator.discriminator_channels": 4,
    "generator.epochs": 5,
    "generator.num_dataset_repeats_base": 3,
    "generator.residual_blocks": 1,
    "max_labels_per_class": 2,
}
# The published networks on the digits, with enough steps that a run can be stopped between them.
SHORT: Mapping[str, Any] = {
    "classifier.batch_size": 16,
    "classifier.epochs": 20,
    "classifier.learning_rate": 4.6e-3,
    "classifier.model": "wrn-16-8",
    "classifier.num_dataset_repeats_base": 200,
    "generator.batch_size": 32,
    "generator.channels": 64,
    "generator.decoder_residual_blocks": 0,
    "generator.discriminator_channels": 64,
    "generator.epochs": 20,
    "generator.learning_rate": 2e-4,
    "generator.num_dataset_repeats_base": 200,
}
STOPPED = 143  # the exit code after SIGTERM
SECONDS_BETWEEN_LOOKS = 0.02


class RunFailedError(Exception):
    """A run ended with an unexpected exit code, or had to be stopped."""


def settings(*, tiny: bool, **others: Any) -> dict[str, Any]:
    """Returns the settings of a short run on the digits; ``__`` in a name stands for a dot."""
    changes = {name.replace("__", "."): value for name, value in others.items()}
    return {"compare_with_baseline": False, "evaluation.every_epochs": 1000} | dict(TINY if tiny else SHORT) | changes


class Program:
    """A run in progress."""

    def __init__(
        self,
        workdir: Path,
        config: str,
        changes: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ):
        """Starts the run with some changed variables of the environment."""
        command = [sys.executable, str(ROOT / "main.py"), f"--config={config}", f"--workdir={workdir}"]
        workdir.parent.mkdir(parents=True, exist_ok=True)
        self._log = workdir.parent / f"{workdir.name.replace('{seed}', 'seeds')}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--config.{name}={value}" for name, value in changes.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
            )

    def running(self) -> bool:
        """Returns whether the run has not ended yet."""
        return self._process.poll() is None

    def stop(self) -> int:
        """Sends SIGTERM, as Slurm does; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait()

    def wait(self, deadline: float) -> None:
        """Waits for the end of the run.

        Raises:
            RunFailedError: the run failed, or did not end in time and was stopped.
        """
        try:
            code = self._process.wait(timeout=max(deadline - time.time(), 0.1))
        except subprocess.TimeoutExpired:
            self.stop()
            raise RunFailedError(f"{self._log.name}: the time was over") from None
        if code:
            raise RunFailedError(f"main.py ended with exit code {code}: {self.last_words()}")

    def stop_when(self, reached: Callable[[], bool], deadline: float) -> bool:
        """Stops the run as soon as ``reached`` returns True; returns whether it was still running then.

        Raises:
            RunFailedError: the run failed before, or the time was over.
        """
        while not reached():
            if not self.running():
                self.wait(deadline)
                return False
            if time.time() > deadline:
                self.stop()
                raise RunFailedError("the time was over before the run could be stopped")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        code = self.stop()
        if code not in (0, STOPPED):
            raise RunFailedError(f"main.py ended with exit code {code}: {self.last_words()}")
        return code == STOPPED

    def last_words(self) -> str:
        """Returns the end of the run's output."""
        return " ".join(self._log.read_text(errors="replace").split())[-300:]


def results(workdir: Path) -> dict[str, Any]:
    """Returns the content of a finished run's ``results.json``."""
    return json.loads((workdir / "results.json").read_text())


def epochs_done(workdir: Path, stage: str) -> int:
    """Returns the number of epochs of a stage that a run has finished."""
    file = workdir / stage / "metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0
