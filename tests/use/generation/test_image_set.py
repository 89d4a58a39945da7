"""Mixed images of a finished run, written to train other programs on."""

import json
import os
from operator import itemgetter

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from flax import nnx
from PIL import Image

import chimeramix_jax
from chimeramix_jax.augment.geometry import normalize, resize_align_corners
from chimeramix_jax.command_line import program
from chimeramix_jax.config import from_json, load, to_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing.blending import blend
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.use.generation import class_folders
from chimeramix_jax.use.generation.mixes import Mix

COUNT = 23  # not a multiple of the ten classes


@pytest.fixture(scope="module")
def generated(trained_run, tmp_path_factory):
    return chimeramix_jax.generate(trained_run, COUNT, tmp_path_factory.mktemp("generated"), seed=3)


@pytest.fixture(scope="module")
def dataset(trained_run):
    config = from_json((trained_run / "config.json").read_text())
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed)


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def pixels(folder):
    return np.stack([np.asarray(Image.open(folder / line["file"])) for line in manifest(folder)])


def test_images_are_balanced_over_the_class_folders_and_listed_in_the_manifest(generated):
    lines = manifest(generated)
    assert sorted(line["file"] for line in lines) == sorted(
        path.relative_to(generated).as_posix() for path in generated.rglob("*.png")
    )
    assert [len(list((generated / str(label)).iterdir())) for label in range(10)] == [3] * 3 + [2] * 7
    assert all(line["file"].startswith(f"{line['class']}/") for line in lines)
    assert pixels(generated).shape == (COUNT, 8, 8, 3)
    about = json.loads((generated / "generated.json").read_text())
    assert (about["count"], about["seed"], about["config"]["experiment"]) == (COUNT, 3, "chimeramix_grid")


def test_sources_are_training_images_of_the_same_class_and_each_is_equally_often_the_first(generated, dataset):
    labels = dict(zip(dataset.train_indices.tolist(), dataset.train.labels.tolist(), strict=True))
    lines = manifest(generated)
    assert all(labels[source] == line["label"] for line in lines for source in line["sources"])
    first = [line["sources"][0] for line in lines]
    assert sorted(first[:20]) == sorted(labels)  # two of each class


def test_an_image_is_the_generators_mix_of_the_sources_and_mask_in_the_manifest(generated, trained_run, dataset):
    # Digits are neither mirrored nor cropped, so a mix depends on nothing but its sources and mask.
    generator = chimeramix_jax.restore_generator(trained_run)
    by_index = dict(zip(dataset.train_indices.tolist(), dataset.train.images, strict=True))
    lines = manifest(generated)
    a, b = (
        resize_align_corners(normalize(jnp.stack([by_index[line["sources"][n]] for line in lines])), 32) for n in (0, 1)
    )
    keeps_a = np.array([[[owner == "0" for owner in row] for row in line["mask"]] for line in lines])[..., None]
    assert 0.2 < keeps_a.mean() < 0.8

    @nnx.jit
    def mix(generator, a, b, mask):
        return resize_align_corners(generator.decode(blend(generator.encode(a), generator.encode(b), mask)), 8)

    expected = (np.asarray(mix(generator, a, b, keeps_a.astype(np.float32))) + 1) * 127.5
    assert np.abs(expected - pixels(generated)).max() < 0.6


def test_the_seed_determines_the_files_and_a_larger_count_only_adds_images(generated, trained_run, tmp_path):
    folders = [
        chimeramix_jax.generate(trained_run, count, tmp_path / name, seed=seed)
        for name, count, seed in (("same", COUNT, 3), ("other", COUNT, 4), ("more", 110, 3))
    ]
    same, other, more = map(manifest, folders)
    assert same == manifest(generated) == more[:COUNT] and len(more) == 110
    assert other != same
    np.testing.assert_array_equal(pixels(folders[0]), pixels(generated))
    np.testing.assert_array_equal(pixels(folders[2])[:COUNT], pixels(generated))


def test_array_records_hold_the_same_images_for_tfds(generated, trained_run, tmp_path):
    folder = chimeramix_jax.generate(trained_run, COUNT, tmp_path / "records", seed=3, file_format="array_record")
    examples = sorted(tfds.builder_from_directory(folder).as_data_source("train"), key=itemgetter("index"))
    np.testing.assert_array_equal(np.stack([example["image"] for example in examples]), pixels(generated))
    for example, line in zip(examples, manifest(generated), strict=True):
        assert (example["label"], example["sources"].tolist()) == (line["label"], line["sources"])
        assert ["".join(map(str, row)) for row in example["mask"]] == line["mask"]
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_the_command_line_writes_into_the_run_and_refuses_to_overwrite(generated, trained_run, tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_bytes((trained_run / "config.json").read_bytes())
    Workdir(workdir).use_generator_of(Workdir(trained_run))
    arguments = ["--stage=generate", f"--workdir={workdir}", f"--count={COUNT}", "--generate_seed=3"]
    capsys.readouterr()
    code = program.main(arguments)
    output, errors = capsys.readouterr()
    assert code == 0, errors
    assert f"{COUNT} mixed images" in output and str(workdir / "generated") in output
    assert manifest(workdir / "generated") == manifest(generated)
    np.testing.assert_array_equal(pixels(workdir / "generated"), pixels(generated))
    assert program.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"{workdir}/generated: already exists" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--count: --stage=generate needs it"),
        (["--count=0"], "--count: '0' is not allowed"),
        (["--count=5", "--format=csv"], "--format: 'csv' is not known; allowed: png, array_record"),
        (["--count=5", "--images=x"], "--images: --stage=generate does not take it"),
        (["--count=5", "--retrain"], "--retrain: --stage=generate does not take it"),
    ],
)
def test_unusable_arguments_are_refused_with_exit_code_2(trained_run, tmp_path, capsys, arguments, message):
    code = program.main(["--stage=generate", f"--workdir={trained_run}", f"--output={tmp_path}/new", *arguments])
    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert message in errors and errors.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_an_address_is_refused_from_python_too(trained_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--output=gs://bucket/mixed: is a URL"):
        chimeramix_jax.generate(trained_run, 5, "gs://bucket/mixed")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_jax_does_not_tell_from_another_is_refused_from_python_too(seed, trained_run, tmp_path):
    with pytest.raises(InputError, match=f"--generate_seed={seed}: must be a whole number from 0 to 2147483647"):
        chimeramix_jax.generate(trained_run, 3, tmp_path / "new", seed=seed)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("experiment", "message"), [("baseline", "mixes no images"), ("chimeramix_grid", "holds no finished generator")]
)
def test_a_run_that_cannot_mix_is_refused_and_nothing_is_left(tmp_path, experiment, message):
    (tmp_path / "config.json").write_text(to_json(load(f"digits:{experiment}")))
    with pytest.raises(InputError, match=message):
        chimeramix_jax.generate(tmp_path, 5)
    assert os.listdir(tmp_path) == ["config.json"]


def test_no_array_records_are_begun_in_a_folder_whose_name_is_not_utf_8(tmp_path):
    (tmp_path / "config.json").write_text(to_json(load("digits:chimeramix_grid")))
    output = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(InputError, match=r"^--output=\S*/caf\\xe9: .* is not UTF-8, so nothing can be stored there"):
        chimeramix_jax.generate(tmp_path, 5, output, file_format="array_record")
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_stopped_program_leaves_nothing_of_the_folder(trained_run, tmp_path, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(stopping, "raise_if_asked", stop)
    with pytest.raises(KeyboardInterrupt):
        chimeramix_jax.generate(trained_run, 5, tmp_path / "new")
    assert not os.listdir(tmp_path)


def test_every_class_has_a_folder_of_its_own_in_the_output_and_ordinary_names_are_kept(tmp_path):
    names = [
        "animals_cat",
        "animals/cat",
        "../../escape",
        "..",
        ".hidden",
        "é" * 150,
        "manifest.jsonl",
        "a b",
        "A",
        "a",
    ]
    image, owners = np.zeros((2, 2, 3), np.uint8), np.zeros((1, 1), np.uint8)
    folder = tmp_path / "deep" / "mixed"
    folder.mkdir(parents=True)
    class_folders.write([Mix(image, label, (0, 0), owners) for label in range(10)], names, [5], folder)
    lines = manifest(folder)
    assert [line["class"] for line in lines] == names and [line["label"] for line in lines] == list(range(10))
    folders = [line["file"].removesuffix(f"/{place:07}.png") for place, line in enumerate(lines)]
    assert folders[:5] == ["animals_cat", "animals_cat-2", "_._.._escape", "_.", "_hidden"]
    assert folders[5:7] == ["é" * 100, "manifest.jsonl-2"] and {"a b", "A"} <= set(folders)
    assert sorted([*folders, "manifest.jsonl"]) == sorted(os.listdir(folder)) and os.listdir(tmp_path / "deep") == [
        "mixed"
    ]
    assert pixels(folder).shape == (10, 2, 2, 3)
