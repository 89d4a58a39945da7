"""Loads settings by running a config file."""

import contextlib
import functools
import inspect
import numbers
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from absl import flags
from ml_collections import ConfigDict, config_flags

from chimeramix_jax.config import own_code, shipped
from chimeramix_jax.config.defaults import SETTINGS
from chimeramix_jax.config.each_setting import check_each, check_key
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.config.rules import YES_OR_NO
from chimeramix_jax.config.storing import flatten
from chimeramix_jax.errors import InputError, nearest
from chimeramix_jax.extensions import registry, running
from chimeramix_jax.extensions.registry import Registration
from chimeramix_jax.paths import local_path, refuse_address

_based_on: list[Registration] = []  # own experiments whose config files are being loaded

_FLIP, _MIRROR = "augment.horizontal_flip", "evaluation.mirror"


def load(source: str | os.PathLike[str]) -> ConfigDict:
    """Calls ``get_config`` of a config file and returns its settings, locked (no new keys), each checked by itself.

    ``source`` is ``path/to/file.py``, or ``path/to/file.py:experiment`` to pass an experiment to ``get_config``. The
    path may be replaced by the name of a shipped file: ``digits``, ``digits:baseline``. A file that registers own
    experiments needs no ``get_config``: then they change the settings of the config file that they name. Raises
    InputError for a file without a valid ``get_config`` and without experiments, for one that fails, and for settings
    that are missing, unknown or of a value that none may have.
    """
    source = os.fspath(source)
    refuse_address(source, "--config")
    path, experiment = shipped.separated(source)
    arguments = [] if experiment is None else [experiment]
    module = _module(path)
    file = Path(str(module.__file__))
    get_config = getattr(module, "get_config", None)
    if get_config is None and (own := registry.experiments_of(str(file))):
        with running.importable(file.parent):
            config = _own_experiment(source, own, *arguments)
    elif not callable(get_config):
        raise InputError(f"--config={file}: the file defines no function get_config, and registers no experiment")
    else:
        try:
            inspect.signature(get_config).bind(*arguments)
        except TypeError:
            problem = "takes no experiment after ':'" if arguments else "needs an experiment: write file.py:experiment"
            raise InputError(f"--config={source}: get_config of this file {problem}") from None
        with running.importable(file.parent), running.failures_named(file):
            config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={source}: get_config returned a {type(config).__name__}, not a ConfigDict")
    config.lock()
    _refuse_other_settings(config, file)
    own_code.record(config)
    return config


def _refuse_other_settings(config: ConfigDict, file: Path) -> None:
    """Raises InputError, which names the config file, unless all settings are there, each with a possible value."""
    values = flatten(config)
    try:
        check_each(values)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _own_experiment(source: str, own: Sequence[Registration], name: str | None = None) -> ConfigDict:
    """Returns the settings of an experiment that a file without ``get_config`` registers, or of another in its place.

    ``own`` are the experiments that it registers, at least one.
    """
    if name is None and len(own) > 1:
        raise InputError(f"--config={source}: registers several experiments; choose one, as in {source}:{own[0].name}")
    chosen = next((experiment for experiment in own if experiment.name == name), own[0])
    if chosen in _based_on:
        raise InputError(
            f"{chosen.place}: experiment {chosen.name!r}: its config {chosen.value.config!r} leads back to this file, "
            "which has no get_config; it must be another config file, such as digits"
        )
    _based_on.append(chosen)
    try:
        return load(f"{chosen.value.config}:{name or chosen.name}")
    finally:
        _based_on.pop()


def register_from(path: str) -> None:
    """Runs a config file for what it registers, before its settings are needed."""
    _module(path)


def load_search_space(source: str) -> dict[str, str | list[str]] | None:
    """Calls ``get_search_space`` of a config file, which says what ``chimeramix tune`` searches; None without it.

    Returns a range or a list of values, all as text, by setting. Raises InputError, which names the file, for a
    function that fails or returns anything else.
    """
    module = _module(shipped.separated(source)[0])
    get_search_space = getattr(module, "get_search_space", None)
    if get_search_space is None:
        return None
    file = Path(str(module.__file__))
    if not callable(get_search_space):
        raise InputError(f"--config={file}: get_search_space is a {type(get_search_space).__name__}, not a function")
    with running.importable(file.parent), running.failures_named(file):
        space = get_search_space()
    if not isinstance(space, Mapping) or not space:
        returned = "an empty dictionary" if isinstance(space, Mapping) else f"a {type(space).__name__}"
        raise InputError(f"--config={file}: get_search_space returned {returned}; it must be a dictionary of settings")
    return {key: _values_to_search(f"--config={file}: get_search_space", key, space[key]) for key in space}


def _values_to_search(where: str, key: object, described: object) -> str | list[str]:
    """Returns what a search space says of a setting, as text; raises InputError if it is of another type."""
    if not isinstance(key, str):
        raise InputError(f"{where}: the key {key!r} is not allowed; it must be the name of a setting, as text")
    if isinstance(described, str):
        return described
    listed = described if isinstance(described, list | tuple | range) else [None]
    if all(isinstance(value, str | numbers.Real) for value in listed):
        return [str(value) for value in listed]
    allowed = 'text such as "0.001:0.1:log" or "a|b", or a list of values'
    raise InputError(f"{where}: {key}: {described!r} is not allowed; it must be {allowed}")


@functools.cache
def shipped_settings(dataset: str, experiment: str) -> dict[str, ConfigDict]:
    """Returns an experiment's settings in all shipped files for a data set, by file name; none for a user's own."""
    configs = {}
    for name in shipped.names() if experiment in EXPERIMENTS else []:
        with contextlib.suppress(InputError):  # a file that the user has added to the shipped ones
            configs[name] = load(f"{name}:{experiment}")
    return {name: config for name, config in configs.items() if config.dataset.name == dataset}


class _IntegerOrNone(flags.ArgumentParser[int | None]):
    """Reads a whole number or None, so that ``--config.max_labels_per_class=None`` can select all images."""

    def parse(self, argument: str | int | None) -> int | None:
        return None if argument in (None, "None") else int(argument)


def override(config: ConfigDict, arguments: Sequence[str]) -> list[str]:
    """Changes settings in place by arguments ``--config.KEY=VALUE``, and returns all other arguments.

    An argument that turns off mirror images in training also does in prediction, unless another one says otherwise.

    Raises InputError for an unknown key, or a value of the wrong type, and for another experiment: its name alone would
    change nothing but the name.
    """
    changed = overridden(arguments)
    for key in changed:
        check_key(key, SETTINGS)
    before = config.get("experiment")
    config_flags.register_flag_parser_for_type(int, _IntegerOrNone())
    parsed = flags.FlagValues()
    parsed.set_gnu_getopt(True)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=parsed, sys_argv=["", *arguments])
        rest = parsed(["", *arguments], known_only=True)[1:]
    except (flags.Error, ValueError) as error:
        raise InputError(_explain(str(error))) from None
    if _FLIP in changed and _MIRROR not in changed and not config.augment.horizontal_flip:
        config.evaluation.mirror = False
    if config.get("experiment") != before:
        raise InputError(
            f"experiment: {config.experiment!r}, but the settings are those of {before!r}; choose an experiment behind "
            f"the config file, as in --config=FILE:{config.experiment}"
        )
    return rest


def overridden(arguments: Sequence[str]) -> list[str]:
    """Returns the keys that arguments such as ``--config.KEY=VALUE`` or ``--noconfig.KEY`` change, in their order."""
    found = (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in arguments)
    return [named[1] for named in found if named]


def _explain(flag_error: str) -> str:
    """Rewrites the message of a flag that could not be parsed in the form of ``check``, if it is a setting."""
    setting = re.match(r"flag --(?:config\.)?([\w.]+)=(.*?): ", flag_error)
    if setting is None:
        return flag_error
    rule = YES_OR_NO if "Non-boolean" in flag_error else SETTINGS.get(setting[1])
    return f"{setting[1]}: {setting[2]!r} is not allowed; it must be {rule.allowed}" if rule else flag_error


def _module(named: str) -> ModuleType:
    """Runs a config file, which is named by its path or is a shipped one, and returns it as a module."""
    named = str(shipped.folder() / f"{named}.py") if named in shipped.names() else named
    path = str(local_path(named, "--config"))
    if os.path.isdir(path):
        raise InputError(f"--config={named}: is a folder; it must be a Python file")
    if not os.path.isfile(path):
        raise InputError(f"--config={named}: no such file ({_hint(named, path)})")
    if not path.endswith(".py"):
        raise InputError(f"--config={path}: not a Python file (its name must end in .py)")
    try:
        return running.run_file(Path(os.path.abspath(path)))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"--config={path}: not valid Python: {error}") from None


def _hint(named: str, path: str) -> str:
    """Suggests a file for the name of a missing one."""
    folder, name = os.path.split(path)
    beside = {
        file.name: os.path.join(folder, file.name)
        for file in sorted(Path(folder or ".").glob("*.py"))
        if file.is_file()
    }
    known = ({} if os.path.dirname(named) else {stem: stem for stem in shipped.names()}) | beside
    near = nearest(name, known)
    return f"did you mean {known[near]}?" if near else f"shipped configs: {', '.join(shipped.names())}"
