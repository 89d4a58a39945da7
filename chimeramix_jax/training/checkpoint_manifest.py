"""The manifest of a checkpoint: a list of its files with their digests, by which damage is noticed."""

import hashlib
import json
from pathlib import Path

NAME = "manifest.json"


def seal(checkpoint: Path) -> None:
    """Writes the manifest into a complete checkpoint, whose files must not change from then on.

    Call it before the checkpoint gets its final name, so that a checkpoint without a manifest was never complete.
    """
    digests = {str(path.relative_to(checkpoint)): _digest(path) for path in sorted(_files(checkpoint))}
    (checkpoint / NAME).write_text(json.dumps({"sha256": digests}, separators=(",", ":")))


def damage(checkpoint: Path) -> str | None:
    """Returns what is wrong with a checkpoint, in words, or None if every file is as it was when sealed."""
    try:
        digests = json.loads((checkpoint / NAME).read_bytes())["sha256"]
        for name, digest in digests.items():
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
            if _digest(checkpoint / name) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(checkpoint)} is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{NAME} is not as it was written"
    return None


def _files(checkpoint: Path) -> list[Path]:
    return [path for path in checkpoint.rglob("*") if path.is_file()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
