import shutil

import pytest

from chimeramix_jax.config.checking import check
from chimeramix_jax.config.defaults import get_config
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.builders.own_images import scan
from chimeramix_jax.errors import InputError
from tests.data.own_images import write_images, write_table


def write_list(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {label}\n" for name, label in lines))
    return path


@pytest.fixture
def lists(tmp_path):
    """Split files as those of ISIC 2018, beside the folder of images: names without extensions, classes 0 and 1."""
    write_images(tmp_path / "isic" / "Input", 9)
    folder = tmp_path / "isic"
    write_list(folder / "train0.txt", [(4, 1), (0, 0)])
    write_list(folder / "val0.txt", [(1, 1), (2, 0)])
    write_list(folder / "trainval0.txt", [(4, 1), (0, 0), (1, 1), (2, 0)])
    write_list(folder / "test0.txt", [(5, 0), (6, 1), (7, 1)])
    return folder


def refused(path, image_directory=""):
    with pytest.raises(InputError) as caught:
        scan(str(path), image_directory=str(image_directory))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lists_of_training_and_test_images_are_read_with_the_numbers_as_classes(lists, dataset_config):
    dataset_config.update({"name": "image_folder", "image_side": 8, "directory": str(lists / "trainval0.txt")})
    dataset_config.image_directory = str(lists / "Input")
    dataset = load_few_shot(dataset_config, None, seed=0)
    assert dataset.class_names == ("0", "1") and not dataset.divided and not dataset.own_validation
    assert sorted(zip(dataset.train.names, dataset.train.labels.tolist(), strict=True)) == [
        ("0.png", 0), ("1.png", 1), ("2.png", 0), ("4.png", 1)
    ]  # fmt: skip
    assert dataset.held_out.names == ("5.png", "6.png", "7.png")
    assert all((dataset.directory / name).is_file() for name in dataset.held_out.names)


def test_validation_images_belong_to_the_training_images_without_them(lists):
    contents = scan(str(lists / "train0.txt"), image_directory=str(lists / "Input"))
    assert [image.name for image in contents.train] == ["4.png", "0.png"]
    assert [image.name for image in contents.validation] == ["1.png", "2.png"]
    assert len(contents.test) == 3


def test_another_division_uses_its_own_test_images_or_else_those_of_the_first(lists):
    second = write_list(lists / "trainval2.txt", [(8, 0), (3, 1)])
    assert len(scan(str(second), image_directory=str(lists / "Input")).test) == 3
    write_list(lists / "test2.txt", [(5, 0)])
    assert len(scan(str(second), image_directory=str(lists / "Input")).test) == 1


def test_classes_are_named_after_folders_in_the_order_of_their_numbers(tmp_path):
    for number, name in enumerate(("200.Yellowthroat", "001.Albatross")):
        write_images(tmp_path / "images" / name, 3, seed=number)
    train = [("200.Yellowthroat/0", 0), ("001.Albatross/0", 1), ("001.Albatross/1.png", 1)]
    write_list(tmp_path / "test.txt", [("200.Yellowthroat/2", 0)])
    contents = scan(str(write_list(tmp_path / "trainval.txt", train)), image_directory=str(tmp_path / "images"))
    assert contents.class_names == ("200.Yellowthroat", "001.Albatross")
    assert [(image.name, image.label) for image in contents.train[1:]] == [
        ("001.Albatross/0.png", 1), ("001.Albatross/1.png", 1)
    ]  # fmt: skip
    assert contents.test[0].label == 0


def test_unusable_lists_are_refused_with_the_line(lists):
    images = lists / "Input"
    assert "train.txt, trainval.txt, or the same with a number" in refused(write_list(lists / "all.txt", [(1, 0)]))
    assert "lists files that do not exist: 4 (line 1 of trainval0.txt)" in refused(lists / "trainval0.txt")
    shutil.copy(images / "4.png", images / "4.jpg")
    assert "4 may be any of 4.jpg, 4.png in " in refused(lists / "trainval0.txt", images)
    (images / "4.jpg").unlink()
    write_list(lists / "test0.txt", [(0, 0)])
    assert "lists 0 twice, in lines 2 of trainval0.txt and 1 of test0.txt" in refused(lists / "trainval0.txt", images)
    write_list(lists / "test0.txt", [(5, 3)])
    assert "test0.txt has labels without a training image: 3 (line 1)" in refused(lists / "trainval0.txt", images)
    write_list(lists / "test0.txt", [(5, "cat")])
    assert "test0.txt, line 1, is '5 cat'; it must be the path of an image" in refused(lists / "trainval0.txt", images)


def test_a_number_without_training_images_is_refused_even_if_a_class_folder_has_that_name(tmp_path):
    for digit in range(4):
        write_images(tmp_path / str(digit), 3, seed=digit)
    trained, tested = (0, 1, 3), range(4)  # the numbers of the classes count from 1, the names of their folders from 0
    write_list(tmp_path / "train.txt", [(f"{digit}/{image}.png", digit + 1) for digit in trained for image in (0, 1)])
    write_list(tmp_path / "test.txt", [(f"{digit}/2.png", digit + 1) for digit in tested])
    assert refused(tmp_path / "train.txt").endswith("test.txt has labels without a training image: 3 (line 3)")


def test_a_number_of_thousands_of_digits_is_refused_with_its_line(lists):
    write_list(lists / "test0.txt", [(5, 0), (6, "9" * 5000)])
    message = refused(lists / "trainval0.txt", lists / "Input")
    assert "test0.txt, line 2, is '6 999" in message and len(message) < 600


def test_a_folder_of_listed_images_is_only_for_lists_and_must_exist(lists, tmp_path):
    config = get_config()
    config.dataset.update({"name": "image_folder", "directory": str(lists), "image_directory": str(lists / "Input")})
    with pytest.raises(InputError, match=r"dataset.image_directory: .* but dataset.directory is not a list of images"):
        check(config)
    config.dataset.directory = str(lists / "trainval0.txt")
    check(config)
    config.dataset.image_directory = str(tmp_path / "missing")
    with pytest.raises(InputError, match=r"dataset.image_directory: \S+missing' is not a folder"):
        check(config)


def test_the_paths_of_a_table_may_be_relative_to_another_folder_too(tmp_path):
    write_images(tmp_path / "elsewhere", 4)
    rows = [(f"{number}.png", "ab"[number % 2], ("train", "test")[number // 2]) for number in range(4)]
    contents = scan(str(write_table(tmp_path / "photos.csv", rows)), image_directory=str(tmp_path / "elsewhere"))
    assert [image.path for image in contents.test] == [tmp_path / "elsewhere" / f"{number}.png" for number in (2, 3)]
