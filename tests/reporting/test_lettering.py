import numpy as np
import pytest

from chimeramix_jax.reporting import lettering, pictures


def header(*names):
    """Returns the pixels above the images of a sheet, for each column."""
    images = np.zeros((len(names), 96, 96, 3), np.float32)
    sheet = np.asarray(pictures.image_sheet({"image": images}, names).convert("L"))
    top = sheet[pictures.MARGIN : pictures.MARGIN + lettering.FONT_SIZE + pictures.GAP]
    width = 96 + pictures.GAP
    left = sheet.shape[1] - pictures.MARGIN - len(names) * width + pictures.GAP
    return [top[:, left + place * width : left + place * width + 96] for place in range(len(names))]


@pytest.mark.parametrize(
    "names", [("Bär", "Bür"), ("猫", "犬"), ("חתול", "כלבי"), ("кот", "пёс"), ("แมว", "หมา"), ("कुत्ता", "बिल्ली")]
)
@pytest.mark.parametrize("fonts", ["all", "Pillow's own"])
def test_names_in_any_script_are_distinguishable(names, fonts, monkeypatch):
    if fonts != "all":
        lettering._font_for.cache_clear()
        monkeypatch.setattr(lettering, "_fonts", lambda: [lettering.plain_font()])
    first, second = header(*names)
    lettering._font_for.cache_clear()
    assert (first < 128).any() and (first != second).any()


def test_a_name_that_no_font_can_draw_becomes_a_number_in_the_legend(monkeypatch):
    monkeypatch.setattr(lettering, "_fonts", lambda: [lettering.plain_font()])
    lettering._font_for.cache_clear()
    names = ["cat", "猫", "dog", "犬"]
    assert [text for text, _ in lettering.labels(names)] == ["cat", "2", "dog", "4"]
    assert lettering.legend(names) == [("2", "猫"), ("4", "犬")]
    lettering._font_for.cache_clear()


def test_combining_characters_are_drawn_as_one_letter():
    assert lettering.labels(["Ba\u0308r"])[0][0] in ("B\u00e4r", "1")
