import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.reporting import pictures

MIXED = (128, 255, 0)  # a colour that no label, frame or other tile has


def sheet(side: int = 32, pairs: int = 2, masks: np.ndarray | None = None, **changes) -> np.ndarray:
    """A sheet of images in one colour each: a white, b black, the mix as ``MIXED``, the reconstructions grey."""
    mixed = np.array([0.0, 1.0, -1.0])
    flat = {"images_a": 1.0, "images_b": -1.0, "mixes": mixed, "reconstructions_a": 0.5, "reconstructions_b": -0.5}
    arguments = {name: np.full((pairs, side, side, 3), value, np.float32) for name, value in flat.items()}
    arguments["masks"] = np.ones((pairs, side // 4, side // 4, 1), np.float32) if masks is None else masks
    return np.asarray(pictures.mixing_sheet(**(arguments | changes)))


def pixels_of(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int(np.sum(np.all(picture == np.array(colour), axis=-1)))


@pytest.mark.parametrize(("side", "tile"), [(8, 96), (32, 96), (64, 128), (96, 96), (200, 200)])
def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_kept(side, tile):
    assert pixels_of(sheet(side), MIXED) == 2 * tile * tile


def test_values_beyond_the_range_are_clipped_instead_of_wrapping_round():
    beyond = sheet(mixes=np.full((2, 32, 32, 3), 1.5, np.float32))
    assert pixels_of(beyond, (255, 255, 255)) > pixels_of(sheet(), (255, 255, 255))


def test_the_mask_shows_where_each_image_is_kept():
    mask = np.zeros((1, 8, 8, 1), np.float32)
    kept_b = sheet(pairs=1, masks=mask)
    mask[:, :2] = 1
    quarter_a = sheet(pairs=1, masks=mask)
    blue = pixels_of(quarter_a, pictures.COLOUR_A) - pixels_of(kept_b, pictures.COLOUR_A)
    orange = pixels_of(kept_b, pictures.COLOUR_B) - pixels_of(quarter_a, pictures.COLOUR_B)
    assert blue == orange == 96 * 96 // 4


def test_a_longer_list_of_pairs_makes_a_wider_sheet():
    two, three = sheet(pairs=2).shape, sheet(pairs=3).shape
    assert three[0] == two[0]
    assert three[1] - two[1] == 96 + 2 * pictures.FRAME + pictures.GAP


def test_class_names_stand_above_their_columns_and_long_ones_stay_within():
    plain, named = sheet(), sheet(class_names=["cat", "a name that is far too long for its column"])
    header = named[: named.shape[0] - plain.shape[0] + pictures.MARGIN]
    assert pixels_of(header, pictures.INK) > 20
    ink_columns = np.flatnonzero(np.any(np.any(header != 255, axis=-1), axis=0))
    assert ink_columns.max() < named.shape[1] - pictures.MARGIN


def test_grey_images_are_drawn_as_they_are():
    in_grey = sheet(mixes=np.zeros((2, 32, 32, 1), np.float32))
    in_colour = sheet(mixes=np.zeros((2, 32, 32, 3), np.float32))
    assert np.array_equal(in_grey, in_colour)
    assert pixels_of(in_grey, MIXED) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"mixes": np.zeros((3, 32, 32, 3), np.float32)},
        {"masks": np.zeros((1, 8, 8, 1), np.float32)},
        {"class_names": ["cat"]},
    ],
)
def test_rows_of_different_lengths_are_refused(changes):
    with pytest.raises(ValueError, match="same number of pairs"):
        sheet(**changes)


def test_a_saved_picture_reads_back_pixel_for_pixel(tmp_path):
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    pictures.save_png(tmp_path / "new" / "picture.png", picture)
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "picture.png"]
    with Image.open(tmp_path / "new" / "picture.png") as back:
        assert np.array_equal(np.asarray(back), np.asarray(picture))


def masks_of_shares(*shares: float) -> np.ndarray:
    """Masks that keep these shares of image a."""
    masks = np.zeros((len(shares), 10, 1, 1), np.float32)
    for mask, share in zip(masks, shares, strict=True):
        mask[: round(10 * share)] = 1
    return masks


def test_the_masks_of_one_pair_run_from_the_first_image_to_the_second():
    image = np.zeros((32, 32, 3), np.float32)
    mixes = np.array([-1, 1, 0])[:, None, None, None] * np.ones((3, 32, 32, 3), np.float32)
    drawn = np.asarray(pictures.masks_sheet(image, image, masks_of_shares(0.0, 1.0, 0.5), mixes))
    middle_of_mixes = drawn[-pictures.MARGIN - pictures.TILE_SIDE // 4, :, 0]  # below the row's label
    changes = middle_of_mixes[1:][np.diff(middle_of_mixes.astype(int)) != 0]
    assert changes.tolist() == [128, 255, 0, 255]  # white paper around and between them; white for all of image a
    rows = np.array_split(drawn, 3)
    assert all(pixels_of(rows[0], colour) > 0 for colour in (pictures.COLOUR_A, pictures.COLOUR_B))
    assert pixels_of(rows[1], pictures.COLOUR_A) == pixels_of(rows[1], pictures.COLOUR_B) > 0


def test_a_sheet_of_masks_needs_two_masks_and_a_mix_for_each():
    image, mixes = np.zeros((32, 32, 3), np.float32), np.zeros((2, 32, 32, 3), np.float32)
    for masks in (masks_of_shares(1.0), masks_of_shares(0.0, 0.5, 1.0)):
        with pytest.raises(ValueError, match="two masks at least"):
            pictures.masks_sheet(image, image, masks, mixes)
