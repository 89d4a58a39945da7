import csv
import io

from chimeramix_jax.reporting.csv_rows import csv_records, csv_rows

ROWS = [
    ["image", "class", "share"],
    ["cr.png\r", "a", "0.5"],
    ["\rb\r\nc", 'say "x", y', ""],
    ["a\nb", "", "é🐈"],
    [" blanks ", "=1+1", "'"],
]


def test_every_cell_is_read_as_it_was_written():
    text = csv_rows(ROWS)
    for newline in ("", None):  # as Python's documentation says, and as most programs open a file
        read = list(csv.reader(io.StringIO(text, newline=newline)))
        assert len(read) == len(ROWS)
    assert list(csv.reader(io.StringIO(text, newline=""))) == ROWS
    assert csv_rows([["a", None, 0.25], [""]]) == 'a,,0.25\n""\n'


def test_records_are_rows_in_the_order_of_the_columns():
    assert csv_records(("a", "b"), [{"b": 1, "a": "x\r"}]) == 'a,b\n"x\r",1\n'
    assert csv_records(("a", "b"), []) == "a,b\n"
