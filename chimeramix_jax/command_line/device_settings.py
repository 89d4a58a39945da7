"""Chooses between the shipped settings for CPUs and for GPUs, where one name stands for both."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import exits, time_limit
from chimeramix_jax.config import shipped
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import backend

FOR_ACCELERATORS = {"image_folder": "image_folder_gpu"}  # a shipped file, and the one that replaces it on a GPU or TPU


def accelerators_source(source: str | None) -> str | None:
    """Returns what replaces ``--config`` on a GPU or TPU, with the same experiment; None if nothing does.

    Only names are replaced, such as ``image_folder`` or ``image_folder:auto``. A path always means that file.
    """
    name, experiment = shipped.separated(source or "")
    return shipped.joined(FOR_ACCELERATORS[name], experiment) if name in FOR_ACCELERATORS else None


def chosen(config: ConfigDict, source: str | None, overrides: Sequence[str], workdir: str | None) -> ConfigDict:
    """Returns the settings for this machine; says so, on standard error, if they are those for accelerators.

    A run that exists keeps the settings that it began with. This initialises JAX, unless ``--config`` has one meaning.

    Args:
        config: the settings of ``source`` for a CPU, with the overrides.
        source: the value of ``--config``.
        overrides: ``--config.KEY=VALUE`` and other arguments that change settings.
        workdir: the value of ``--workdir``.

    Raises:
        InputError: the settings for accelerators do not allow an override.
    """
    replaced_by = accelerators_source(source)
    if replaced_by is None or not backend.on_accelerator():
        return config
    of_accelerators = time_limit.settings_of(replaced_by, overrides)
    stored = _stored(config, workdir)
    if stored is not None and _distance(stored, config) < _distance(stored, of_accelerators):
        return config
    settings.check(of_accelerators)
    for_gpu, for_cpu = shipped.separated(replaced_by)[0], shipped.as_path(source or "")
    exits.say(f"using the settings in {for_gpu}.py, which are for a GPU; --config={for_cpu} names those for a CPU")
    return of_accelerators


def _stored(config: ConfigDict, workdir: str | None) -> ConfigDict | None:
    """Returns the settings of the run, or of the first seed's; None if there is no run yet."""
    if workdir is None:
        return None
    seeds = settings.parse_seeds(config.seeds)
    run = Workdir(settings.seed_in(workdir, seeds[0]) if seeds else workdir)
    return run.read_config() if run.has_config() else None


def _distance(stored: ConfigDict, requested: ConfigDict) -> int:
    return len(settings.differences(stored, requested))
