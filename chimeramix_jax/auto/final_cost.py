"""What training a recipe on all images costs, given what its runs without a fold did."""

from dataclasses import replace
from functools import partial

from ml_collections import ConfigDict

from chimeramix_jax.auto import menu
from chimeramix_jax.auto.candidates import data_without_fold
from chimeramix_jax.auto.halving import Cost
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.runs.out_of_fold import config_of_fold
from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.training.stage_data import epoch_plan


def cost_of_final(recipe: str, measured: Cost, choice: ConfigDict, dataset: FewShotDataset) -> tuple[Cost, float]:
    """Returns the cost of a run on all images, and how much of its set-up the test images take, in seconds.

    Args:
        recipe: what is trained.
        measured: the cost of its run without a fold or, if there are no folds, of one on all images.
        choice: the settings of the choice, with the number of its folds.
        dataset: all training and test images.
    """
    config = menu.config_of(recipe, choice)
    of_test_images = partial(
        evaluation_seconds,
        len(dataset.held_out.labels),
        EvaluationViews.of(config).count,
        measured,
        batch_size=config.classifier.batch_size,
    )
    labels = dataset.train.labels
    if not choice.folds:
        steps_measured = epoch_plan(config, "classifier", labels).steps
        return measured, min(of_test_images(steps_measured), measured.setup)
    without_fold, labels_without_fold = config_of_fold(config, 1), data_without_fold(choice, 1).train.labels
    steps = {
        stage: (epoch_plan(config, stage, labels).steps, epoch_plan(without_fold, stage, labels_without_fold).steps)
        for stage in ("generator", "classifier")
    }
    more = {stage: final / fold for stage, (final, fold) in steps.items()}
    measuring = of_test_images(steps["classifier"][1])
    of_all = replace(
        measured,
        setup=measured.setup + measuring,
        generator_epoch=measured.generator_epoch * more["generator"],
        classifier_epoch=measured.classifier_epoch * more["classifier"],
    )
    return of_all, measuring


def evaluation_seconds(images: int, views: int, cost: Cost, steps: int, batch_size: int) -> float:
    """Estimates the time to classify images: a forward pass is about a third of a training step.

    Args:
        images: how many images.
        views: how many of each, over which the probabilities are averaged.
        cost: of a training.
        steps: of an epoch of that training.
        batch_size: of a step.
    """
    return images * views * cost.classifier_epoch / (3 * steps * batch_size)
