"""The manifest of a checkpoint: a list of its files with their digests, by which damage is noticed."""

import hashlib
import json
import os
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError

NAME = "manifest.json"


def seal(checkpoint: Path) -> None:
    """Writes the manifest into a complete checkpoint, whose files must not change from then on.

    Call it before the checkpoint gets its final name, so that a checkpoint without a manifest was never complete. All
    of it is on the disk then, so that it also survives a failure of power.
    """
    digests = {str(path.relative_to(checkpoint)): _digest(path, sync=True) for path in sorted(_files(checkpoint))}
    files.write_bytes(checkpoint / NAME, json.dumps({"sha256": digests}, separators=(",", ":")).encode())
    for folder in (checkpoint, *(path for path in checkpoint.rglob("*") if path.is_dir())):
        files.sync_folder(folder)


def damage(checkpoint: Path) -> str | None:
    """Returns what is wrong with a checkpoint, in words, or None if every file is as it was when sealed.

    Raises InputError if that cannot be found out, as a file system that is not there for the moment is no damage.
    """
    name = NAME
    try:
        digests = json.loads((checkpoint / NAME).read_bytes())["sha256"]
        for name, digest in digests.items():
            if _digest(checkpoint / name) != digest:
                return f"{name} is not as it was written"
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"{name} is missing"
    except OSError as error:
        raise InputError(f"{checkpoint / name}: cannot be read: {error.strerror}; try again once it can be") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{NAME} is not as it was written"
    return None


def _files(checkpoint: Path) -> list[Path]:
    return [path for path in checkpoint.rglob("*") if path.is_file()]


def _digest(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
