"""Where a stage's measurements and pictures go while it trains: what every such place can be told."""

from collections.abc import Mapping
from typing import Any

from PIL import Image


class Sink:
    """A place for measurements, pictures or both; what a sink has no use for, it lets pass.

    ``rewind`` comes first and ``close`` last. Writers to files or services of others open them in ``rewind``, so that a
    stage that is finished already leaves nothing new.
    """

    def rewind(self, step: int) -> None:
        """Takes back what was measured after a step, because the training continues from there (0: begins)."""

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Takes the measurements of an epoch that ended at this step, counted from the stage's start."""

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Takes pictures, by name, of the state after an epoch."""

    def close(self) -> None:
        """Brings everything to its place; nothing is written afterwards."""
