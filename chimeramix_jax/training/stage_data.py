"""What a training stage works on: the few-shot set on the device, its augmentation, and the order of its epochs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.data.sampling import EpochPlan, ResidentData, repeats_per_epoch, to_device
from chimeramix_jax.data.segments import FelzenszwalbSettings, label_maps


@dataclass(frozen=True)
class StageData:
    """The training images of a stage on the device, what is done to each of them, and how epochs go through them."""

    images: ResidentData
    augmentation: Augmentation
    plan: EpochPlan


def load_stage_data(
    config: ConfigDict,
    stage: str,
    images: UInt8[np.ndarray, "examples side side 3"],
    labels: Int[np.ndarray, "examples"],
    num_classes: int,
    segments_cache: Path | None = None,
) -> StageData:
    """Puts a few-shot set on the device as a stage needs it.

    Args:
        config: the run's settings.
        stage: "generator", whose images are cropped and mirrored only, so that one generator serves every experiment,
            or "classifier", whose images are augmented as ``config.augment`` says.
        images: in 0..255, of any side; they are resized to the stage's.
        labels: their classes, from 0.
        num_classes: how many classes there are.
        segments_cache: where label maps are stored, if masks follow segments; None: nowhere.
    """
    side = config[stage].image_side
    make = Augmentation.for_generator if stage == "generator" else Augmentation.for_classifier
    augmentation = make(config.augment, side)
    images = resize(images, side)
    segments = None
    if config.mixing.mask == "segmentation":
        rule = FelzenszwalbSettings.of(config.mixing)
        segments = label_maps(images, rule, augmentation.segmented_padding, segments_cache)
    images_per_class = config.max_labels_per_class
    if images_per_class is None and config.repeat_unlimited:
        images_per_class = int(np.bincount(labels).max())
    repeats = repeats_per_epoch(config[stage].num_dataset_repeats_base, images_per_class)
    plan = EpochPlan(len(images), repeats, config[stage].batch_size)
    return StageData(to_device(images, labels, num_classes, segments), augmentation, plan)
