"""Comparing finished runs image by image."""

import csv

import pytest

from benchmarks.paired import table
from chimeramix_jax.errors import InputError


def write_run(folder, right, names=None):
    """Writes the predictions of a run that classifies some of the images right."""
    folder.mkdir()
    with open(folder / "held_out.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "true_class", "predicted_class"])
        for number, is_right in enumerate(right):
            writer.writerow([names[number] if names else f"{number}.png", "cat", "cat" if is_right else "dog"])
    return folder


def test_runs_are_compared_with_the_first_on_the_images_that_only_one_has_right(tmp_path):
    first = write_run(tmp_path / "first", [True, True, False, False, False, False, False, False, False, False])
    second = write_run(tmp_path / "second", [True, False, True, True, True, True, True, True, True, False])
    lines = table([first, second]).splitlines()
    assert lines[2].split() == [str(first), "10", "20.00", "%"]
    # One image only the first has right, seven only the second: p = 2 (1 + 8) / 2**8.
    assert lines[3].split() == [str(second), "10", "80.00", "%", "+60.00", "0.07"]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["0.png", "b.png"], "evaluated on other images"), (["a.png", "a.png"], "several predictions of an image")],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, names, message):
    first = write_run(tmp_path / "first", [True, False])
    with pytest.raises(InputError, match=message):
        table([first, write_run(tmp_path / "second", [True, False], names)])
    with pytest.raises(InputError, match="does not exist"):
        table([tmp_path / "none"])


@pytest.mark.parametrize(
    "content", ["image;true_class;predicted_class\nkäse;a;a\n", "image,true_class,predicted_class\nkäse,a,a\n"]
)
def test_predictions_that_a_spreadsheet_has_saved_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "held_out.csv").write_bytes(content.encode("cp1252"))
    with pytest.raises(InputError, match=r"held_out\.csv: cannot be read: "):
        table([tmp_path])
