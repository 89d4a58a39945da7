"""The config files that come with the program: in ``configs/`` beside the package, and within it once installed."""

import importlib
import importlib.util
import sys
from pathlib import Path

from ml_collections import ConfigDict

_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """Where they lie."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """What ``--config`` may call those that describe a run, such as ``digits``."""
    bases = {"__init__", "common", "experiments"}  # which the others build on
    return sorted(path.stem for path in folder().glob("*.py") if path.stem not in bases)


def experiment_names() -> tuple[str, ...]:
    """What may stand behind the colon of ``--config``, such as ``chimeramix_grid``."""
    make_importable()
    return tuple(importlib.import_module("configs.experiments").EXPERIMENTS)


def defaults() -> ConfigDict:
    """Every setting with its default."""
    make_importable()
    return importlib.import_module("configs.common").get_config()


def make_importable() -> None:
    """Lets any config file build on the shipped ones as ``configs``, the name of their folder in a checkout."""
    if "configs" in sys.modules:
        return
    package = folder()
    specification = importlib.util.spec_from_file_location(
        "configs", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["configs"] = module
    specification.loader.exec_module(module)
