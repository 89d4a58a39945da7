"""The interface of sinks, which receive the measurements and pictures of a stage while it trains."""

from collections.abc import Mapping
from typing import Any

from PIL import Image


class Sink:
    """A receiver of measurements, pictures or both. Methods that a sink does not override do nothing.

    ``rewind`` is called first and ``close`` last. Sinks that write to third-party files or services open them in
    ``rewind``, so that a stage that is already finished creates nothing new.
    """

    def rewind(self, step: int) -> None:
        """Discards the measurements made after a step, because training resumes from there; 0 starts the stage."""

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Receives the measurements of an epoch that ended at this step, counted from the start of the stage."""

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Receives pictures of the state after an epoch, by name."""

    def close(self) -> None:
        """Flushes and closes the sink; nothing is written afterwards."""
