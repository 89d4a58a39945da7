"""What a complete checkpoint consists of: a list of its files with their digests, to notice damage by."""

import hashlib
import json
from pathlib import Path

NAME = "manifest.json"


def seal(checkpoint: Path) -> None:
    """Writes the list of a checkpoint's files into it; from then on none of them may change.

    To be called before the checkpoint takes its name, so that one without a list was never complete.
    """
    digests = {str(path.relative_to(checkpoint)): _digest(path) for path in sorted(_files(checkpoint))}
    (checkpoint / NAME).write_text(json.dumps({"sha256": digests}, separators=(",", ":")))


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None: every file is as it was sealed."""
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
