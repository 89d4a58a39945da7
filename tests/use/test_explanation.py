"""Pictures of what speaks for each class: through Python, and refusals through the command line."""

import csv

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import program
from chimeramix_jax.errors import InputError
from chimeramix_jax.use.explanation import PictureNames


@pytest.fixture
def photos(tmp_path):
    """Three images, two of which have the same name but for its capitals, and a file that is no image."""
    random = np.random.default_rng(0)
    for name, shape in (("a.png", (400, 600, 3)), ("B.jpg", (100, 30, 3)), ("more/b.png", (8, 8, 3))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
    (tmp_path / "photos" / "notes.png").write_text("no image")
    return tmp_path / "photos"


def rows(folder):
    with open(folder / "explanations.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_readable_image_gets_a_picture_and_a_row(trained_run, photos, tmp_path):
    folder = tmp_path / "deep" / "why"
    images = chimeramix_jax.predict(trained_run, photos, explain=folder)
    predictions = [image for image in images if image.error is None]
    assert len(images) == 4 and len(predictions) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["B.png", "a.png", "b-2.png", "explanations.csv"]
    for row, prediction in zip(rows(folder), predictions, strict=True):
        assert row["image"] == str(prediction.path)
        assert (row["class"], row["against"]) == prediction.classes[:2]
        odds = np.log(prediction.probabilities[0] / prediction.probabilities[1])
        assert float(row["log_odds"]) == pytest.approx(odds, abs=1e-4)
        assert float(row["full_colour"]) > 0
    with Image.open(folder / "a.png") as picture:
        assert picture.width > 2 * 320 and picture.height > 320
    assert [len(list(photos.rglob("*"))), predictions[0].true_class] == [5, None]


@pytest.mark.parametrize("form", [list, set, iter, np.array])
def test_a_folder_among_the_photos_is_refused_in_whatever_form_they_are_named(trained_run, photos, form):
    with pytest.raises(InputError, match=r"photos/why: lies among the photos of --images=\S+/photos, which would"):
        chimeramix_jax.predict(trained_run, form([str(photos), str(photos / "a.png")]), explain=photos / "why")
    assert not (photos / "why").exists()


def test_photos_of_an_iterator_are_explained(trained_run, photos, tmp_path):
    images = chimeramix_jax.predict(trained_run, photos.glob("*.png"), explain=tmp_path / "why")
    assert len(images) == 2 and [row["picture"] for row in rows(tmp_path / "why")] == ["a.png"]


def test_pictures_of_many_photos_of_one_name_are_named_without_trying_all_numbers_again():
    tried = []

    class Taken(set):
        def __contains__(self, name):
            tried.append(name)
            return super().__contains__(name)

    given = PictureNames()
    given._taken = Taken([*given._taken, "a-2.png"])
    names = [given.unused(stem) for stem in ("a", "A", "a", "b", "a-2", *["a"] * 100)]
    assert names[:6] == ["a.png", "A-3.png", "a-4.png", "b.png", "a-2-2.png", "a-5.png"]
    assert len({name.casefold() for name in names}) == len(names) and len(tried) < 3 * len(names)


def test_nothing_is_left_of_the_folder_after_an_error(trained_run, photos, tmp_path):
    with pytest.raises(InputError, match=r"notes\.png is not an image"):
        chimeramix_jax.predict(trained_run, photos / "notes.png", explain=tmp_path / "why")
    in_memory = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match=r"explain: takes files only, and images\[1\] is in memory"):
        chimeramix_jax.predict(trained_run, [photos / "a.png", in_memory], explain=tmp_path / "why")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_folder_with_files_is_not_overwritten(trained_run, photos, tmp_path):
    for folder, message in ((photos, "already exists and is not overwritten"), (photos / "a.png/why", "be created")):
        with pytest.raises(InputError, match=rf"{folder}: .*{message}"):
            chimeramix_jax.predict(trained_run, photos / "B.jpg", explain=folder)
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage=predict", "--images=docs/mixing.png", "--explain="], "--explain=: is empty"),
        (["--stage=evaluate", "--explain=why"], "--explain: --stage=evaluate does not take it; it is for predict"),
    ],
)
def test_a_flag_that_cannot_be_used_is_refused_with_exit_code_2(trained_run, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code = program.main([f"--workdir={trained_run}", *arguments])
    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert message in errors.splitlines()[-1]
