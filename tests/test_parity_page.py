"""docs/parity.md names tests for what it says: they have to be there."""

import re

from conftest import ROOT


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "parity.md").read_text())
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in _text_of(path)]
    assert len(named) > 70
    assert not missing


def _text_of(path):
    file = ROOT / "tests" / path
    return file.read_text() if file.exists() else ""


def test_every_number_in_brackets_has_its_difference_and_every_difference_is_referred_to():
    tables, differences = (ROOT / "docs" / "parity.md").read_text().split("## Deliberate differences")
    referred = {int(number) for number in re.findall(r"\[(\d+)\] \|", tables)}
    described = [int(number) for number in re.findall(r"^(\d+)\. \*\*", differences, re.MULTILINE)]
    assert described == list(range(1, len(described) + 1))
    assert referred == set(described)
