import pytest

from benchmarks import preparation
from chimeramix_jax.data.builders import cifair, stl10


@pytest.mark.parametrize("name", ["cifair10", "cifair100", "stl10"])
def test_archives_of_the_published_form_are_prepared_to_the_images_that_were_drawn(name, tmp_path, monkeypatch):
    for constant, value in (("CIFAR_BATCH", 100), ("CIFAR_TEST_IMAGES", 100), ("IMAGES_PER_CLASS", 1)):
        monkeypatch.setattr(preparation, constant, value)
    monkeypatch.setattr(preparation, "STL_IMAGES", {"train": 20, "test": 10})
    builder = cifair.BUILDERS.get(name, stl10.Stl10)
    monkeypatch.setattr(builder, "ARCHIVE", builder.ARCHIVE)  # restores it afterwards
    preparation.WRITERS[name](preparation._archive(name, tmp_path), name)
    found = preparation.measure(name, tmp_path)  # compares the images
    assert found["images"] == (30 if name == "stl10" else 600) and min(found.values()) > 0
