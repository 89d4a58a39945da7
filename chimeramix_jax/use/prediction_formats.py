"""Predictions, and their formats as text: a table to look at, or CSV or JSON for other programs. Loads no JAX.

The formats take predictions of images that could be read.
"""

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.csv_rows import csv_rows
from chimeramix_jax.reporting.text_table import aligned

MOST_CLASSES = 5  # of an image in a table or file
NONE_OF_THESE = "none of these"  # the answer for a rejected image

# A table in a file with such a name would be opened by a program that cannot read it.
_OF_OTHER_FORMATS = (
    *(".tsv", ".tab", ".jsonl", ".ndjson", ".geojson", ".xls", ".xlsx", ".xlsm", ".ods", ".parquet", ".feather"),
    *(".arrow", ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".ini", ".md", ".rst", ".tex", ".pdf", ".doc"),
    *(".docx", ".odt", ".rtf", ".db", ".sqlite", ".sqlite3", ".sql", ".npy", ".npz", ".pkl", ".pickle", ".h5", ".hdf5"),
    *(".mat", ".rds", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".svg", ".zip"),
    *(".gz", ".tar", ".7z", ".onnx", ".stablehlo", ".savedmodel", ".py", ".ipynb", ".sh"),
)


@dataclass(frozen=True)
class Prediction:
    """The classes of an image by probability, or the reason why it could not be read."""

    name: str  # its file; for an image in memory, its file if Pillow knows it, or else its place, such as "images[3]"
    path: Path | None = None  # its file; None: it is in memory
    # The names of the classes, all or the most probable ones, the most probable first; empty if it could not be read.
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()  # the probability of each, in [0, 1]; the sum of all classes' is 1
    true_class: str | None = None  # if its file lies in a folder named after a class; see ``use.labelled_folders``
    # Whether the most probable class is probable enough to be the answer; None: no threshold was given.
    answered: bool | None = None
    error: InputError | None = None  # why it could not be read; None: it could
    # Whether the classifier was trained on exactly these pixels; None: unknown, as in files of earlier versions
    trained_on: bool | None = None

    @property
    def predicted_class(self) -> str:
        """The name of the most probable class; raises ``error`` if there is one."""
        if self.error is not None:
            raise self.error
        return self.classes[0]

    @property
    def probability(self) -> float:
        """The probability of the most probable class, in [0, 1]; raises ``error`` if there is one."""
        if self.error is not None:
            raise self.error
        return self.probabilities[0]

    @property
    def answer(self) -> str:
        """The most probable class, or ``NONE_OF_THESE`` if its probability is below the threshold."""
        return NONE_OF_THESE if self.answered is False else self.predicted_class


def table(predictions: Sequence[Prediction]) -> str:
    """Returns an aligned line per image: its file, its class, the probability, and the next most probable classes.

    If true classes are known, they are a column, too. A rejected image has no probability; its most probable class is
    among the next ones.
    """
    labelled = _has_true_classes(predictions)
    rows = [["image", *["true class"] * labelled, "class", "probability", "next"]]
    for prediction in predictions:
        shares = [(name, f"{probability:.2%}") for name, probability in _most_probable(prediction)]
        first = "-" if prediction.answered is False else shares.pop(0)[1]
        true = [prediction.true_class or "?"] * labelled
        following = ", ".join(f"{name} {share}" for name, share in shares)
        rows.append([prediction.name, *true, prediction.answer, first, following])
    return aligned(rows) + "\n"


def csv_text(predictions: Sequence[Prediction]) -> str:
    """Returns a line per image: its file, then its most probable classes and probabilities in numbered columns.

    If true classes are known, they follow in a column, which is empty for the other images. Then ``trained_on`` says
    "yes" or "no", as far as that is known, since an accuracy must leave out images that were trained on. If images may
    be rejected, the last column is the answer: the first class, or "none of these".
    """
    labelled, rejects = _has_true_classes(predictions), any(row.answered is not None for row in predictions)
    most = max(len(_most_probable(prediction)) for prediction in predictions)
    numbered = [column for place in range(1, most + 1) for column in (f"class_{place}", f"probability_{place}")]
    recorded = labelled and any(prediction.trained_on is not None for prediction in predictions)
    optional = [*["true_class"] * labelled, *["trained_on"] * recorded, *["answer"] * rejects]
    rows: list[list[object]] = [["image", *numbered, *optional]]
    for prediction in predictions:
        true = [prediction.true_class or ""] * labelled
        trained_on = [{True: "yes", False: "no", None: ""}[prediction.trained_on]] * recorded
        answer = [prediction.answer] * rejects
        most_probable = (cell for pair in _most_probable(prediction) for cell in pair)
        rows.append([prediction.name, *most_probable, *true, *trained_on, *answer])
    return csv_rows(rows)


def json_text(predictions: Sequence[Prediction]) -> str:
    """Returns a JSON list of an object per image: ``image``, ``class``, ``probability``, and likely classes as ``top``.

    An image whose true class is known also has ``true_class`` and, as far as that is known, ``trained_on``, since an
    accuracy must leave out images that were trained on. If images may be rejected, each has an ``answer``, which is
    null for those that are.
    """
    content = [
        {
            "image": prediction.name,
            "class": prediction.predicted_class,
            "probability": prediction.probability,
            "top": [{"class": name, "probability": probability} for name, probability in _most_probable(prediction)],
            **({} if prediction.true_class is None else _labelled(prediction)),
            **({} if prediction.answered is None else {"answer": prediction.answer if prediction.answered else None}),
        }
        for prediction in predictions
    ]
    return json.dumps(content, indent=2) + "\n"


def format_of(output: str | None) -> str:
    """Returns the format for a file's name, by its extension; "table" if it is none of a format.

    Raises InputError for the extension of a format that is not written.
    """
    extension = os.path.splitext(output or "")[1].lower()
    if extension in _OF_OTHER_FORMATS:
        raise InputError(
            f"--output={output}: {extension} is not written; allowed: .csv, .json, .txt for a table, or any "
            f"ending with --format={', '.join(FORMATS)}"
        )
    return extension.removeprefix(".") if extension.removeprefix(".") in FORMATS else "table"


def _labelled(prediction: Prediction) -> dict[str, object]:
    known = {} if prediction.trained_on is None else {"trained_on": prediction.trained_on}
    return {"true_class": prediction.true_class, **known}


def _has_true_classes(predictions: Sequence[Prediction]) -> bool:
    return any(prediction.true_class is not None for prediction in predictions)


def _most_probable(prediction: Prediction) -> list[tuple[str, float]]:
    """Returns the names and probabilities of the classes that are shown, the most probable first."""
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return list(itertools.islice(pairs, MOST_CLASSES))


FORMATS: Mapping[str, Callable[[Sequence[Prediction]], str]] = {"table": table, "csv": csv_text, "json": json_text}
