"""What all builders of this package store: an image, its label, and its place in the published split.

Images are handed to TFDS as PNG bytes. Handed over as arrays, TFDS would encode them with TensorFlow.
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
    """Describes examples of square RGB images, 0 to 255, to TFDS.

    Args:
      builder: the data set's builder.
      image_side: pixels per side.
      label: the classes.
      homepage: where the data set is published.
      metadata: what is stored with the prepared data, besides; under ``SKIPPED`` the files that were left out.
      **more: what examples have besides.
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
    """Encodes an image without loss, and quickly: small images gain next to nothing from more compression."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def numbered_examples(
    images: UInt8[np.ndarray, "examples height width 3"],
    labels: Integer[np.ndarray, "examples"] | Sequence[int],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields TFDS examples of one split, numbered in the order given, which is to be the published one."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        pixels = Image.fromarray(np.ascontiguousarray(image))
        yield index, {"index": index, "image": png_bytes(pixels), "label": int(label)}
