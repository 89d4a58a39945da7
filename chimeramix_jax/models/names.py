"""Names of classifiers. Does not import JAX, so checking settings is quick."""

import re
from dataclasses import dataclass
from typing import Optional

RESNET = "resnet-50"
PATTERNS = "wrn-<depth>-<width>, wrn-<depth>-<width>-early or resnet-50"


@dataclass(frozen=True)
class WideResNetName:
    """A wide ResNet's name: ``wrn-<depth>-<width>``, with ``-early`` if its first group halves the side, too."""

    depth: int
    width: int
    early: bool

    @classmethod
    def parse(cls, name: str) -> Optional["WideResNetName"]:
        """Reads a name; returns None if it is not that of a wide ResNet."""
        parts = re.fullmatch(r"wrn-(\d+)-(\d+)(-early)?", name)
        return None if parts is None else cls(int(parts[1]), int(parts[2]), parts[3] is not None)

    def __str__(self) -> str:
        return f"wrn-{self.depth}-{self.width}{'-early' if self.early else ''}"


def is_built_in(name: str) -> bool:
    """Whether a name is that of one of the program's classifiers, of any depth and width."""
    return name == RESNET or WideResNetName.parse(name) is not None
