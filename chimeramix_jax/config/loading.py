"""Running a config file for its settings."""

import contextlib
import difflib
import functools
import importlib.util
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import shipped
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path, refuse_address


def load(source: str) -> ConfigDict:
    """Runs a config file's ``get_config`` and returns its settings, locked (no new keys) and not yet checked.

    Args:
        source: ``path/to/file.py``, or ``path/to/file.py:experiment`` to hand an experiment to ``get_config``. In the
            place of the path, the bare name of a shipped file will do: ``digits``, ``digits:baseline``.

    Raises:
        InputError: no such file, not Python, no ``get_config`` that takes this, or it returned something else.
    """
    refuse_address(source, "--config")
    path, *arguments = source.split(":", 1)
    get_config = _get_config_function(str(shipped.folder() / f"{path}.py") if path in shipped.names() else path)
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        wanted = "takes no experiment after ':'" if arguments else "needs an experiment: write file.py:experiment"
        raise InputError(f"--config={source}: get_config of this file {wanted}") from None
    config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={source}: get_config returned a {type(config).__name__}, not a ConfigDict")
    return config.lock()


@functools.cache
def shipped_settings(dataset: str, experiment: str) -> dict[str, ConfigDict]:
    """The settings of an experiment in every shipped file about a data set, by the file's name.

    There are none for a data set or an experiment of the user's own.
    """
    found = {}
    for name in shipped.names() if experiment in EXPERIMENTS else []:
        with contextlib.suppress(InputError):  # a file of the user's own, put beside the shipped ones
            found[name] = load(f"{name}:{experiment}")
    return {name: config for name, config in found.items() if config.dataset.name == dataset}


def _get_config_function(named: str) -> Callable[..., Any]:
    path = str(local_path(named, "--config"))
    if not os.path.isfile(path):
        raise InputError(f"--config={named}: no such file ({_hint(named, path)})")
    specification = importlib.util.spec_from_file_location("chimeramix_config_file", path)
    if specification is None or specification.loader is None:
        raise InputError(f"--config={path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"--config={path}: not valid Python: {error}") from None
    if not callable(getattr(module, "get_config", None)):
        raise InputError(f"--config={path}: the file defines no function get_config")
    return module.get_config


def _hint(named: str, path: str) -> str:
    """What may have been meant by the name of a file that is not there."""
    folder, name = os.path.split(path)
    beside = {file.name: os.path.join(folder, file.name) for file in sorted(Path(folder or ".").glob("*.py"))}
    known = ({} if os.path.dirname(named) else {one: one for one in shipped.names()}) | beside
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {known[near[0]]}?" if near else f"shipped are {', '.join(shipped.names())}"
