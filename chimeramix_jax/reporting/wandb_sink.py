"""A sink for Weights & Biases."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.sinks import Sink


class WandbSink(Sink):
    """Logs each stage to Weights & Biases as a separate run; the stages of one run share a group.

    The id is stored in the stage's directory, so that a resumed stage continues its curves. W&B ignores steps that it
    already has, which is right: a resumed run measures the same values again, bit for bit.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], project: str, mode: Literal["online", "offline"]):
        """Checks that W&B can be used, and raises InputError if not; its run starts when training begins."""
        import wandb  # an optional package; config.check has made sure that it is installed

        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise InputError("logging.wandb: 'online', but nobody is logged in; run 'wandb login', or choose 'offline'")
        self._wandb, self._directory, self._config = wandb, directory, config
        self._project, self._mode = project, mode

    def rewind(self, step: int) -> None:
        """Starts or resumes the W&B run."""
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
            settings=self._wandb.Settings(silent=True, console="off"),  # standard error belongs to the progress display
        )

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Adds a point to every curve."""
        self._run.log({f"{stage}/{name}": value for name, value in (scalars | {"epoch": epoch}).items()}, step=step)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Adds the pictures, each under its own name."""
        self._run.log({name: self._wandb.Image(picture) for name, picture in pictures.items()}, step=step)

    def close(self) -> None:
        """Finishes the W&B run; in online mode, this uploads what is still pending."""
        self._run.finish()

    def _run_id(self) -> str:
        path = self._directory / "wandb_run_id.txt"
        if not path.exists():
            files.write_bytes(path, uuid.uuid4().hex.encode())
        return path.read_text(encoding="utf-8")
