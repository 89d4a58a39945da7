"""The report's section about mistakes."""

import base64
import dataclasses
import html
import io

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax import report
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.identity import DataIdentity, Split, image_digest
from chimeramix_jax.report import mistakes
from chimeramix_jax.runs.held_out import HeldOutPredictions
from chimeramix_jax.runs.nearest import Neighbours
from tests.report import finished_run

LABELS, PREDICTED = np.array([0, 1, 1], np.int32), np.array([0, 0, 0])
PREDICTIONS = HeldOutPredictions(
    LABELS,
    PREDICTED,
    np.array([0.75, 0.5, 0.875]),
    np.array([0.75, 0.5, 0.125]),
    np.array([0.29, 0.69, 2.08]),
    Neighbours(np.array([[0, 1], [0, 1], [1, 0]]), np.full((3, 2), 0.5, np.float32)),
    maps={2: np.array([[1.0, -1.0], [0.5, 0.5]], np.float32)},
)


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.fixture
def dataset(tmp_path):
    """A folder with sharp files of known colours, whose small copies in the data set are black."""

    def images(split, count):
        names = tuple(f"{split}/{number}.png" for number in range(count))
        for number, name in enumerate(names):
            (tmp_path / split).mkdir(exist_ok=True)
            colour = (250, 0, 0) if split == "test" else (0, 0, 100 + 100 * number)
            Image.new("RGB", (700, 500), colour).save(tmp_path / name)
        return LabelledImages(np.zeros((count, 8, 8, 3), np.uint8), np.resize(LABELS, count), names)

    train = images("train", 2)
    return FewShotDataset("image_folder", ("cat", "dog"), train, np.arange(2), images("test", 3), directory=tmp_path)


def test_mistakes_with_a_map_are_shown_from_their_files_beside_their_nearest_training_images(dataset):
    section = mistakes.prepare(PREDICTIONS, dataset)
    assert (len(section.shown), section.count, section.examples) == (1, 2, 3)
    (mistake,) = section.shown
    assert (mistake.name, mistake.true, mistake.predicted) == ("test/2.png", "dog", "cat")
    assert (mistake.probability, mistake.true_probability, mistake.loss) == (0.875, 0.125, 2.08)
    assert picture(mistake.picture).size == picture(mistake.overlay).size == (320, 320)
    assert picture(mistake.picture).getpixel((160, 160))[0] > 240
    overlaid = np.asarray(picture(mistake.overlay).convert("RGB")).astype(int)
    assert overlaid[10, 10, 0] > overlaid[10, 10, 2] + 80 and overlaid[10, -10, 2] > overlaid[10, -10, 0] + 80
    assert [(near.name, near.class_name, near.similarity) for near in mistake.neighbours] == [
        ("train/1.png", "dog", 0.5),
        ("train/0.png", "cat", 0.5),
    ]
    assert picture(mistake.neighbours[0].picture).convert("RGB").getpixel((5, 5))[2] > 180


def test_the_data_sets_own_copy_replaces_a_file_that_is_gone(dataset):
    (dataset.directory / "test/2.png").unlink()
    (mistake,) = mistakes.prepare(PREDICTIONS, dataset).shown
    assert picture(mistake.picture).convert("RGB").getpixel((160, 160)) == (0, 0, 0)


def test_the_data_sets_own_copies_replace_files_that_were_changed_since_the_run(dataset):
    def split(images):
        contents = [image_digest(np.asarray(Image.open(dataset.directory / name))) for name in images.names]
        return Split.of(contents, images.labels)

    content = DataIdentity(dataset.class_names, split(dataset.train), split(dataset.held_out))
    dataset = dataclasses.replace(dataset, content=content)
    for name in ("test/2.png", "train/1.png"):
        Image.new("RGB", (700, 500), (0, 250, 0)).save(dataset.directory / name)
    (mistake,) = mistakes.prepare(PREDICTIONS, dataset).shown
    changed, unchanged = (picture(near.picture).convert("RGB").getpixel((5, 5)) for near in mistake.neighbours)
    assert picture(mistake.picture).convert("RGB").getpixel((4, 4)) == changed == (0, 0, 0)
    assert unchanged[2] > 80


def test_the_page_shows_the_section_and_escapes_its_names(tmp_path):
    names = ("<b>cat</b>", "{{ dog }}")
    workdir, dataset, predictions = finished_run.make(tmp_path, names)
    held_out = dataclasses.replace(
        dataset.held_out,
        images=dataset.held_out.images[:3],
        labels=LABELS,
        names=("a.png", "b.png", "<script>c</script>.png"),
    )
    dataset = dataclasses.replace(dataset, held_out=held_out)
    predictions = dict.fromkeys(predictions, PREDICTED)
    report.write(workdir, dataset, predictions, PREDICTIONS)
    page = workdir.report.read_text(encoding="utf-8")
    text = html.unescape(page.partition("<h2>Mistakes</h2>")[2].partition("<h2>")[0])
    assert "The 1 of\n2 misclassified images with the highest loss" in text
    assert "{{ dog }} predicted as <b>cat</b>" in text and "<script>c</script>.png" in text
    assert "<b>cat" not in page and "<script>c" not in page
    pairs = text.partition("<h3>Most confused classes</h3>")[2]  # without pictures, which the list above has
    assert "<b>cat</b></t" in pairs and "<img" not in pairs
    assert (
        "<b>cat</b> 87.5\N{NO-BREAK SPACE}%, {{ dog }} 12.5\N{NO-BREAK SPACE}%" in text
        and "cosine similarity 0.50" in text
    )


def test_a_single_mistake_is_not_called_several(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    (shown,) = PREDICTIONS.maps
    predicted = np.where(np.arange(len(LABELS)) == shown, PREDICTED, LABELS)
    report.write(workdir, dataset, predictions, dataclasses.replace(PREDICTIONS, predicted=predicted))
    page = workdir.report.read_text(encoding="utf-8")
    assert "The only misclassified image.\n" in page and "1 misclassified" not in page
    assert f"lists all {len(LABELS)} test images." in page


def test_a_page_without_mistakes_lists_none(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    report.write(workdir, dataset, predictions, dataclasses.replace(PREDICTIONS, predicted=LABELS, maps={}))
    assert 'class="mistakes"' not in workdir.report.read_text(encoding="utf-8")
