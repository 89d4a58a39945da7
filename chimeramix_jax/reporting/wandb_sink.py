"""Measurements and pictures as Weights & Biases shows them."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.sinks import Sink


class WandbSink(Sink):
    """Sends a stage to Weights & Biases as a run of its own; the stages of a run share a group.

    The id is kept in the stage's directory, so that a continued stage continues its curves. There W&B lets steps that
    it has seen before pass, and rightly: a resumed run measures the same again, bit for bit.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], project: str, mode: Literal["online", "offline"]):
        """Makes sure that W&B can be used; it is started when the training begins.

        Args:
            directory: the stage's, in the run's.
            config: the run's settings, to be shown beside the curves.
            project: of W&B.
            mode: "online", or "offline" to send it later by ``wandb sync``.

        Raises:
            InputError: the mode is "online" and nobody is logged in.
        """
        import wandb  # an optional extra; config.check has made sure of it

        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise InputError("logging.wandb: 'online', but nobody is logged in; run 'wandb login', or choose 'offline'")
        self._wandb, self._directory, self._config = wandb, directory, config
        self._project, self._mode = project, mode

    def rewind(self, step: int) -> None:
        """Starts the run of W&B, or continues it."""
        self._run = self._wandb.init(
            project=self._project,
            mode=self._mode,
            id=self._run_id(),
            resume="allow",
            reinit="create_new",
            group=self._directory.parent.name,
            name=f"{self._directory.parent.name}/{self._directory.name}",
            config=dict(self._config),
            dir=self._directory,
            settings=self._wandb.Settings(silent=True, console="off"),  # standard error is this program's to write to
        )

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Adds a point to every curve."""
        self._run.log({f"{stage}/{name}": value for name, value in (scalars | {"epoch": epoch}).items()}, step=step)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Adds the pictures, each under its name."""
        self._run.log({name: self._wandb.Image(picture) for name, picture in pictures.items()}, step=step)

    def close(self) -> None:
        """Ends the run; online, what has not been sent yet is."""
        self._run.finish()

    def _run_id(self) -> str:
        path = self._directory / "wandb_run_id.txt"
        if not path.exists():
            files.write_bytes(path, uuid.uuid4().hex.encode())
        return path.read_text(encoding="utf-8")
