import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import segment_views
from chimeramix_jax.data import segments
from chimeramix_jax.data.segments import FelzenszwalbSettings, felzenszwalb_labels, label_maps

PUBLISHED = np.load(Path(__file__).parents[1] / "fixtures" / "segments.npz")  # real images and their segments
CIFAR = FelzenszwalbSettings(scale=60, min_size=60)


def images_of(side):
    return PUBLISHED[f"images_{side}"]


@pytest.fixture
def segmented(monkeypatch):
    """Collects the images that are segmented instead of read from a file."""
    calls = []

    def counting(image, settings):
        calls.append(settings)
        return felzenszwalb_labels(image, settings)

    monkeypatch.setattr(segments, "felzenszwalb_labels", counting)
    return calls


@pytest.mark.parametrize("side", [32, 64])
def test_label_maps_equal_the_published_programs(side):
    maps = label_maps(images_of(side), CIFAR, 0, None)
    np.testing.assert_array_equal(maps, PUBLISHED[f"segments_{side}"])


@pytest.mark.parametrize("padding", [1, 8])
def test_the_canvas_is_the_image_with_its_reflected_margin(padding):
    images = images_of(64)
    margins = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    maps = label_maps(images, CIFAR, padding, None)
    np.testing.assert_array_equal(maps, label_maps(np.pad(images, margins, mode="reflect"), CIFAR, 0, None))
    assert maps.shape == (4, 64 + 2 * padding, 64 + 2 * padding)


def test_labels_count_from_zero_without_gaps_in_reading_order():
    for one in label_maps(images_of(64), CIFAR, 8, None):
        labels, first_places = np.unique(one, return_index=True)
        assert labels.tolist() == list(range(len(labels)))
        assert np.all(np.diff(first_places) > 0)


def test_labels_have_the_smallest_sufficient_dtype():
    assert label_maps(images_of(32), CIFAR, 4, None).dtype == np.uint8
    many = label_maps(images_of(64), FelzenszwalbSettings(scale=0.01, min_size=1, sigma=0.0), 0, None)
    assert many.max() > 255
    assert many.dtype == np.uint16


def test_label_maps_of_no_images_are_empty():
    assert label_maps(images_of(32)[:0], CIFAR, 4, None).shape == (0, 40, 40)


def test_stored_label_maps_are_read_the_next_time(tmp_path, segmented):
    first = label_maps(images_of(32), CIFAR, 4, tmp_path / "new" / "segments")
    assert len(segmented) == 4
    again = label_maps(images_of(32), CIFAR, 4, tmp_path / "new" / "segments")
    assert len(segmented) == 4
    assert again.dtype == first.dtype
    np.testing.assert_array_equal(again, first)


def test_any_change_of_images_or_settings_causes_a_new_segmentation_and_keeps_the_old_file(
    tmp_path, segmented, monkeypatch
):
    images = images_of(32).copy()
    label_maps(images, CIFAR, 4, tmp_path)
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    variants = [
        (changed, CIFAR, 4),
        (images[::-1], CIFAR, 4),
        (images[:3], CIFAR, 4),
        (images, CIFAR, 3),
        (images, FelzenszwalbSettings(61, 60), 4),
        (images, FelzenszwalbSettings(60, 61), 4),
        (images, FelzenszwalbSettings(60, 60, sigma=0.7), 4),
    ]
    for variant in variants:
        segmented.clear()
        np.testing.assert_array_equal(label_maps(*variant, tmp_path), label_maps(*variant, None))
        assert len(segmented) == 2 * len(variant[0])
    monkeypatch.setattr(segments.importlib.metadata, "version", lambda package: "another")
    label_maps(images, CIFAR, 4, tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == len(variants) + 2


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def another_archive(content):
    stream = io.BytesIO()
    np.savez(stream, label_maps=np.zeros((4, 3, 3), np.uint8))
    return stream.getvalue()


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:-30], lambda content: b"junk" * 50, flip_a_bit, another_archive],
    ids=["empty", "cut short", "junk", "a flipped bit", "other label maps"],
)
def test_a_damaged_file_is_replaced(tmp_path, segmented, damage):
    expected = label_maps(images_of(32), CIFAR, 4, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    segmented.clear()
    np.testing.assert_array_equal(label_maps(images_of(32), CIFAR, 4, tmp_path), expected)
    assert len(segmented) == 4
    np.testing.assert_array_equal(label_maps(images_of(32), CIFAR, 4, tmp_path), expected)
    assert len(segmented) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_several_processes_give_the_same_result_and_do_not_run_the_users_script_again(tmp_path):
    np.save(tmp_path / "images.npy", images_of(64))
    script = tmp_path / "script.py"  # without the usual `if __name__ == "__main__"`
    script.write_text(
        "import sys\n"
        "import numpy as np\n"
        "from chimeramix_jax.data.segments import FelzenszwalbSettings, label_maps\n"
        "maps = label_maps(np.load('images.npy'), FelzenszwalbSettings(60, 60), 8, None, workers=2)\n"
        "np.save('maps.npy', maps)\n"
        "print('ran, with JAX' if 'jax' in sys.modules else 'ran')\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    run = [sys.executable, str(script)]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert "segmentation: 4/4 images (100%)" in done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "maps.npy"), label_maps(images_of(64), CIFAR, 8, None))


@pytest.mark.parametrize("setting", [{"scale": 0}, {"scale": float("nan")}, {"min_size": -1}, {"sigma": -0.1}])
def test_invalid_segmentation_settings_are_refused(setting):
    with pytest.raises(ValueError, match="scale must be above 0, min_size and sigma at least 0"):
        FelzenszwalbSettings(**({"scale": 60, "min_size": 60} | setting))


@pytest.mark.parametrize("padding", [-1, 32])
def test_a_padding_that_a_reflection_cannot_fill_is_refused(padding):
    with pytest.raises(ValueError, match=f"padding: {padding} is not allowed; it must be from 0 to 31"):
        label_maps(images_of(32), CIFAR, padding, None)


@pytest.fixture(scope="module", params=[32, 64])
def comparison(request):
    return segment_views.compare(images_of(request.param), CIFAR, views=12, masks=25)


def test_segments_cropped_from_the_canvas_agree_with_segments_of_the_view(comparison):
    # Over hundreds of images: Rand index 0.92 (32 px) and 0.97 (64 px), overlap 0.79; this test has four images.
    assert comparison.agreement.rand > 0.85
    assert comparison.agreement.adjusted_rand > 0.6
    assert comparison.agreement.overlap > 0.65
    assert comparison.segments_published <= comparison.segments_counted < 1.4 * comparison.segments_published


def test_masks_of_cropped_segments_have_areas_distributed_like_the_published_masks(comparison):
    assert comparison.distance < 0.12
    assert abs(comparison.areas_ours.mean() - comparison.areas_published.mean()) < 0.05
    assert abs(comparison.areas_ours.std() - comparison.areas_published.std()) < 0.05


def test_agreement_measures_are_one_for_equal_maps_and_lower_for_others():
    maps = PUBLISHED["segments_64"]
    assert segment_views.agreement(maps, maps) == segment_views.Agreement(1, 1, 1)
    assert segment_views.agreement(np.zeros_like(maps), maps).adjusted_rand == 0
    labels, published = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert segment_views.best_overlap(labels, published) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert segment_views.distance(np.zeros(5), np.ones(5)) == 1
