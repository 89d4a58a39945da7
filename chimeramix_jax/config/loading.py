"""Loads settings by running a config file."""

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
    """Calls ``get_config`` of a config file and returns its settings, locked (no new keys) and unchecked.

    ``source`` is ``path/to/file.py``, or ``path/to/file.py:experiment`` to pass an experiment to ``get_config``. The
    path may be replaced by the name of a shipped file: ``digits``, ``digits:baseline``. Raises InputError for a file
    without a valid ``get_config``.
    """
    refuse_address(source, "--config")
    path, *arguments = source.split(":", 1)
    get_config = _get_config_function(str(shipped.folder() / f"{path}.py") if path in shipped.names() else path)
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        problem = "takes no experiment after ':'" if arguments else "needs an experiment: write file.py:experiment"
        raise InputError(f"--config={source}: get_config of this file {problem}") from None
    config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={source}: get_config returned a {type(config).__name__}, not a ConfigDict")
    return config.lock()


@functools.cache
def shipped_settings(dataset: str, experiment: str) -> dict[str, ConfigDict]:
    """Returns an experiment's settings in all shipped files for a data set, by file name; none for a user's own."""
    configs = {}
    for name in shipped.names() if experiment in EXPERIMENTS else []:
        with contextlib.suppress(InputError):  # a file that the user has added to the shipped ones
            configs[name] = load(f"{name}:{experiment}")
    return {name: config for name, config in configs.items() if config.dataset.name == dataset}


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
    """Suggests a file for the name of a missing one."""
    folder, name = os.path.split(path)
    beside = {file.name: os.path.join(folder, file.name) for file in sorted(Path(folder or ".").glob("*.py"))}
    known = ({} if os.path.dirname(named) else {stem: stem for stem in shipped.names()}) | beside
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {known[near[0]]}?" if near else f"shipped configs: {', '.join(shipped.names())}"
