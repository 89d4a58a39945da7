import re

from conftest import ROOT


def test_every_test_file_that_the_page_names_exists():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", page))
    assert len(named) > 20
    assert not [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()]
