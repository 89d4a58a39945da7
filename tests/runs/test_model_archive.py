"""Model files: a trained classifier in a single file, which takes the place of its run's directory."""

import html
import io
import json
import re
import shlex
import shutil
import tempfile
import zipfile

import jax
import numpy as np
import onnx
import pytest
from flax import nnx
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import program
from chimeramix_jax.config import from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import run as running
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runtime import invocation
from tests.runs import stored_settings


@pytest.fixture(scope="module")
def model(trained_run, tmp_path_factory):
    """The run as a model file, where nothing else of the run is near; to be read only."""
    path = tmp_path_factory.mktemp("model") / "digits.zip"
    assert program.main(["--stage=export", f"--workdir={trained_run}", f"--output={path}"]) == 0
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def changed(source, path, content, member="model.json"):
    """Writes a copy of a model file in which a member has another content, or is missing if that is None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            kept = old.read(name) if name != member else content
            if kept is not None:
                new.writestr(name, kept)
    return path


def about_of(model):
    with zipfile.ZipFile(model) as archive:
        return json.loads(archive.read("model.json"))


def test_predictions_are_exactly_those_of_the_run(model, trained_run, photos, capsys):
    outputs = []
    for workdir in (trained_run, model):
        code = program.main(["--stage=predict", f"--workdir={workdir}", f"--images={photos}", "--format=csv"])
        outputs.append(capsys.readouterr())
        assert (code, outputs[-1].err) == (0, "")
    assert outputs[0].out == outputs[1].out and outputs[0].out.count("\n") == 6


@pytest.fixture
def class_folders(trained_run, tmp_path):
    """Three training images and five test images of the run, in folders named after their classes."""
    config = settings_of(trained_run)
    data = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    for part, count in ((data.train, 3), (data.held_out, 5)):
        for number in range(count):
            folder = tmp_path / "labelled" / str(part.labels[number])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.images[number]).save(folder / f"{part.names[number]}.png")
    return tmp_path / "labelled"


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_it_leaves_training_images_out_of_the_accuracy_as_the_run_does(model, trained_run, class_folders, form, capsys):
    outputs = []
    for workdir in (trained_run, model):
        arguments = [f"--workdir={workdir}", f"--images={class_folders}", f"--format={form}"]
        assert program.main(["--stage=predict", *arguments]) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0] == outputs[1]
    said = "".join(outputs[1])
    assert re.search(r"accuracy: .* of 5 images in folders named after classes", said)
    assert "3 of 8 images were trained on, so accuracy and matrix leave them out" in said


def test_a_file_without_digests_of_the_training_images_says_nothing_of_them(model, class_folders, tmp_path, capsys):
    old = changed(model, tmp_path / "old.zip", json.dumps(about_of(model) | {"format": 1}))
    old = changed(old, tmp_path / "older.zip", None, "training_digests.npy")
    for path in (old, chimeramix_jax.export(old, tmp_path / "again.zip").path):
        assert program.main(["--stage=predict", f"--workdir={path}", f"--images={class_folders}"]) == 0
        said = "".join(capsys.readouterr())
        assert re.search(r"accuracy: .* of 8 images in folders named after classes", said)
        assert "trained on" not in said


def probabilities(source, photos, config=None):
    return [prediction.probabilities for prediction in chimeramix_jax.predict(source, photos, config=config)]


def settings_of(workdir):
    return from_json((workdir / "config.json").read_text())


@pytest.fixture
def mirrored(trained_run, tmp_path):
    """A copy of the run that may average over mirror images but does not, and its settings if it did."""
    workdir = shutil.copytree(trained_run, tmp_path / "mirrored")
    stored_settings.change(workdir, lambda config: config["augment"].update(horizontal_flip=True))
    config = settings_of(workdir)
    config.evaluation.mirror = True
    return workdir, config


def test_files_of_a_run_that_was_evaluated_again_predict_as_it_does_now(mirrored, photos, tmp_path):
    workdir, config = mirrored
    before, plain = probabilities(workdir, photos), settings_of(workdir)
    chimeramix_jax.train_and_evaluate(config, workdir, stage="evaluate")
    model = chimeramix_jax.export(workdir, tmp_path / "model.zip").path
    assert probabilities(model, photos) == probabilities(workdir, photos) != before
    assert about_of(model)["config"]["evaluation"]["mirror"]
    assert probabilities(model, photos, plain) == before  # as the run itself takes other views, too
    plain.classifier.epochs += 1
    with pytest.raises(InputError, match=r"model with other settings \(classifier\.epochs"):
        probabilities(model, photos, plain)
    of_onnx = onnx.load(chimeramix_jax.export(workdir, tmp_path / "model.onnx").path)
    stored = {entry.key: entry.value for entry in of_onnx.metadata_props}
    assert json.loads(stored["config"])["evaluation"]["mirror"]


def test_an_evaluation_that_is_killed_leaves_the_settings_that_the_results_are_of(mirrored, monkeypatch):
    def killed(logits, labels):
        raise KeyboardInterrupt

    workdir, config = mirrored
    before = (workdir / "config.json").read_bytes()
    monkeypatch.setattr(running, "evaluate_logits", killed)
    with pytest.raises(KeyboardInterrupt):
        chimeramix_jax.train_and_evaluate(config, workdir, stage="evaluate")
    assert (workdir / "config.json").read_bytes() == before


def test_the_report_refuses_other_views_than_those_of_the_results(model, data_dir, capsys):
    changed_views = "--config.augment.horizontal_flip", "--config.evaluation.mirror"
    where = f"--config.dataset.data_dir={data_dir}"
    assert program.main(["--stage=report", f"--workdir={model}", where, *changed_views]) == 2
    assert "evaluation.mirror: False stored, True requested" in capsys.readouterr().err


def test_the_restored_network_and_class_names_are_the_runs(model, trained_run):
    assert chimeramix_jax.class_names(model) == chimeramix_jax.class_names(trained_run)
    ours, theirs = (chimeramix_jax.restore_classifier(source) for source in (model, trained_run))
    assert nnx.graphdef(ours) == nnx.graphdef(theirs)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(ours), nnx.state(theirs))
    with pytest.raises(InputError, match="holds only the classifier, not 'baseline'"):
        chimeramix_jax.restore_classifier(model, "baseline")


def test_it_holds_the_classifier_and_its_results_and_nothing_more(model, trained_run, data_dir):
    with zipfile.ZipFile(model) as archive:
        names, text = archive.namelist(), archive.read("model.json").decode()
        card = archive.read("model_card.md")
        digests = np.load(io.BytesIO(archive.read("training_digests.npy")))
    assert names[:3] == ["model.json", "model_card.md", "training_digests.npy"]
    assert all(name.startswith("weights/") for name in names[3:])
    assert {name.split("/")[1].split(".")[0] for name in names[3:]} == {"parameters", "batch_statistics"}
    images = json.loads((trained_run / "data.json").read_text())["train"]["images"]
    assert digests.dtype.itemsize == 8 and digests.tolist() == sorted({int(image, 16) for image in images})
    assert card == (trained_run / "model_card.md").read_bytes() and str(data_dir) not in card.decode()
    about, results = json.loads(text), json.loads((trained_run / "results.json").read_text())
    assert about["format"] == 2 and about["results"]["test"] == results["test"]
    assert about["data"] == results["data_sha256"] and set(about["versions"]) == set(results["versions"])
    assert str(data_dir) not in text


def test_exporting_again_gives_the_same_file_and_never_replaces_its_source(model, trained_run, tmp_path):
    again = chimeramix_jax.export(model, tmp_path / "again.zip")
    assert again.path.read_bytes() == model.read_bytes()
    with pytest.raises(InputError, match="is the model file that is to be exported"):
        chimeramix_jax.export(again.path, again.path)


def test_the_report_is_written_beside_it_if_the_images_are_there(model, data_dir, tmp_path, capsys):
    copy = tmp_path / "digits.zip"
    shutil.copy(model, copy)
    code = program.main(["--stage=report", f"--workdir={copy}", f"--config.dataset.data_dir={data_dir}"])
    output, errors = capsys.readouterr()
    page = tmp_path / "digits-report.html"
    assert (code, errors) == (0, "") and output == f"written to {page.parent}:\n  {page.name}\n"
    top1 = about_of(model)["results"]["test"]["top1"]
    shown = [f"{100 * top1:.{digits}f}\N{NO-BREAK SPACE}%" for digits in (0, 1)]
    assert any(accuracy in page.read_text() for accuracy in shown)
    offered = [re.sub(r"<.*?>", "", line) for line in re.findall(r'<code tabindex="0">(.*?)</code>', page.read_text())]
    lines = [shlex.split(html.unescape(line)) for line in offered]
    program_words = invocation.from_anywhere()
    assert lines == [
        [*program_words, "--stage=predict", f"--workdir={copy}", "--images=new-photos"],
        [*program_words, "serve", str(copy)],
    ]
    assert tempfile.gettempdir() + "/chimeramix-" not in page.read_text()


@pytest.mark.parametrize("stage", ["all", "classifier", "evaluate", "generate"])
def test_stages_that_need_a_runs_directory_refuse_it(model, stage, capsys):
    needed = ["--count=1"] if stage == "generate" else []
    assert program.main([f"--stage={stage}", f"--workdir={model}", *needed]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "is a file" in errors and "predict, report, export" in errors


def refusal(path, photos, capsys):
    """Returns the line with which the command line refuses a file."""
    code = program.main(["--stage=predict", f"--workdir={path}", f"--images={photos}"])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    return errors


def test_foreign_files_are_refused(model, photos, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert "not a file that --stage=export --format=model wrote" in refusal(path, photos, capsys)
    path.write_text("no zip")
    assert "it is not a zip file" in refusal(path, photos, capsys)
    assert "model.json" in refusal(changed(model, path, None), photos, capsys)
    for other in (b"[]", b"{", b'{"kind": "another"}', b"\xff\xfe", b"[" * 100_000):
        assert "its model.json is of another program" in refusal(changed(model, path, other), photos, capsys)


def test_files_of_later_versions_are_refused(model, photos, tmp_path, capsys):
    later = json.dumps(about_of(model) | {"format": 99})
    line = refusal(changed(model, tmp_path / "later.zip", later), photos, capsys)
    assert "format 99 cannot be read by this version" in line and "install the version that wrote it" in line


def test_damaged_contents_are_refused(model, photos, tmp_path, capsys):
    path, about = tmp_path / "damaged.zip", about_of(model)
    for wrong in ({"config": 3}, {"class_names": None}, {"config": {"classifier": {"model": "wrn-3-x"}}}):
        line = refusal(changed(model, path, json.dumps(about | wrong)), photos, capsys)
        assert "damaged" in line and "export the model again" in line
    fewer = json.dumps(about | {"class_names": about["class_names"][1:]})
    assert "of shape" in refusal(changed(model, path, fewer), photos, capsys)
    with zipfile.ZipFile(model) as archive:
        names = [name for name in archive.namelist() if "stem" in name]
        kernel = np.load(io.BytesIO(archive.read(names[0])))
    for other in (kernel.astype(np.float64), np.array([{}], dtype=object), np.zeros(10**6, np.float32)):
        stored = io.BytesIO()
        np.save(stored, other, allow_pickle=True)
        line = refusal(changed(model, path, stored.getvalue(), names[0]), photos, capsys)
        assert "damaged or incomplete" in line
    for other in (np.zeros(3), np.zeros((2, 2), np.uint64)):
        np.save(stored := io.BytesIO(), other)
        line = refusal(changed(model, path, stored.getvalue(), "training_digests.npy"), photos, capsys)
        assert "damaged or incomplete: training_digests.npy is" in line
    np.save(stored := io.BytesIO(), kernel)
    line = refusal(changed(model, path, stored.getvalue().replace(b"}", b" ", 1), names[0]), photos, capsys)
    assert "damaged or incomplete" in line


def test_truncated_and_flipped_bytes_are_noticed_or_harmless(model, tmp_path):
    content, path = model.read_bytes(), tmp_path / "damaged.zip"
    expected = TrainedClassifier.archived(ModelArchive(model)).weights()
    shapes = {name: array.shape for name, array in expected.items()}
    for length in np.linspace(1, len(content) - 1, 12).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as raised:
            ModelArchive(path)
        assert "\n" not in str(raised.value)
    random, noticed = np.random.default_rng(0), 0
    for position in [*random.integers(0, len(content), 30), *range(len(content) - 60, len(content), 3)]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            weights = ModelArchive(path).weights(shapes)
        except InputError as error:
            noticed += 1
            assert "\n" not in str(error)
        else:
            jax.tree.map(np.testing.assert_array_equal, weights, expected)
    assert noticed > 25
