"""The images that a classifier takes from Python: files, folders, images of Pillow and arrays, alone and mixed."""

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ExifTags, Image

import chimeramix_jax
from chimeramix_jax.config import from_json
from chimeramix_jax.data import pillow_warnings
from chimeramix_jax.errors import InputError
from chimeramix_jax.use.images import named, squares


@pytest.fixture(scope="module")
def predictor(trained_run):
    config = from_json((trained_run / "config.json").read_text())
    config.evaluation.batch_size = 4
    return chimeramix_jax.Predictor(trained_run, config=config)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def probabilities(prediction):
    assert prediction.error is None, prediction.error
    return dict(zip(prediction.classes, prediction.probabilities, strict=True))


def test_an_image_is_the_same_as_a_file_and_in_every_form_in_memory(predictor, pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with Image.open(path) as opened:
        forms = [path, opened, Image.fromarray(pixels), pixels, jnp.asarray(pixels), pixels[::-1][::-1]]
        mixed = predictor.predict(forms)
        alone = [prediction for form in forms for prediction in predictor.predict(form)]
    names = [str(path), str(path), *(f"images[{place}]" for place in range(2, 6))]
    assert [prediction.name for prediction in mixed] == names
    assert [prediction.path for prediction in mixed] == [path, *[None] * 5]
    expected = probabilities(mixed[0])
    assert len(expected) == 10 and sum(expected.values()) == pytest.approx(1, abs=1e-5)
    for prediction in mixed + alone:
        assert probabilities(prediction) == pytest.approx(expected, abs=1e-6)


def test_grey_and_transparent_arrays_are_read_as_their_files_would_be(predictor, pixels, tmp_path):
    grey, clear = pixels[..., 0], np.dstack([pixels, pixels[..., 0]])
    for name, array in (("grey", grey), ("clear", clear)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    images = [tmp_path / "grey.png", grey, grey[..., None], tmp_path / "clear.png", clear]
    of_grey, *others = map(probabilities, predictor.predict(images))
    assert others[:2] == [pytest.approx(of_grey, abs=1e-6)] * 2
    assert others[3] == pytest.approx(others[2], abs=1e-6) and others[2] != pytest.approx(of_grey, abs=1e-6)


def test_an_open_photo_is_turned_upright_like_its_file(predictor, pixels, tmp_path):
    path, orientation = tmp_path / "turned.png", Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(path, exif=orientation)
    upright = np.rot90(pixels, -1)
    with Image.open(path) as opened:
        of_file, of_image, of_upright = map(probabilities, predictor.predict([path, opened, upright]))
    assert of_file == pytest.approx(of_upright, abs=1e-6) and of_image == pytest.approx(of_upright, abs=1e-6)


def test_several_images_may_be_an_array_a_generator_or_an_array_of_paths(predictor, pixels, tmp_path):
    images = np.stack([pixels, 255 - pixels, pixels[::-1]])
    paths = [tmp_path / f"{place}.png" for place in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    expected = [probabilities(prediction) for prediction in predictor.predict(list(images))]
    for form in (images, iter(images), paths, np.array(list(map(str, paths))), tmp_path, (path for path in paths)):
        assert [probabilities(prediction) for prediction in predictor.predict(form)] == [
            pytest.approx(row, abs=1e-6) for row in expected
        ]


def test_what_is_no_image_is_returned_with_its_error(predictor, pixels, tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.tile(pixels, (8, 8, 1))).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    flat = np.zeros((0, 5, 3), np.uint8)
    with Image.open(path) as cut:
        outside = Image.fromarray(pixels).crop((5, 5, 5, 5))
        predictions = predictor.predict([pixels, pixels / 255, flat, None, cut, path, outside, "a\0b", pixels])
    errors = [None if prediction.error is None else str(prediction.error) for prediction in predictions]
    assert errors[0] is errors[-1] is None and predictions[0].classes == predictions[-1].classes
    assert errors[1].startswith("images[1]: is float64 of shape (40, 60, 3); an array must be uint8 of shape ")
    assert errors[2].startswith("images[2]: is uint8 of shape (0, 5, 3); ")
    assert errors[3] == "images[3]: is None; it must be a path, an image of Pillow or an array"
    assert errors[4].startswith(f"{path}: is damaged") and errors[5].startswith(f"--images: {path} is damaged")
    assert errors[6] == "images[6]: has a size of 0x0; it must have at least one pixel"
    assert errors[7] == "--images='a\\x00b': contains a character that no path may have"


def test_images_of_an_iterator_are_read_as_they_are_needed(predictor, pixels):
    produced = 0

    def endless():
        nonlocal produced
        while True:
            produced += 1
            yield pixels

    predictions = predictor.stream(endless())
    first = [next(predictions) for _ in range(9)]
    predictions.close()
    assert len({prediction.classes for prediction in first}) == 1
    assert [prediction.name for prediction in first] == [f"images[{place}]" for place in range(9)]
    assert 12 <= produced <= 13 + 4 * os.cpu_count()  # three batches, and a few that are read ahead


def test_every_path_of_a_list_has_one_prediction_that_says_what_is_wrong_with_it(predictor, pixels, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    a, b = tmp_path / "a.png", str(tmp_path / "b.png")
    images = [a, a, "", f"{a},{b}", pixels, str(tmp_path / "[c].png"), "http://x/d.png", b]
    predictions = predictor.predict(images)
    assert [prediction.name for prediction in predictions] == [
        *(str(a), str(a), "", f"{a},{b}", "images[4]", str(tmp_path / "[c].png"), "http://x/d.png", b)
    ]
    errors = [None if prediction.error is None else str(prediction.error) for prediction in predictions]
    assert [place for place, error in enumerate(errors) if error is None] == [0, 1, 4, 7]
    assert "is empty" in errors[2] and "does not exist" in errors[3]
    assert "[c].png does not exist" in errors[5] and "is a URL" in errors[6]
    assert [prediction.path for prediction in predictor.predict(f"{b}, {a},{b}")] == [tmp_path / "b.png", a]


def test_the_paths_of_an_iterator_are_looked_at_as_they_are_needed(predictor, pixels, tmp_path):
    produced = 0

    def endless():
        nonlocal produced
        while True:
            path = tmp_path / f"{produced}.png"
            if produced < 9:
                Image.fromarray(pixels).save(path)
            produced += 1
            yield path

    predictions = predictor.stream(endless())
    first = [next(predictions) for _ in range(9)]
    predictions.close()
    assert [prediction.name for prediction in first] == [str(tmp_path / f"{place}.png") for place in range(9)]
    assert all(prediction.error is None for prediction in first)
    assert produced <= 12 + 4 + 4 * os.cpu_count() + 1  # three batches, a group of four and what is read ahead


def test_predictions_may_keep_only_the_most_probable_classes(predictor, pixels):
    (whole,), (first,) = predictor.predict(pixels), predictor.predict(pixels, most_classes=3)
    assert (first.classes, first.probabilities) == (whole.classes[:3], whole.probabilities[:3])
    assert next(predictor.stream(pixels, most_classes=1)).classes == whole.classes[:1]
    with pytest.raises(InputError, match="most_classes: 0; it must be at least 1"):
        predictor.stream(pixels, most_classes=0)


def test_the_images_of_an_iterator_are_not_kept(pixels):
    class Counted(np.ndarray):
        alive = 0

        def __array_finalize__(self, source):
            if source is None or not isinstance(source, Counted):
                Counted.alive += 1

        def __del__(self):
            Counted.alive -= 1

    most = 0
    for _ in squares(named((pixels.view(Counted) for _ in range(300)), ("cat", "dog")), 8, "crop"):
        most = max(most, Counted.alive)
    assert most < 10


def test_threads_share_a_predictor_and_get_the_same_answers(predictor):
    images = np.random.default_rng(1).integers(0, 256, (24, 12, 12, 3), np.uint8)
    expected = [prediction.classes for prediction in predictor.stream(images)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda image: predictor.predict(image)[0].classes, images))
    assert answers == expected


def test_a_model_file_predicts_as_its_run_does(trained_run, predictor, pixels, tmp_path):
    model = chimeramix_jax.export(trained_run, tmp_path / "model.zip").path
    (ours,), (theirs,) = chimeramix_jax.predict(model, pixels), predictor.predict(pixels)
    assert probabilities(ours) == pytest.approx(probabilities(theirs), abs=1e-6)


def test_threads_that_read_at_the_same_time_leave_the_warnings_of_the_process_alone():
    before, entered, left = list(warnings.filters), threading.Event(), threading.Event()

    def reads():
        with pillow_warnings.handled():
            entered.set()
            left.wait(10)

    with pillow_warnings.handled():
        thread = threading.Thread(target=reads)
        thread.start()
        entered.wait(10)
    assert warnings.filters != before
    left.set()
    thread.join()
    assert warnings.filters == before
