"""Trained networks out of a run's directory, with nothing else at hand."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.training.checkpoints import StageCheckpoints, State
from chimeramix_jax.training.classifier import build_classifier
from chimeramix_jax.training.generator import build_discriminator, build_generator
from chimeramix_jax.runs.workdir import Workdir


def restore_generator(workdir: str | os.PathLike[str]) -> Generator:
    """The mixing generator of the newest checkpoint of a run, or of the run that it takes its generator from.

    Raises:
        InputError: the directory holds no trained generator.
    """
    return _restore_network(workdir, "generator", build_generator)


def restore_discriminator(workdir: str | os.PathLike[str]) -> Discriminator:
    """The discriminator that the generator of a run was trained against.

    Raises:
        InputError: the directory holds no trained generator.
    """
    return _restore_network(workdir, "discriminator", build_discriminator)


def _restore_network(workdir: str | os.PathLike[str], name: str, build: Callable[[ConfigDict, nnx.Rngs], Any]) -> Any:
    """One of the two networks of stage 1."""
    checkpoints, step, about = _open(Workdir(workdir).generator_home().generator)
    config = settings.from_dict(about["config"])
    graph, parameters = nnx.split(nnx.eval_shape(lambda: build(config, nnx.Rngs(0))))
    return nnx.merge(graph, _read(checkpoints, step, {name: parameters})[name])


def restore_classifier(workdir: str | os.PathLike[str], part: str = "classifier") -> Classifier:
    """The classifier of the newest checkpoint of a run, in evaluation mode.

    Args:
        workdir: the run's directory.
        part: "classifier", or "baseline" for the one trained without mixing.

    Raises:
        InputError: the directory holds no such classifier.
    """
    checkpoints, step, about = _open(Workdir(workdir).path / part)
    config = settings.from_dict(about["config"])
    classifier = nnx.eval_shape(lambda: build_classifier(config, len(about["class_names"]), nnx.Rngs(0)))
    wanted = {"parameters": nnx.state(classifier, nnx.Param), "batch_statistics": nnx.state(classifier, nnx.BatchStat)}
    state = _read(checkpoints, step, wanted)
    return nnx.merge(nnx.graphdef(classifier.eval()), state["parameters"], state["batch_statistics"])


def class_names(workdir: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of a run's classes, in the order of the classifier's logits.

    Raises:
        InputError: the directory holds no trained classifier.
    """
    return tuple(_open(Workdir(workdir).classifier)[2]["class_names"])


def _open(directory: Path) -> tuple[Path, int, dict[str, Any]]:
    """A stage's checkpoints, the number of the newest intact one, and what it says of itself."""
    checkpoints = directory / "checkpoints"
    if not checkpoints.is_dir():
        raise InputError(f"{directory}: holds no checkpoints")
    with StageCheckpoints(checkpoints, read_only=True) as stored:
        step = stored.latest_step()
        if step is None:
            raise InputError(f"{checkpoints}: holds no complete checkpoint")
        return checkpoints, step, stored.about(step)


def _read(checkpoints: Path, step: int, wanted: State) -> State:
    with StageCheckpoints(checkpoints, read_only=True) as stored:
        return stored.restore(step, wanted)[0]
