"""Trains the members of an ensemble one after the other, and joins them to one classifier.

All members see the same training images, and mix the same batches. They differ in everything else that is random:
initial weights, the order of the images, augmentation and masks. Each has its checkpoints and log in a directory of
its own: the first member in the stage's directory, which is that of a classifier without further members, and the
others in folders of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.training import checkpoints, loop
from chimeramix_jax.training.calls import Running, State
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.execution import Execution, for_one_run
from chimeramix_jax.training.measured_classifier import MeasuredClassifier
from chimeramix_jax.training.pace import TimeLimit


def member_directories(directory: Path, members: int) -> list[Path]:
    """Returns the directory of each member, given that of the stage."""
    return [directory, *(directory / f"member-{number}" for number in range(2, members + 1))]


@dataclass(frozen=True)
class TrainedMembers:
    """A finished classifier, which is an ensemble if it has several members.

    Attributes:
        classifier: measures the classifier as a whole.
        state: of the classifier as a whole.
        seconds: of each member's training.
        rollbacks: of all members; those of an ensemble name the member, counted from 1.
        accuracies: each member's top-1 accuracy on the held-out images; None for a single one, or without such images.
        epochs_left_out: of all members together, to keep to a time limit.
    """

    classifier: MeasuredClassifier
    state: State
    seconds: list[float]
    rollbacks: list[dict[str, Any]]
    accuracies: list[float] | None
    epochs_left_out: int


def train_members(
    stage: ClassifierStage,
    directory: Path,
    config: ConfigDict,
    about: dict[str, Any],
    *,
    title: str,
    execution: Execution | None = None,
    limit: TimeLimit | None = None,
) -> Running[TrainedMembers]:
    """Trains all members, each from its newest intact checkpoint; the arguments are those of ``loop.train``.

    A time limit is that of all members together.

    The first member, in the stage's own directory, is trained last. So a stage that has been trained to its last epoch
    has all members.
    """
    directories = member_directories(directory, config.classifier.members)
    if len(directories) > 1 and execution is None and not checkpoints.is_finished(directory, stage.epochs):
        execution = for_one_run(stage.plan.batch_size, config.devices, title)  # members share its compiled programs
    trained: list[loop.Trained] = []
    for member, place in reversed([*enumerate(directories)]):
        of_member = None if limit is None else limit.shared_by(member + 1)
        result = yield from loop.train(
            stage,
            place,
            config,
            about,
            title=title,
            execution=execution,
            member=member,
            members=len(directories),
            limit=of_member,
        )
        trained.insert(0, result)
    seconds = [result.seconds for result in trained]
    if len(trained) == 1:
        (alone,) = trained
        return TrainedMembers(stage.classifier, alone.state, seconds, alone.rollbacks, None, alone.epochs_left_out)
    accuracies = None
    if len(stage.classifier.test_set.labels):
        accuracies = [stage.classifier.measure(result.state).top1 for result in trained]
    rollbacks = [record | {"member": n} for n, result in enumerate(trained, 1) for record in result.rollbacks]
    left_out = sum(result.epochs_left_out for result in trained)
    ensemble, state = stage.classifier.joined([result.state for result in trained])
    return TrainedMembers(ensemble, state, seconds, rollbacks, accuracies, left_out)
