import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.reporting import pictures

MIXED = (128, 255, 0)  # a colour that no label, frame or other tile uses


def sheet(side: int = 32, pairs: int = 2, masks: np.ndarray | None = None, **changes) -> np.ndarray:
    """Draws a sheet of uniform images: a white, b black, the mix ``MIXED``, the reconstructions grey."""
    mixed = np.array([0.0, 1.0, -1.0])
    flat = {"images_a": 1.0, "images_b": -1.0, "mixes": mixed, "reconstructions_a": 0.5, "reconstructions_b": -0.5}
    arguments = {name: np.full((pairs, side, side, 3), value, np.float32) for name, value in flat.items()}
    arguments["masks"] = np.ones((pairs, side // 4, side // 4, 1), np.float32) if masks is None else masks
    return np.asarray(pictures.mixing_sheet(**(arguments | changes)))


def pixels_of(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int(np.sum(np.all(picture == np.array(colour), axis=-1)))


@pytest.mark.parametrize(("side", "tile"), [(8, 96), (32, 96), (64, 128), (96, 96), (200, 200)])
def test_small_images_are_enlarged_by_an_integer_factor_and_large_ones_keep_their_size(side, tile):
    assert pixels_of(sheet(side), MIXED) == 2 * tile * tile


def test_values_out_of_range_are_clipped_and_do_not_wrap_around():
    beyond = sheet(mixes=np.full((2, 32, 32, 3), 1.5, np.float32))
    assert pixels_of(beyond, (255, 255, 255)) > pixels_of(sheet(), (255, 255, 255))


def test_the_mask_shows_which_image_is_used_where():
    mask = np.zeros((1, 8, 8, 1), np.float32)
    kept_b = sheet(pairs=1, masks=mask)
    mask[:, :2] = 1
    quarter_a = sheet(pairs=1, masks=mask)
    blue = pixels_of(quarter_a, pictures.COLOUR_A) - pixels_of(kept_b, pictures.COLOUR_A)
    orange = pixels_of(kept_b, pictures.COLOUR_B) - pixels_of(quarter_a, pictures.COLOUR_B)
    assert blue == orange == 96 * 96 // 4


def test_more_pairs_make_a_wider_sheet():
    two, three = sheet(pairs=2).shape, sheet(pairs=3).shape
    assert three[0] == two[0]
    assert three[1] - two[1] == 96 + 2 * pictures.FRAME + pictures.GAP


def test_class_names_are_above_their_columns_and_long_names_are_shortened():
    plain, named = sheet(), sheet(class_names=["cat", "a name that is far too long for its column"])
    header = named[: named.shape[0] - plain.shape[0] + pictures.MARGIN]
    assert pixels_of(header, pictures.INK) > 20
    ink_columns = np.flatnonzero(np.any(np.any(header != 255, axis=-1), axis=0))
    assert ink_columns.max() < named.shape[1] - pictures.MARGIN


def test_greyscale_images_are_drawn_like_grey_rgb_images():
    names = ("images_a", "images_b", "mixes", "reconstructions_a", "reconstructions_b")
    in_grey, in_colour = (
        sheet(**{name: np.zeros((2, 32, 32, channels), np.float32) for name in names}) for channels in (1, 3)
    )
    assert np.array_equal(in_grey, in_colour)
    assert pixels_of(in_grey, MIXED) == 0


@pytest.mark.parametrize("changes", [{"class_names": ["cat"]}, {"pairs": 0}])
def test_too_few_names_and_an_empty_sheet_are_rejected(changes):
    with pytest.raises(ValueError, match="same number of images"):
        sheet(**changes)


def test_a_saved_picture_is_read_back_unchanged(tmp_path):
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    pictures.save_png(tmp_path / "new" / "picture.png", picture)
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "picture.png"]
    with Image.open(tmp_path / "new" / "picture.png") as back:
        assert np.array_equal(np.asarray(back), np.asarray(picture))


def masks_of_shares(*shares: float) -> np.ndarray:
    """Returns masks that keep these shares of image a."""
    masks = np.zeros((len(shares), 10, 1, 1), np.float32)
    for mask, share in zip(masks, shares, strict=True):
        mask[: round(10 * share)] = 1
    return masks


def test_the_masks_of_one_pair_are_ordered_from_image_a_to_image_b():
    image = np.zeros((32, 32, 3), np.float32)
    mixes = np.array([-1, 1, 0])[:, None, None, None] * np.ones((3, 32, 32, 3), np.float32)
    drawn = np.asarray(pictures.masks_sheet(image, image, masks_of_shares(0.0, 1.0, 0.5), mixes))
    middle_of_mixes = drawn[-pictures.MARGIN - pictures.TILE_SIDE // 4, :, 0]  # below the row's label
    changes = middle_of_mixes[1:][np.diff(middle_of_mixes.astype(int)) != 0]
    assert changes.tolist() == [128, 255, 0, 255]  # white is the paper, and also the mix with all of image a
    rows = np.array_split(drawn, 3)
    assert all(pixels_of(rows[0], colour) > 0 for colour in (pictures.COLOUR_A, pictures.COLOUR_B))
    assert pixels_of(rows[1], pictures.COLOUR_A) == pixels_of(rows[1], pictures.COLOUR_B) > 0


def test_a_mask_sheet_needs_two_masks():
    image = np.zeros((32, 32, 3), np.float32)
    with pytest.raises(ValueError, match="at least two masks"):
        pictures.masks_sheet(image, image, masks_of_shares(1.0), image[None])


@pytest.mark.parametrize("reconstructed", [True, False])
@pytest.mark.parametrize(("side", "tile"), [(8, 96), (64, 128), (200, 200)])
def test_a_sheet_can_be_cut_into_its_tiles(side, tile, reconstructed):
    changes = {} if reconstructed else {"reconstructions_a": None, "reconstructions_b": None}
    drawn = Image.fromarray(sheet(side, pairs=3, class_names=["cat", "dog", "owl"], **changes))
    tiles = pictures.tiles_of_mixing_sheet(drawn, 3)
    assert list(tiles) == [*pictures.IMAGE_ROWS, *(pictures.RECONSTRUCTION_ROWS if reconstructed else ())]
    for label, colour in (("image a", (255,) * 3), ("image b", (0,) * 3), ("mix", MIXED), ("mask", pictures.COLOUR_A)):
        assert len(tiles[label]) == 3
        assert all(pixels_of(np.asarray(picture), colour) == tile * tile for picture in tiles[label])


def test_a_sheet_of_masks_can_be_cut_into_its_tiles():
    masks = np.stack([np.full((4, 4, 1), share, np.float32) for share in (0, 1, 0.5)])
    white = np.ones((8, 8, 3), np.float32)
    tiles = pictures.tiles_of_masks_sheet(pictures.masks_sheet(white, -white, masks, np.stack([white] * 3)), 3)
    assert [len(row) for row in tiles.values()] == [2, 3, 3]
    assert [picture.getpixel((0, 0)) for picture in tiles["image"]] == [(255, 255, 255), (0, 0, 0)]
    assert [tiles["mask"][column].getpixel((0, 0)) for column in (0, 2)] == [pictures.COLOUR_A, pictures.COLOUR_B]


@pytest.mark.parametrize("size", [(900, 300), (40, 40), (1224, 700)])
def test_another_picture_is_not_cut(size):
    blank = Image.new("RGB", size)
    assert pictures.tiles_of_mixing_sheet(blank, 10) is None and pictures.tiles_of_masks_sheet(blank, 10) is None
