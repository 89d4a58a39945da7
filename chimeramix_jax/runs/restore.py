"""Restores trained networks from a run's directory alone."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import nnx

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.training.classifier import build_classifier, evaluated, evaluated_entries
from chimeramix_jax.training.generator import build_discriminator, build_generator


def restore_generator(workdir: str | os.PathLike[str]) -> Generator:
    """Returns a run's generator from its newest checkpoint, or that of the run whose generator it uses.

    Raises InputError, as all functions here, if the directory holds no such network.
    """
    return restore_mixing_networks(workdir)[0]


def restore_discriminator(workdir: str | os.PathLike[str]) -> Discriminator:
    """Returns the discriminator that a run's generator was trained against."""
    return restore_mixing_networks(workdir)[1]


def restore_mixing_networks(workdir: str | os.PathLike[str]) -> tuple[Generator, Discriminator]:
    """Returns a run's generator and discriminator; raises InputError if it has no trained generator."""
    graphs: dict[str, nnx.GraphDef[Any]] = {}

    def select(about: dict[str, Any]) -> State:
        config, state = settings.from_dict(about["config"]), {}
        builders: dict[str, Callable[..., nnx.Module]] = {
            "generator": build_generator,
            "discriminator": build_discriminator,
        }
        for name, build in builders.items():
            graphs[name], state[name] = nnx.split(nnx.eval_shape(lambda build=build: build(config, nnx.Rngs(0))))
        return state

    _, state = _newest(Workdir(workdir).generator_home().generator, select)
    generator, discriminator = (nnx.merge(graph, state[name]) for name, graph in graphs.items())
    return generator, discriminator


def restore_classifier(workdir: str | os.PathLike[str], part: str = "classifier") -> Classifier:
    """Returns the newest "classifier" of a run, or "baseline", which was trained without mixing; in evaluation mode."""
    return TrainedClassifier.newest(Workdir(workdir).path / part).network


def class_names(workdir: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the names of a run's classes, in the order of the classifier's logits."""
    return tuple(_newest(Workdir(workdir).classifier, lambda about: {})[0]["class_names"])


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with what its checkpoint records about it."""

    network: Classifier  # in evaluation mode
    class_names: tuple[str, ...]  # names of the classes, in the order of its logits
    epochs: int  # number of epochs that it was trained for

    @classmethod
    def newest(cls, directory: Path) -> "TrainedClassifier":
        """Reads the newest intact checkpoint in a stage's directory; raises InputError if there is none."""
        graphs: list[nnx.GraphDef[Classifier]] = []

        def select(about: dict[str, Any]) -> State:
            config = settings.from_dict(about["config"])
            classifier = nnx.eval_shape(lambda: build_classifier(config, len(about["class_names"]), nnx.Rngs(0)))
            graphs.append(nnx.graphdef(classifier.eval()))
            return evaluated_entries(classifier, config.classifier.averaged_weights)

        about, state = _newest(directory, select)
        network = nnx.merge(graphs[0], *evaluated(state))
        return cls(network, tuple(about["class_names"]), about["epoch"])


def _newest(directory: Path, select: Callable[[dict[str, Any]], State]) -> tuple[dict[str, Any], State]:
    """Reads a stage's newest intact checkpoint: its ``about``, and the entries that ``select`` returns for it."""
    if not (directory / "checkpoints").is_dir():
        raise InputError(f"{directory}: holds no checkpoints")
    with StageCheckpoints(directory / "checkpoints", read_only=True) as stored:
        step = stored.latest_step()
        if step is None:
            raise InputError(f"{directory / 'checkpoints'}: holds no complete checkpoint")
        about = stored.about(step)
        entries = select(about)
        return about, stored.restore(step, entries)[0] if entries else {}
