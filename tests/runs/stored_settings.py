"""Makes a copy of a finished run one of other settings, or of an earlier version."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chimeramix_jax.training.checkpoint_manifest import NAME, seal


def change(run: Path, changed: Callable[[dict[str, Any]], None]) -> None:
    """Changes the settings wherever a run has stored them: in ``config.json`` and in its checkpoints."""
    stored = json.loads((run / "config.json").read_text())
    changed(stored)
    (run / "config.json").write_text(json.dumps(stored))
    abouts = list(run.glob("*/checkpoints/*/about/metadata"))
    assert abouts
    for path in abouts:
        about = json.loads(path.read_text())
        changed(about["config"])
        path.write_text(json.dumps(about))
        checkpoint = path.parents[1]
        (checkpoint / NAME).unlink()  # a manifest does not list itself
        seal(checkpoint)
