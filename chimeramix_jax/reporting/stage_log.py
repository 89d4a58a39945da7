"""All that is kept of a stage while it trains: its record and pictures, and what TensorBoard and W&B show."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax.reporting.metrics import MetricsLog
from chimeramix_jax.reporting.picture_folder import PictureFolder
from chimeramix_jax.reporting.sinks import Sink
from chimeramix_jax.reporting.tensorboard_sink import TensorBoardSink
from chimeramix_jax.reporting.wandb_sink import WandbSink


class StageLog(Sink):
    """Hands everything on to the sinks that ``config.logging`` asks for; to be used in a ``with`` statement."""

    def __init__(self, directory: Path, chosen: ConfigDict, settings: Mapping[str, Any]):
        """Names the sinks of a stage.

        Args:
            directory: the stage's: ``metrics.jsonl``, ``pictures/`` and, where asked for, event files go there.
            chosen: ``config.logging``.
            settings: all of the run's, as W&B is to show them.

        Raises:
            InputError: the record that is there already is none, or a sink cannot be used.
        """
        self._sinks: list[Sink] = [MetricsLog(directory / "metrics.jsonl"), PictureFolder(directory / "pictures")]
        if chosen.tensorboard:
            self._sinks.append(TensorBoardSink(directory))
        if chosen.wandb != "off":
            self._sinks.append(WandbSink(directory, settings, chosen.wandb_project, chosen.wandb))

    def rewind(self, step: int) -> None:
        """Begins, or takes back what was measured after a step."""
        for sink in self._sinks:
            sink.rewind(step)

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Keeps the measurements of an epoch."""
        for sink in self._sinks:
            sink.write(stage=stage, epoch=epoch, step=step, **scalars)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Keeps pictures of the state after an epoch."""
        for sink in self._sinks:
            sink.write_pictures(pictures, epoch=epoch, step=step)

    def close(self) -> None:
        """Closes all sinks."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> Self:
        """Returns this log."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes all sinks, also where the stage was interrupted."""
        self.close()
