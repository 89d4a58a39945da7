"""The examples that all builders of this package store: an image, its label, and its index in the published split.

Images are passed to TFDS as PNG bytes. TFDS would encode arrays with TensorFlow.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Integer, UInt8
from PIL import Image

SKIPPED = "skipped"


def labelled_image_info(
    builder: Any,
    image_side: int,
    label: tfds.features.ClassLabel,
    homepage: str | None = None,
    metadata: tfds.core.MetadataDict | None = None,
    **more: tfds.features.FeatureConnector,
) -> tfds.core.DatasetInfo:
    """Describes examples with square RGB images from 0 to 255, and possibly ``more`` features, to TFDS.

    ``metadata`` is stored with the prepared data; its ``SKIPPED`` lists split and index of images that were skipped.
    """
    features = tfds.features.FeaturesDict(
        {
            "index": tfds.features.Scalar(np.int64),
            "image": tfds.features.Image(shape=(image_side, image_side, 3), encoding_format="png"),
            "label": label,
            **more,
        }
    )
    return tfds.core.DatasetInfo(
        builder=builder,
        features=features,
        supervised_keys=("image", "label"),
        homepage=homepage,
        metadata=metadata,
    )


def png_bytes(image: Image.Image) -> bytes:
    """Encodes an image losslessly and quickly; more compression would hardly make small images smaller."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def numbered_examples(
    images: UInt8[np.ndarray, "examples height width 3"],
    labels: Integer[np.ndarray, "examples"] | Sequence[int],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the TFDS examples of a split, numbered in the given order, which must be the published one."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        pixels = Image.fromarray(np.ascontiguousarray(image))
        yield index, {"index": index, "image": png_bytes(pixels), "label": int(label)}
