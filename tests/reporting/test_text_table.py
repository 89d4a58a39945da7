from rich.cells import cell_len

from chimeramix_jax.reporting.text_table import aligned


def test_numbers_are_below_each_other_also_where_characters_are_wide():
    table = aligned([["image", "share"], ["🐈 猫.png", "9"], ["a.png", "10"]])
    assert table.splitlines() == [
        "image      share",
        "---------  -----",
        "🐈 猫.png      9",
        "a.png         10",
    ]
    assert {cell_len(line) for line in table.splitlines()} == {16}


def test_a_row_is_a_line_and_nothing_in_it_acts_on_the_terminal():
    names = ["a\nb", "\x1b[31mred", "over\rwritten", "\u202egnp.exe", "byte \udce9", "tab\t", "line\u2028", "\x9b1m"]
    lines = aligned([["image", "class"], *([name, "x"] for name in names)]).splitlines()
    shown = [line.removesuffix("x").rstrip() for line in lines[2:]]
    assert shown == [
        r"a\nb",
        r"\x1b[31mred",
        r"over\rwritten",
        r"\u202egnp.exe",
        r"byte \xe9",
        r"tab\t",
        r"line\u2028",
        r"\x9b1m",
    ]
    family = "👩\u200d👩\u200d👦 مرحبا\u00a0.png"  # joined letters and other blanks are no control characters
    assert family in aligned([["image"], [family]])
