"""The data of a training stage: the few-shot set on the device, its augmentation, and the plan of its epochs."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, nearest_repeats, repeats_per_epoch, to_device
from chimeramix_jax.data.segments import FelzenszwalbSettings, label_maps
from chimeramix_jax.training.schedules import Schedule


@dataclass(frozen=True)
class StageData:
    """The training images of a stage on the device, their augmentation, and the plan of an epoch."""

    images: ResidentData
    augmentation: Augmentation
    plan: EpochPlan


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScheduledData:
    """What the steps of a stage without further networks read: its images, and the schedule of its learning rate."""

    data: ResidentData
    schedule: Schedule


def load_stage_data(
    config: ConfigDict,
    stage: str,
    images: UInt8[np.ndarray, "examples side side 3"],
    labels: Int[np.ndarray, "examples"],
    num_classes: int,
    segments_cache: Path | None = None,
) -> StageData:
    """Puts a few-shot set on the device for a stage.

    Args:
        config: the run's settings.
        stage: "generator", whose images are only cropped and mirrored, so that all experiments can share a generator,
            or "classifier", whose images are augmented as ``config.augment`` says.
        images: in 0..255, of any side; they are resized to the side of the stage.
        labels: their classes, from 0.
        num_classes: how many classes there are.
        segments_cache: where label maps are stored, if masks follow segments; None: they are not stored.
    """
    side = config[stage].image_side
    augmentation_for = Augmentation.for_generator if stage == "generator" else Augmentation.for_classifier
    augmentation = augmentation_for(config.augment, side)
    images = resize(images, side)
    segments = None
    if config.mixing.mask == "segmentation":
        rule = FelzenszwalbSettings.of(config.mixing)
        segments = label_maps(images, rule, augmentation.segmented_padding, segments_cache)
    return StageData(to_device(images, labels, num_classes, segments), augmentation, epoch_plan(config, stage, labels))


def epoch_plan(config: ConfigDict, stage: str, labels: Int[np.ndarray, "examples"]) -> EpochPlan:
    """Returns the plan of a stage's epochs, given the classes of the training images.

    A fold's run repeats its images more often than a run on all of them, so that both have as many steps, or nearly.
    """
    base, images_per_class = config[stage].num_dataset_repeats_base, config.max_labels_per_class
    if images_per_class is None and config.repeat_unlimited:
        repeats = nearest_repeats(base, len(labels) / np.count_nonzero(np.bincount(labels)))
    else:
        repeats = repeats_per_epoch(base, images_per_class)
        if config.fold:
            repeats = nearest_repeats(repeats * config.folds, config.folds - 1)
    return EpochPlan(len(labels), repeats, config[stage].batch_size)
