import numpy as np
import pytest

from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.builders.own_images import scan
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError
from tests.data.own_images import write_images, write_table


@pytest.fixture
def table(tmp_path):
    """A table of six images in ``photos``, without a split."""
    write_images(tmp_path / "photos", 6)
    rows = [(f"photos/{number}.png", ("dog", "cat")[number % 2]) for number in range(6)]
    return write_table(tmp_path / "photos.csv", rows, header="path,label")


@pytest.fixture
def config(dataset_config, table):
    dataset_config.update({"name": "image_folder", "directory": str(table), "image_side": 8})
    return dataset_config


def rewritten(table, header, *rows):
    return write_table(table, rows, header=header)


def test_a_table_without_splits_is_divided_like_a_folder(config):
    dataset = load_few_shot(config, None, seed=0)
    assert dataset.class_names == ("cat", "dog") and dataset.divided
    assert len(dataset.train.labels) + len(dataset.held_out.labels) == 6
    assert {original.file for original in dataset.originals.train} <= {f"photos/{number}.png" for number in range(6)}


def test_a_changed_image_of_a_table_changes_the_identity_and_another_place_does_not(config, table):
    before = load_few_shot(config, None, seed=0).identity
    moved = table.parent / "moved"
    moved.mkdir()
    (table.parent / "photos").rename(moved / "photos")
    config.directory = str(table.rename(moved / "list.csv"))
    assert changes(before, load_few_shot(config, None, seed=0).identity) == []
    (moved / "photos" / "0.png").write_bytes(write_images(moved / "new", 1, seed=9)[0].read_bytes())
    assert changes(before, load_few_shot(config, None, seed=0).identity) == ["1 new image", "1 image missing"]


def test_the_column_split_makes_three_splits_in_the_order_of_the_lines(table):
    rows = [("photos/5.png", "b", "test"), ("photos/3.png", "b", "Train"), ("photos/0.png", "a", "train"),
            ("photos/1.png", "a", "val"), ("photos/2.png", "b", "valid")]  # fmt: skip
    contents = scan(str(write_table(table, rows)))
    assert contents.class_names == ("a", "b")
    assert [(image.name, image.label) for image in contents.train] == [("photos/3.png", 1), ("photos/0.png", 0)]
    assert [image.name for image in contents.validation] == ["photos/1.png", "photos/2.png"]
    assert [image.path for image in contents.test] == [table.parent / "photos" / "5.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_quotes_other_columns_and_a_byte_order_mark_are_understood(table, separator):
    lines = [
        ("Label", "comment", "PATH"),
        *(("ab"[number % 2], '"x, y"', f"photos/{number}.png") for number in range(6)),
    ]
    table.write_text("\n".join(separator.join(line) for line in lines), encoding="utf-8-sig")
    contents = scan(str(table))
    assert [(image.name, image.label) for image in contents.train[:2]] == [("photos/0.png", 0), ("photos/1.png", 1)]


def test_quotes_after_a_space_and_empty_cells_beyond_the_columns_are_understood(table):
    rows = [(f"photos/{number}.png", f' "a{number % 2}, b"', "", "") for number in range(6)]
    assert scan(str(rewritten(table, '"path", "label"', *rows))).class_names == ("a0, b", "a1, b")


def test_a_group_is_the_same_in_both_unicode_forms(table):
    rows = [(f"photos/{number}.png", "ab"[number % 2], ("B\u00e4r", "Ba\u0308r")[number // 3]) for number in range(6)]
    assert scan(str(rewritten(table, "path,label,group", *rows))).groups == {"train": ("B\u00e4r",) * 6}


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_excels_line_with_the_separator_is_understood(table, first):
    lines = [first, "path;label;a, b, c, d", *(f"photos/{number}.png;{'ab'[number % 2]};x" for number in range(6))]
    table.write_text("\n".join(lines), encoding="utf-8-sig", newline="")
    assert [image.name for image in scan(str(table)).train] == [f"photos/{number}.png" for number in range(6)]


def test_absolute_paths_are_used_as_they_are(table):
    elsewhere = write_images(table.parent / "else", 2)
    rows = [(path, "a") for path in elsewhere] + [("photos/0.png", "b"), ("photos/1.png", "b")]
    assert scan(str(rewritten(table, "path,label", *rows))).train[0].path == elsewhere[0]


GOOD = ("photos/0.png", "a"), ("photos/1.png", "a"), ("photos/2.png", "b"), ("photos/3.png", "b")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("file,label", GOOD, "has no column 'path'; its first line must name the columns .* but is 'file, label'"),
        ("path,class", GOOD, "has no column 'label'"),
        ("path,label,label", GOOD, "has 2 columns called 'label'"),
        ("path,label", (), "lists no images below its first line"),
        ("path,label", (*GOOD, ("photos/9.png", "a"), ("x.png", "b")), r"do not exist: photos/9.png \(line 6\), x.png"),
        ("path,label", (*GOOD, ("photos", "a")), r"lists photos \(line 6\), which is not a file but a folder"),
        ("path,label", (*GOOD, ("photos\0/0.png", "a")), "lists files that do not exist"),
        ("path,label", (*GOOD, ("~/0.png", "a")), r"~/0.png \(line 6\); .*~ does not stand for the home folder"),
        ("path,label", (*GOOD, ("photos\\4.png", "a")), r"photos\\4.png \(line 6\); .*separated by / and not by \\"),
        ("path,label", (*GOOD, ("photos/0.png", "b")), "lists photos/0.png twice, in lines 2 and 6"),
        ("path,label", (*GOOD, ("./photos/0.png", "b")), "lists ./photos/0.png twice, in lines 2 and 6"),
        ("path,label", (*GOOD, ("photos/../photos/0.png", "b")), "0.png twice, in lines 2 and 6"),
        ("path,label", (*GOOD, ("same/0.png", "b")), "same/0.png twice, in lines 2 and 6"),
        ("sep=;\npath;label", [(f"photos/0.png;{name}",) for name in "ab"], "0.png twice, in lines 3 and 4"),
        ("path,label", (*GOOD, ("photos/4.png",)), "line 6, has no label"),
        ("path,label", (*GOOD, ("", "a")), "line 6, has no path"),
        ("path,label", (*GOOD, ("photos/4.png", "a", " black")), "line 6, has 3 values for 2 columns; .* a comma in"),
        ("path;label;x", [("photos/0.png;a;b;c",)], "line 2, has 4 values for 3 columns; .* a semicolon in"),
        ("path,label", GOOD[:2], "contains only one class, 'a'"),
        ("path,label", GOOD[:3], "class 'b' has a single image, .*without lines whose split is test"),
        ("path,label,split", [(*row, "test") for row in GOOD], "lists no training images"),
        ("path,label,split", [(*row, "trian") for row in GOOD], r"line 2, split: 'trian' .*did you mean 'train'\?"),
        ("path,label,split", GOOD, "line 2, has no split"),
        ("path,label,split", [*((*row, "train") for row in GOOD), ("photos/4.png", "c", "test")], "without a training"),
    ],
)  # fmt: skip
def test_an_unusable_table_is_refused_in_one_line(table, header, rows, message):
    rewritten(table, header, *rows)
    (table.parent / "same").symlink_to("photos")
    with pytest.raises(InputError, match=message) as caught:
        scan(str(table))
    assert str(caught.value).startswith("dataset.directory: ") and "\n" not in str(caught.value)
    assert str(table) in str(caught.value) or "class" in str(caught.value)


@pytest.mark.parametrize("label", [".", "..", "a/../..", "b" * 201, "ä" * 101, "a\0"])
def test_a_label_that_cannot_become_a_folder_is_refused(table, label):
    rewritten(table, "path,label", *GOOD[:2], *((path, label) for path, _ in GOOD[2:]))
    with pytest.raises(InputError, match=r"rename the label .*; its name must be .* at most 200 bytes") as caught:
        scan(str(table))
    assert str(table) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["a\u200b", "\ufeffa", "a\u00ad", "a\ufe0f", "\u200ea"])
def test_labels_that_look_alike_are_refused_with_the_codes_of_what_cannot_be_seen(table, label):
    rewritten(table, "path,label", *GOOD[:2], *((path, label) for path, _ in GOOD[2:]))
    with pytest.raises(InputError, match="cannot be seen") as caught:
        scan(str(table))
    assert "'a'" in str(caught.value) and ascii(label) in str(caught.value)


def test_labels_that_differ_only_in_capitals_are_refused(table):
    rewritten(table, "path,label", *GOOD[:2], *((path, "A") for path, _ in GOOD[2:]))
    with pytest.raises(InputError, match=r"rename the label 'A' or 'a' in .*; the names differ only in capital"):
        scan(str(table))


def test_labels_with_slashes_and_of_other_scripts_are_accepted(table):
    labels = "a/b", "\u0646\u200c\u0646", "\U0001f469\u200d\U0001f52c", "a b", "a  c", "ä" * 100
    rows = [(f"photos/{number}.png", label, "train") for number, label in enumerate(labels)]
    write_images(table.parent / "held-out", 1)
    contents = scan(str(rewritten(table, "path,label,split", *rows, ("held-out/0.png", "a/b", "test"))))
    assert sorted(contents.class_names) == sorted(labels)


def test_a_table_in_another_encoding_or_with_an_open_quote_is_refused(table):
    table.write_bytes("path,label\nphotos/0.png,Bär\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not text in UTF-8"):
        scan(str(table))
    table.write_text('path,label\n"photos/0.png,a\n')
    with pytest.raises(InputError, match="is not valid CSV"):
        scan(str(table))


def test_labels_may_be_numbers_and_are_class_names(table):
    rows = [(f"photos/{number}.png", 10 if number % 2 else 9) for number in range(6)]
    contents = scan(str(rewritten(table, "path,label", *rows)))
    assert contents.class_names == ("10", "9")
    assert np.array([image.label for image in contents.train]).tolist() == [1, 0] * 3
