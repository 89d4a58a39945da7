"""GEM's data sets, of which the lists and images lie where its scripts leave them."""

import shutil

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config.catalog import dataset_entry, lists_of
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.builders.benchmark_lists import scan_benchmark
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.data_check import refuse_copies
from tests.data.gem_files import write_gem


@pytest.fixture(scope="module")
def gem(tmp_path_factory):
    """A folder like ``datasets`` of GEM's repository, with two divisions of one data set."""
    folder = tmp_path_factory.mktemp("gem")
    write_gem(folder / "isic2018", "isic2018", per_class=2, divisions=(0, 1))
    return folder


@pytest.fixture
def config(gem, data_dir):
    loaded = settings.load("isic2018:baseline")
    changes = {"directory": str(gem / "isic2018"), "data_dir": str(data_dir), "image_side": 8}
    loaded.dataset.update(changes)
    return loaded


def stems(images):
    return {image.name for image in images}


def refused(config):
    with pytest.raises(InputError) as caught:
        scan_benchmark(config.dataset)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_division_chooses_the_list_and_images_are_found_where_the_script_puts_them(config):
    first = scan_benchmark(config.dataset)
    config.dataset.division = 1
    second = scan_benchmark(config.dataset)
    assert len(first.train) == len(second.train) == 7 * 4 and not stems(first.train) & stems(second.train)
    assert stems(first.test) == stems(second.test) and len(first.test) == 7 * 2


def test_settings_are_chosen_on_the_validation_list_without_training_on_it(config):
    both = scan_benchmark(config.dataset)
    config.dataset.evaluate_on = "validation"
    settings.check(config)
    contents = scan_benchmark(config.dataset)
    assert len(contents.train) == len(contents.validation) == 7 * 2
    assert stems(contents.train) | stems(contents.validation) == stems(both.train)


def test_fewer_images_than_listed_are_drawn_by_seed_from_the_list_of_the_division(config, gem):
    config.dataset.division = 1
    listed = (gem / "isic2018" / "trainval1.txt").read_text()
    chosen = []
    for seed in (0, 1):
        dataset = load_few_shot(config.dataset, 3, seed)
        assert dataset.name == "isic2018" and len(dataset.train.labels) == 7 * 3
        assert all(f"{name.removesuffix('.png')} " in listed for name in dataset.train.names)
        assert all((dataset.directory / name).is_file() for name in dataset.train.names)
        chosen.append(set(dataset.train.names))
    assert chosen[0] != chosen[1]
    assert len(load_few_shot(config.dataset, None, 0).train.labels) == 7 * 4


def test_published_images_are_used_as_they_are(config, gem, tmp_path):
    shutil.copytree(gem / "isic2018", tmp_path / "copied")
    images = tmp_path / "copied" / "ISIC2018_Task3_Training_Input" / "000.class"
    shutil.copy(images / "0.png", images / "8.png")  # a training image and a test image
    config.dataset.directory = str(tmp_path / "copied")
    dataset = load_few_shot(config.dataset, None, 0)
    held_out = {original.digest for original in dataset.originals.held_out}
    assert sum(original.digest in held_out for original in dataset.originals.train) == 1
    refuse_copies(config, dataset)


def test_what_is_missing_is_named_with_the_place_to_get_it_from(config, gem, tmp_path):
    config.dataset.division = 2
    assert refused(config).endswith("has no trainval2.txt; it must be the number of a list that is there")
    config.dataset.division = 0
    config.dataset.image_directory = str(tmp_path / "images")
    assert "images is not a folder; the script download_data.sh in " in refused(config)
    config.dataset.name = "clamm"
    config.dataset.image_directory = str(gem / "isic2018" / "ISIC2018_Task3_Training_Input")
    assert "trainval0.txt lists 7 classes, but clamm has 12; it must be the list of clamm" in refused(config)
    config.dataset.directory = str(tmp_path)
    assert "copy the folder clamm of https://github.com/lorenzobrigato/gem/tree/main/datasets to" in refused(config)
    config.dataset.directory = ""
    assert refused(config).startswith("dataset.directory: '' is not a folder; it must be a copy of the folder clamm")


def test_only_numbered_divisions_are_allowed(config):
    config.dataset.division = -1
    with pytest.raises(InputError, match=r"dataset.division: -1, but isic2018 is published in numbered divisions"):
        settings.check(config)


def test_every_list_has_the_published_number_of_images():
    sizes = {name: settings.load(name).max_labels_per_class for name in ("cub", "isic2018", "eurosat", "clamm")}
    assert sizes == {"cub": None, "isic2018": 80, "eurosat": 50, "clamm": 50}
    for name, size in sizes.items():
        entry, lists = dataset_entry(name), lists_of(name)
        assert lists.training_images == (5994 if size is None else entry.classes * size)


def test_the_name_of_a_run_depends_on_the_division_and_not_on_the_folder(config):
    name = settings.default_workdir(settings.load("cub:baseline"))
    assert name == "runs/cub-baseline-all-per-class-seed-0"
    shipped = settings.load("isic2018:baseline")
    config.dataset.image_side = shipped.dataset.image_side
    assert settings.default_workdir(config) == settings.default_workdir(shipped)
    config.dataset.division = 1
    assert settings.default_workdir(config) != settings.default_workdir(shipped)


def test_generators_are_shared_only_for_the_same_list(config):
    identities = [settings.generator_identity(config)]
    for changes in ({"evaluate_on": "validation"}, {"division": 1}, {"name": "clamm"}):
        config.dataset.update(changes)
        identities.append(settings.generator_identity(config))
    assert all(one not in identities[:number] for number, one in enumerate(identities))
