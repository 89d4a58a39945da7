"""Predictions, and their formats as text: a table to look at, or CSV or JSON for other programs. Loads no JAX."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.paths import printable
from chimeramix_jax.reporting.results import aligned

NONE_OF_THESE = "none of these"  # the answer for a rejected image


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of an image."""

    path: Path
    # Names of the five most probable classes (or of all, if there are fewer), the most probable first.
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]  # the probability of each, in [0, 1]
    true_class: str | None = None  # if the image lies in a folder named after a class; see ``use.labelled_folders``
    # Whether the most probable class is probable enough to be the answer; None: no threshold was given.
    answered: bool | None = None

    @property
    def answer(self) -> str:
        """The most probable class, or ``NONE_OF_THESE`` if its probability is below the threshold."""
        return NONE_OF_THESE if self.answered is False else self.classes[0]


def table(predictions: Sequence[Prediction]) -> str:
    """Returns an aligned line per image: its file, its class, the probability, and the next most probable classes.

    If true classes are known, they are a column, too. A rejected image has no probability; its most probable class is
    among the next ones.
    """
    labelled = _has_true_classes(predictions)
    rows = [["image", *["true class"] * labelled, "class", "probability", "next"]]
    for prediction in predictions:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        shares = [(name, f"{probability:.2%}") for name, probability in pairs]
        first = "-" if prediction.answered is False else shares.pop(0)[1]
        true = [prediction.true_class or "?"] * labelled
        following = ", ".join(f"{name} {share}" for name, share in shares)
        rows.append([_name(prediction), *true, prediction.answer, first, following])
    return aligned(rows) + "\n"


def csv_text(predictions: Sequence[Prediction]) -> str:
    """Returns a line per image: its file, then its most probable classes and probabilities in numbered columns.

    If true classes are known, they follow in a column, which is empty for the other images. If images may be rejected,
    the last column is the answer: the first class, or "none of these".
    """
    labelled, rejects = _has_true_classes(predictions), any(row.answered is not None for row in predictions)
    most = max(len(prediction.classes) for prediction in predictions)
    numbered = [column for place in range(1, most + 1) for column in (f"class_{place}", f"probability_{place}")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *numbered, *["true_class"] * labelled, *["answer"] * rejects])
    for prediction in predictions:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        true = [prediction.true_class or ""] * labelled
        answer = [prediction.answer] * rejects
        writer.writerow([_name(prediction), *(cell for pair in pairs for cell in pair), *true, *answer])
    return text.getvalue()


def json_text(predictions: Sequence[Prediction]) -> str:
    """Returns a JSON list of an object per image: ``image``, ``class``, ``probability``, and all classes as ``top``.

    An image whose true class is known also has ``true_class``. If images may be rejected, each has an ``answer``, which
    is null for those that are.
    """
    content = [
        {
            "image": _name(prediction),
            "class": prediction.classes[0],
            "probability": prediction.probabilities[0],
            "top": [
                {"class": name, "probability": probability}
                for name, probability in zip(prediction.classes, prediction.probabilities, strict=True)
            ],
            **({} if prediction.true_class is None else {"true_class": prediction.true_class}),
            **({} if prediction.answered is None else {"answer": prediction.answer if prediction.answered else None}),
        }
        for prediction in predictions
    ]
    return json.dumps(content, indent=2) + "\n"


def format_of(output: str | None) -> str:
    """Returns the format for a file's name, by its extension; "table" if there is none for it."""
    extension = os.path.splitext(output or "")[1].removeprefix(".").lower()
    return extension if extension in FORMATS else "table"


def _has_true_classes(predictions: Sequence[Prediction]) -> bool:
    return any(prediction.true_class is not None for prediction in predictions)


def _name(prediction: Prediction) -> str:
    return printable(prediction.path)


FORMATS: Mapping[str, Callable[[Sequence[Prediction]], str]] = {"table": table, "csv": csv_text, "json": json_text}
