import re
from itertools import pairwise
from pathlib import Path

import pytest

import chimeramix_jax

PACKAGE = Path(chimeramix_jax.__file__).parent
TEMPLATES = sorted(PACKAGE.rglob("*.jinja"))
TAGS = re.compile(r"{[%#].*?[%#]}")


def run_together(source: str) -> list[str]:
    """Returns the lines of prose whose end Jinja drops, because it follows a block tag, though text comes after it."""
    found = []
    for line, following in pairwise(source.splitlines()):
        prose = TAGS.sub("", line).rstrip()
        is_dropped = line.endswith("%}") and not line.endswith(("-%}", "+%}"))
        if is_dropped and prose.strip() and not prose.endswith(">") and following.strip():
            found.append(line)
    return found


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_sentence_runs_into_the_next_one(template: Path):
    assert run_together(template.read_text()) == []


def test_a_sentence_that_runs_into_the_next_one_is_found():
    runs_together = "<p>It is right{% if sure %} for sure{% endif %}.{% if why %} Why?{% endif %}"
    source = f"{runs_together}\n{{% if more %}}\nThere is more.\n{{% endif %}}\n</p>\n"
    assert run_together(source) == [runs_together]
    assert run_together("<p>It is right.\n{% if why %}\nWhy?\n{% endif %}\n</p>\n") == []
