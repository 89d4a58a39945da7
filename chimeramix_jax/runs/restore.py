"""Restores trained networks from a run's directory alone, and classifiers from a model file as well."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data.identity import TRAIN
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.extensions import lookup
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.ensemble import Ensemble, Network
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.reporting.stage_files import CHECKPOINTS
from chimeramix_jax.runs import model_archive
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.averaging import averages
from chimeramix_jax.training.calls import State
from chimeramix_jax.training.checkpoints import StageCheckpoints, unfinished
from chimeramix_jax.training.classification_step import evaluated, evaluated_entries
from chimeramix_jax.training.members import member_directories
from chimeramix_jax.training.networks import (
    abstract_classifier,
    build_classifier,
    build_discriminator,
    build_generator,
    parameters_and_statistics,
)

_OF_CLASSIFIERS = ("parameters", "batch_statistics")  # the entries of a checkpoint that a classifier's network needs
_CLASSIFIERS = ("classifier", "baseline")
_SEPARATOR = "."  # in the names of weights in a model file


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
    """Returns the newest "classifier" of a run, or "baseline", which was trained without mixing; in evaluation mode.

    ``workdir`` may also be a model file, which holds no baseline.
    """
    if part not in _CLASSIFIERS:
        raise not_one_of("part", part, _CLASSIFIERS)
    archive = ModelArchive.at(workdir)
    if archive is None:
        return TrainedClassifier.newest(Workdir(workdir).path / part).network
    if part != "classifier":
        raise InputError(f"{archive.path}: a model file holds only the classifier, not {part!r}")
    return TrainedClassifier.archived(archive).network


def class_names(workdir: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the names of the classes of a run or a model file, in the order of the classifier's logits."""
    if (archive := ModelArchive.at(workdir)) is not None:
        return archive.class_names
    return tuple(_newest(Workdir(workdir).classifier, lambda about: {})[0]["class_names"])


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with what its checkpoint records about it."""

    network: Classifier  # in evaluation mode
    class_names: tuple[str, ...]  # names of the classes, in the order of its logits
    epochs: int  # number of epochs that it was trained for
    about: dict[str, Any]  # everything that is stored with it: settings, class names, digests of the data, and more

    @classmethod
    def newest(cls, directory: Path) -> "TrainedClassifier":
        """Reads the newest intact checkpoint in a stage's directory; raises InputError if there is none."""
        about, network = _newest_network(directory)
        members = settings.from_dict(about["config"]).classifier.members
        others = [_newest_network(place)[1] for place in member_directories(directory, members)[1:]]
        classifier = Ensemble([network, *others]) if others else network
        return cls(classifier, tuple(about["class_names"]), about["epoch"], about)

    @classmethod
    def archived(cls, archive: ModelArchive) -> "TrainedClassifier":
        """Reads the classifier in a model file; raises InputError if the file is damaged."""
        graph, state = _abstract_classifier(archive.config, len(archive.class_names))
        shapes = {name: leaf.shape for name, leaf in _by_name(state).items()}
        weights = {name: jnp.asarray(array) for name, array in archive.weights(shapes).items()}
        for part, values in traverse_util.unflatten_dict(weights, sep=_SEPARATOR).items():
            nnx.replace_by_pure_dict(state[part], nnx.restore_int_paths(values))
        network = nnx.merge(graph, *(state[name] for name in _OF_CLASSIFIERS))
        return cls(network, archive.class_names, archive.about["epoch"], archive.about)

    def weights(self) -> model_archive.Weights:
        """Returns the network's parameters and batch statistics as a model file names them."""
        return {name: np.asarray(leaf) for name, leaf in _by_name(_entries(self.network)).items()}

    def in_float32(self) -> Classifier:
        """Returns the network with the same weights, computing in float32 whatever the run's precision is."""
        config = settings.from_dict(self.about["config"])
        with config.unlocked():
            config.precision = "float32"
        graph, _ = _abstract_classifier(config, len(self.class_names))
        return nnx.merge(graph, *parameters_and_statistics(self.network))


def finished_classifier(source: Workdir | ModelArchive, config: ConfigDict) -> TrainedClassifier:
    """Returns the classifier of a run or a model file; raises InputError unless it was trained to its last epoch."""
    if isinstance(source, ModelArchive):
        return TrainedClassifier.archived(source)
    if not source.classifier.exists():
        raise unfinished(source.classifier, "classifier", source.trained_by)
    trained = TrainedClassifier.newest(source.classifier)
    if trained.epochs < config.classifier.epochs:
        raise unfinished(source.classifier, "classifier", source.trained_by)
    return trained


def training_images(source: Workdir | ModelArchive, trained: TrainedClassifier) -> frozenset[str] | None:
    """Returns the digests of the images that the source's classifier was trained on; None if they are not recorded.

    Raises InputError if a model file is damaged. A run's damaged record is as good as none: only this needs it.
    """
    if isinstance(source, ModelArchive):
        return source.training_images
    try:
        identity = source.read_data()
    except InputError:
        return None
    if identity is None or identity.digests()[TRAIN] != trained.about.get("data", {}).get(TRAIN):
        return None
    return frozenset(identity.train.images)


def source_of(workdir: str | os.PathLike[str]) -> Workdir | ModelArchive:
    """Returns the run's directory, or the model file, that a path leads to."""
    return ModelArchive.at(workdir) or Workdir(workdir)


def _abstract_classifier(config: ConfigDict, num_classes: int) -> tuple[nnx.GraphDef[Classifier], State]:
    """Returns the structure of a classifier in evaluation mode, and the shapes of its parameters and statistics."""
    classifier = abstract_classifier(config, num_classes)
    return nnx.graphdef(classifier), _entries(classifier)


def _entries(classifier: Classifier) -> State:
    """Returns a classifier's parameters and batch statistics by the names that they have in a checkpoint."""
    return dict(zip(_OF_CLASSIFIERS, parameters_and_statistics(classifier), strict=True))


def _by_name(state: State) -> dict[str, Any]:
    """Returns the leaves of a classifier's state by names such as ``parameters.blocks.0.norm1.scale``."""
    pure = {part: nnx.to_pure_dict(values) for part, values in state.items()}
    leaves = traverse_util.flatten_dict(pure)
    return {_SEPARATOR.join(map(str, path)): leaf for path, leaf in leaves.items()}


def _newest_network(directory: Path) -> tuple[dict[str, Any], Network]:
    """Returns the ``about`` and the network, in evaluation mode, of the newest checkpoint of one member."""
    graphs: list[nnx.GraphDef[Network]] = []

    def select(about: dict[str, Any]) -> State:
        config = settings.from_dict(about["config"])
        network = nnx.eval_shape(lambda: build_classifier(config, len(about["class_names"]), nnx.Rngs(0)))
        graphs.append(nnx.graphdef(network.eval()))
        return evaluated_entries(network, averages=averages(config.classifier))

    about, state = _newest(directory, select)
    return about, nnx.merge(graphs[0], *evaluated(state))


def _newest(directory: Path, select: Callable[[dict[str, Any]], State]) -> tuple[dict[str, Any], State]:
    """Reads a stage's newest intact checkpoint: its ``about``, and the entries that ``select`` returns for it."""
    if not (directory / CHECKPOINTS).is_dir():
        raise InputError(f"{directory}: holds no checkpoints")
    lookup.remember_copies(Workdir(directory.parent).extensions)
    with StageCheckpoints(directory / CHECKPOINTS, read_only=True) as stored:
        step = stored.latest_step()
        if step is None:
            raise InputError(f"{directory / CHECKPOINTS}: holds no complete checkpoint")
        about = stored.about(step)
        entries = select(about)
        return about, stored.restore(step, entries)[0] if entries else {}
