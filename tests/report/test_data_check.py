import re

import pytest

from chimeramix_jax import files, report
from chimeramix_jax.errors import InputError
from chimeramix_jax.report.data_check import MOST_GROUPS, ClassCounts, data_section
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from tests.report import finished_run

HOSTILE = "<script>1</script>.png"


def group(*files, across=False):
    copies = [{"file": file, "class": name, "split": "train"} for file, name in files]
    return {"files": copies, "between_classes": len({name for _, name in files}) > 1, "across_the_split": across}


FINDINGS = {
    "dataset": "image_folder",
    "evaluate_on": "test",
    "held_out_from": "test",
    "classes": [
        {"name": "cat", "train": 5, "held_out": 3, "unused": 0},
        {"name": "dog", "train": 20, "held_out": 3, "unused": 0},
    ],
    "images": {"train": 25, "held_out": 6, "unused": 0},
    "imbalance": {
        "train": {"smallest": {"class": "cat", "images": 5}, "largest": {"class": "dog", "images": 20}},
        "held_out": {"smallest": {"class": "cat", "images": 3}, "largest": {"class": "cat", "images": 3}},
    },
    "sides": {"width": [20, 30, 40], "height": [10, 10, 10]},
    "network_side": 16,
    "enlarged": 31,
    "elongated": 0,
    "flat": [],
    "unreadable": [HOSTILE],
    "exact_duplicates": [group(("a.png", "cat"), ("b.png", "cat")), group(("c.png", "cat"), ("d.png", "dog"))],
    "near_duplicates": [
        *(group((f"{number}.png", "cat"), (f"{number}.jpg", "cat")) for number in range(MOST_GROUPS)),
        group(*((f"x{number}.png", "dog") for number in range(9)), across=True),
    ],
    "near_for_training_only": False,
}


@pytest.fixture
def workdir(tmp_path):
    files.write_json(tmp_path / "check.json", marked(FINDINGS))
    return Workdir(tmp_path)


def test_the_worst_copies_come_first_and_numbers_say_what_is_left_out(workdir):
    section = data_section(workdir)
    assert section.splits == ("training", "test")
    assert section.classes == [ClassCounts("cat", (5, 3), 0.25), ClassCounts("dog", (20, 3), 1.0)]
    exact, near = section.copies
    assert [row.classes for row in exact.rows] == [("cat", "dog"), ("cat",)]
    assert near.rows[0].across_the_split and len(near.rows[0].files) == 6 and near.rows[0].more == 3
    assert (len(near.rows), near.total) == (MOST_GROUPS, MOST_GROUPS + 1)
    assert [(table.title, table.files, table.total) for table in section.files] == [("Unreadable files", [HOSTILE], 1)]
    assert "training images per class: 5 (cat) to 20 (dog)" in section.sentences


def test_bars_of_classes_have_widths_that_browsers_understand(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog"))
    files.write_json(workdir.check_findings, marked(FINDINGS))
    report.write(workdir, dataset, predictions)
    page = workdir.report.read_text()
    assert re.findall(r'<td class="share" aria-hidden="true"><span class="bar fill-1" style="([^"]*)">', page) == [
        "width: 25.0%",
        "width: 100.0%",
    ]
    assert re.search(r"\.bar \{ display: block; height: ", page) and 'aria-label="Near duplicates"' in page


def test_the_page_and_the_card_say_which_copies_are_in_several_folds(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog"))
    spanning = group(("e.png", "cat"), ("f.png", "cat")) | {"across_folds": True}
    of_folds = {
        "held_out_from": "folds",
        "folds": 5,
        "images": {"train": 25, "held_out": 0, "unused": 0},
        "near_duplicates": [group(("g.png", "cat"), ("h.png", "dog")) | {"across_folds": False}, spanning],
    }
    files.write_json(workdir.check_findings, marked(FINDINGS | of_folds))
    report.write(workdir, dataset, predictions)
    page, card = workdir.report.read_text(), workdir.model_card.read_text()
    assert "in several folds</th>" in page and "in both training and" not in page + card
    assert "e.png<br>f.png</td><td>cat</td><td>yes</td></tr>" in page and page.index("e.png") < page.index("g.png")
    for text in (page, card):
        assert "1 group of near duplicates spans several folds" in text and "expected accuracy is too high" in text


def test_a_run_of_an_earlier_version_has_no_section(tmp_path):
    assert data_section(Workdir(tmp_path)) is None


def test_damaged_findings_are_named(workdir):
    workdir.check_findings.write_text("{")
    with pytest.raises(InputError, match=r"check\.json: cannot be read: .*--stage=check"):
        data_section(workdir)


def test_the_page_shows_the_section_and_escapes_names_of_files(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", ("cat", "dog"))
    report.write(workdir, dataset, predictions)
    assert "Images of each class" not in workdir.report.read_text()
    files.write_json(workdir.check_findings, marked(FINDINGS))
    report.write(workdir, dataset, predictions)
    page = workdir.report.read_text()
    assert "Images of each class" in page and "&lt;script&gt;1&lt;/script&gt;.png" in page and HOSTILE not in page
    assert "Near duplicates: 21 groups" in page and "The first 20 of 21 groups" in page
