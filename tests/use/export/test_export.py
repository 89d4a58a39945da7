"""Exporting a finished run through the real command line, and using the files without this package."""

import contextlib
import io
import json
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ROOT
from flax import nnx
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import program as command_line
from chimeramix_jax.config import from_json, load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import build
from chimeramix_jax.models.heads import HeadKind
from chimeramix_jax.models.resnet import ResNet
from chimeramix_jax.runs import model_archive
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.training.networks import build_classifier
from chimeramix_jax.use import export_formats
from chimeramix_jax.use.export import checking, onnx_file, onnx_networks
from chimeramix_jax.use.export.program import Program, of_squares

PAGE = (ROOT / "docs" / "export.md").read_text()
FIVE_MEGABYTES = 5_000_000


def main(*arguments):
    """Runs ``main.py``; returns exit code, standard output and standard error."""
    command = [sys.executable, ROOT / "main.py", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return process.returncode, process.stdout, process.stderr


def main_here(*arguments):
    """Does the same in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = command_line.main(arguments)
    return code, output.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def exports(trained_run, tmp_path_factory):
    """The run as photos.onnx and photos.stablehlo, and what the command printed, by the format's name."""
    folder, printed = tmp_path_factory.mktemp("exports"), {}
    for name, run in (("onnx", main_here), ("stablehlo", main)):
        code, printed[name], errors = run(
            "--stage=export", f"--workdir={trained_run}", f"--output={folder / 'photos'}.{name}"
        )
        assert (code, errors) == (0, "")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 31, 3), np.uint8)).save(folder / "photo.jpg")
    return folder, printed


@pytest.fixture(scope="module")
def held_out(trained_run):
    config = from_json((trained_run / "config.json").read_text())
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out.images


@pytest.mark.parametrize("name", ["onnx", "stablehlo"])
def test_the_command_says_where_the_file_is_and_that_it_agrees_on_the_held_out_images(exports, held_out, name):
    folder, printed = exports
    written, path, checked = printed[name].splitlines()
    assert written.startswith("written: ") and path == f"  {folder / 'photos'}.{name}"
    begin = f"checked on {len(held_out)} held-out images: the same classes, and probabilities within "
    assert checked.startswith(begin) and float(checked.removeprefix(begin)) < 1e-4


def test_onnx_gives_the_predictions_of_the_run_for_photos_of_any_size_and_number(exports, trained_run, tmp_path):
    session = onnxruntime.InferenceSession(exports[0] / "photos.onnx")
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(((8, 8), (3, 5), (90, 61), (200, 301))):
        images = random.integers(0, 256, (number + 1, height, width, 3), np.uint8)
        for place, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / f"{number}-{place}.png")
        (probabilities,) = session.run(["probabilities"], {"images": images})
        assert probabilities.shape == (number + 1, 10)
        predictions = chimeramix_jax.predict(trained_run, f"{tmp_path}/{number}-*.png")
        for prediction, row in zip(predictions, probabilities, strict=True):
            by_name = dict(zip(names, row, strict=True))
            assert max(by_name, key=by_name.get) == prediction.classes[0]
            np.testing.assert_allclose(
                [by_name[name] for name in prediction.classes], prediction.probabilities, atol=1e-4
            )


def test_the_file_describes_itself_without_paths_of_this_machine(exports, trained_run, data_dir):
    model = onnx.load(exports[0] / "photos.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(about["image_sides"]) == [8] and about["weights"] == "float32"
    results = json.loads((trained_run / "results.json").read_text())
    assert json.loads(about["data_sha256"]) == results["data_sha256"]
    assert json.loads(about["config"])["classifier"] == results["config"]["classifier"]
    assert str(data_dir) in json.dumps(results) and str(data_dir) not in json.dumps(about)


@pytest.mark.parametrize(("name", "without"), [("onnx", ("chimeramix_jax", "jax")), ("stablehlo", ("chimeramix_jax",))])
def test_the_lines_in_the_page_classify_a_photo_without_this_package(exports, trained_run, name, without):
    folder, _ = exports
    (lines,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 10 or name == "onnx"
    blocked = "".join(f"import sys; sys.modules[{module!r}] = None\n" for module in without)
    command = [sys.executable, "-I", "-c", blocked + lines]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    (prediction,) = chimeramix_jax.predict(trained_run, folder / "photo.jpg")
    shown = process.stdout.splitlines()
    assert len(shown) == 5
    for line, *expected in zip(shown, prediction.classes[:5], prediction.probabilities[:5], strict=True):
        probability, class_name = re.fullmatch(r"\((.*), '(.*)'\)", line).groups()
        assert class_name == expected[0] and float(probability) == pytest.approx(expected[1], abs=1e-4)


def test_half_stores_half_and_keeps_its_own_tolerance(exports, trained_run, held_out, tmp_path):
    path = tmp_path / "half.onnx"
    exported = chimeramix_jax.export(trained_run, path, half=True)
    assert exported.size == path.stat().st_size < 0.6 * (exports[0] / "photos.onnx").stat().st_size
    assert checking.TOLERANCE / 100 < exported.agreement.difference < checking.HALF_TOLERANCE
    whole, half = (
        onnxruntime.InferenceSession(file).run(None, {"images": held_out})[0]
        for file in (exports[0] / "photos.onnx", path)
    )
    assert 0 < np.abs(whole - half).max() < checking.HALF_TOLERANCE


def test_a_file_that_differs_from_the_classifier_is_not_written(trained_run, tmp_path, monkeypatch):
    path, logits = tmp_path / "photos.onnx", onnx_networks.logits

    def wrong(graph, network, images):
        return [graph.multiply(one, graph.real(1.01)) for one in logits(graph, network, images)]

    monkeypatch.setattr(onnx_networks, "logits", wrong)
    with pytest.raises(InputError, match=r"probabilities differ by up to 0\.\d+ .*, more than the 0\.0001 allowed"):
        chimeramix_jax.export(trained_run, path)
    assert not path.exists() and list(tmp_path.iterdir()) == []


def test_images_whose_class_changes_within_the_tolerance_are_counted_once(held_out, monkeypatch):
    network = build("wrn-10-1", 10, rngs=nnx.Rngs(0)).eval()
    program = Program(network, [8], False, {})
    monkeypatch.setattr(checking, "_PHOTO_SHAPES", ())
    expected = np.asarray(of_squares(network, jnp.asarray(held_out[:3])))
    two = expected.argsort(axis=1)[:, -2:].T
    closest = np.argmin(expected[range(3), two[1]] - expected[range(3), two[0]])
    swapped = expected.copy()
    swapped[closest, two[:, closest]] = expected[closest, two[::-1, closest]]
    monkeypatch.setattr(checking, "TOLERANCE", 1.0)
    agreement = checking.check(program, lambda images: swapped, held_out[:3])
    assert agreement.near_ties == 1 and agreement.difference > 1e-6
    agreement = checking.check(program, lambda images: expected, held_out[:3])
    assert agreement.near_ties == 0 and agreement.difference < 1e-6
    monkeypatch.setattr(checking, "_BATCH_SIZE", 2)  # the second batch is filled up with the first image
    places = [(0, 1), (2, 0)]
    batches = iter([np.roll(expected[list(place)], 1, axis=1) for place in places])
    assert checking.check(program, lambda images: next(batches), held_out[:3]).near_ties == 3


def test_a_classifier_of_the_folder_preset_takes_less_than_five_megabytes():
    config = load("image_folder")
    network = build_classifier(config, 10, nnx.Rngs(0)).eval()
    metadata = {"class_names": [str(number) for number in range(10)]}
    whole, half = (len(onnx_file.content(Program(network, [32], half, metadata))) for half in (False, True))
    assert FIVE_MEGABYTES / 10 < whole < FIVE_MEGABYTES and half < 0.55 * whole


@pytest.mark.parametrize(
    ("views", "head"),
    [
        (EvaluationViews(), "linear"),
        (EvaluationViews(shift=3, mirror=True), "cosine"),
        (EvaluationViews(), "tvmf"),
        (EvaluationViews(mirror=True), "harmonic"),
    ],
)
def test_a_resnet_in_onnx_equals_the_network(views, head):
    kind = {"harmonic": True} if head == "harmonic" else {"head": HeadKind(head)}
    network = ResNet((1, 2), 5, channels=4, **kind, rngs=nnx.Rngs(0)).eval()
    if head == "tvmf":  # random directions are about equally far from all features
        network.head.kernel[...] = network.head.kernel[...].at[:, 0].set(1)
    random = np.random.default_rng(0)
    statistics = nnx.state(network, nnx.BatchStat)
    for path, leaf in nnx.to_flat_state(statistics):
        low, high = (-0.5, 0.5) if path[-1] == "mean" else (0.5, 1.5)
        leaf[...] = jnp.asarray(random.uniform(low, high, leaf.shape), jnp.float32)
    nnx.update(network, statistics)
    program = Program(network, [20], False, {"class_names": list("abcde")}, views=views, temperature=0.6)
    images = random.integers(0, 256, (3, 20, 20, 3), np.uint8)
    actual = onnx_file.runner(onnx_file.content(program))(images)
    expected = of_squares(network, jnp.asarray(images), views=views, temperature=0.6)
    np.testing.assert_allclose(actual, np.asarray(expected), atol=1e-5)
    plain = np.log(np.asarray(of_squares(network, jnp.asarray(images), views=views))) / 0.6
    np.testing.assert_allclose(actual, np.exp(plain) / np.exp(plain).sum(axis=1, keepdims=True), atol=1e-5)
    assert actual.max() - actual.min() > 0.01


def test_export_needs_the_images_that_the_run_was_measured_on(trained_run, tmp_path):
    config = from_json((trained_run / "config.json").read_text())
    model = tmp_path / "model.zip"
    chimeramix_jax.export(trained_run, model)
    assert chimeramix_jax.export(model, tmp_path / "a.onnx", config=config).agreement.images > 0
    about = ModelArchive(model).about | {"data": {"train": "0", "held_out": "0"}}
    weights = TrainedClassifier.archived(ModelArchive(model)).weights()
    model.write_bytes(model_archive.content(about, weights))
    with pytest.raises(InputError, match=r"is a model of other data \(other training and test images\)"):
        chimeramix_jax.export(model, tmp_path / "b.onnx", config=config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--format: --stage=export needs it; allowed: onnx, stablehlo, savedmodel, model"),
        (["--format=onx"], "--format: 'onx' is not known (did you mean 'onnx'?)"),
        (["--format=model", "--half"], "--half: --format=model keeps the weights as they were trained"),
        (["--output=docs", "--format=onnx"], "--output=docs: is a folder; --stage=export writes a file"),
        (["--output=main.py/a.onnx"], "cannot be written because "),
        (["--format=onnx", "--images=docs"], "--images: --stage=export does not take it; it is for predict"),
        (["--format=onnx", "--config.seeds=0:2"], "seeds: '0:2', but --stage=export uses one run"),
    ],
)
def test_unusable_arguments_are_refused_in_one_line_before_jax_is_loaded(trained_run, capsys, arguments, message):
    code = command_line.main(["--stage=export", f"--workdir={trained_run}", *arguments])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1) and message in errors


def test_packages_that_are_missing_are_named(trained_run, capsys, monkeypatch):
    monkeypatch.setattr(export_formats.importlib.util, "find_spec", lambda name: None)
    for name, packages in (("onnx", "onnx onnxruntime"), ("savedmodel", "tensorflow")):
        assert command_line.main(["--stage=export", f"--workdir={trained_run}", f"--format={name}"]) == 2
        assert capsys.readouterr().err.endswith(f" -m pip install {packages}\n")


@pytest.mark.parametrize("kind", ["onnx", "jax"])
def test_a_program_averages_over_the_views_of_the_run(trained_run, held_out, kind):
    config = from_json((trained_run / "config.json").read_text())
    network, images = chimeramix_jax.restore_classifier(trained_run), held_out[:5]
    sides = [images.shape[1], config.classifier.image_side]
    plain, mirrored, cropped = (
        Program(network, sides, False, {"class_names": list("0123456789")}, views=views)
        for views in (EvaluationViews(), EvaluationViews(mirror=True), EvaluationViews(shift=1))
    )

    def probabilities(program, images):
        if kind == "onnx":
            return onnx_file.runner(onnx_file.content(program))(images)
        return np.asarray(program.of_any_images(jnp.asarray(images)))

    flipped = np.ascontiguousarray(images[:, :, ::-1])
    average = (probabilities(plain, images) + probabilities(plain, flipped)) / 2
    np.testing.assert_allclose(probabilities(mirrored, images), average, atol=1e-5)
    assert np.abs(probabilities(plain, images) - average).max() > 1e-4
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    side, corners = images.shape[1], [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    crops = np.concatenate([padded[:, row : row + side, column : column + side] for row, column in corners])
    average = probabilities(plain, crops).reshape(5, 5, 10).mean(axis=0)
    np.testing.assert_allclose(probabilities(cropped, images), average, atol=1e-5)
    assert np.abs(probabilities(plain, images) - average).max() > 1e-4
