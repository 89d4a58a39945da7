"""The log of a training stage: metrics, pictures and, if enabled, TensorBoard and Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax.reporting.metrics import MetricsLog
from chimeramix_jax.reporting.picture_folder import PictureFolder
from chimeramix_jax.reporting.sinks import Sink
from chimeramix_jax.reporting.stage_files import METRICS, PICTURES
from chimeramix_jax.reporting.tensorboard_sink import TensorBoardSink
from chimeramix_jax.reporting.wandb_sink import WandbSink


class StageLog(Sink):
    """Forwards everything to the sinks that ``config.logging`` enables; use it in a ``with`` statement."""

    def __init__(self, directory: Path, logging: ConfigDict, settings: Mapping[str, Any]):
        """Creates the sinks of a stage in its directory; ``settings`` are all settings of the run, which W&B shows."""
        self._sinks: list[Sink] = [MetricsLog(directory / METRICS), PictureFolder(directory / PICTURES)]
        if logging.tensorboard:
            self._sinks.append(TensorBoardSink(directory))
        if logging.wandb != "off":
            self._sinks.append(WandbSink(directory, settings, logging.wandb_project, logging.wandb))

    def rewind(self, step: int) -> None:
        """Starts all sinks, or rewinds them to a step."""
        for sink in self._sinks:
            sink.rewind(step)

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Writes the measurements of an epoch to all sinks."""
        for sink in self._sinks:
            sink.write(stage=stage, epoch=epoch, step=step, **scalars)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Writes pictures of the state after an epoch to all sinks."""
        for sink in self._sinks:
            sink.write_pictures(pictures, epoch=epoch, step=step)

    def close(self) -> None:
        """Closes all sinks."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> "StageLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
