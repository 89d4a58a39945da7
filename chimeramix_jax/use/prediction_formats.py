"""The predictions for image files as text: a table to look at, or CSV or JSON for other programs."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from chimeramix_jax.reporting.results import aligned

if TYPE_CHECKING:  # which would load JAX
    from chimeramix_jax.use.prediction import Prediction


def table(predictions: Sequence["Prediction"]) -> str:
    """One aligned line per image: its file, class, probability, and the other classes that come next."""
    rows = [["image", "class", "probability", "next"]]
    for one in predictions:
        first, *others = [f"{share:.2%}" for share in one.probabilities]
        following = (f"{name} {share}" for name, share in zip(one.classes[1:], others, strict=True))
        rows.append([_name(one), one.classes[0], first, ", ".join(following)])
    return aligned(rows) + "\n"


def csv_text(predictions: Sequence["Prediction"]) -> str:
    """One line per image: its file, then its most probable classes with their probabilities, as numbered columns."""
    most = max(len(one.classes) for one in predictions)
    numbered = [column for place in range(1, most + 1) for column in (f"class_{place}", f"probability_{place}")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *numbered])
    for one in predictions:
        pairs = zip(one.classes, one.probabilities, strict=True)
        writer.writerow([_name(one), *(cell for pair in pairs for cell in pair)])
    return text.getvalue()


def json_text(predictions: Sequence["Prediction"]) -> str:
    """A list of an object per image: ``image``, ``class``, ``probability``, and the classes as ``top``."""
    content = [
        {
            "image": _name(one),
            "class": one.classes[0],
            "probability": one.probabilities[0],
            "top": [
                {"class": name, "probability": share}
                for name, share in zip(one.classes, one.probabilities, strict=True)
            ],
        }
        for one in predictions
    ]
    return json.dumps(content, indent=2) + "\n"


def format_of(output: str | None) -> str:
    """The format that a file's name asks for: that of its ending, else the table."""
    ending = os.path.splitext(output or "")[1].removeprefix(".").lower()
    return ending if ending in FORMATS else "table"


def _name(prediction: "Prediction") -> str:
    """The file's name, with a mark in the place of what is no text in it."""
    return os.fsencode(prediction.path).decode(errors="replace")


FORMATS: Mapping[str, Callable[[Sequence["Prediction"]], str]] = {"table": table, "csv": csv_text, "json": json_text}
