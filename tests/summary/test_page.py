import re
from html.parser import HTMLParser

from summary.made_trials import made_trial

from chimeramix_jax.summary import curves, page
from chimeramix_jax.summary.comparison import summarize

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Parses a page; fails if elements are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.cells = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"]):
            self.cells.append(data)


def page_of(*trials, damaged=()):
    summary = summarize(trials, damaged, None, "top1")
    figure = curves.draw(summary)
    return page.html(summary, "Summary of runs", None if figure is None else curves.svg(figure))


def test_the_page_has_tables_curves_and_notes_and_needs_no_other_file():
    text = page_of(made_trial(0.5), made_trial(0.625, experiment="mix"), made_trial(None, 1), damaged=["x: damaged"])
    found = Page(text)
    assert "svg" in found.seen and found.seen.count("table") == 2
    assert {"50.00", "+12.50", "1 of 2", "unfinished", "missing"} <= set(found.cells)
    assert "x: damaged" in text
    assert all(address.startswith("#") for address in found.addresses)
    assert not re.search(r"@import|url\((?!#)", text) and "script" not in found.seen


def test_names_with_markup_are_escaped():
    evil = "<script>alert(1)</script>"
    text = page_of(made_trial(0.5, dataset=evil, experiment=evil), damaged=[evil])
    assert "<script" not in text and "&lt;script&gt;" in text


def test_the_curves_use_the_colours_of_the_page():
    text = page_of(made_trial(0.5))
    assert "currentColor" in text and curves.INK not in text


def test_without_finished_runs_the_page_has_tables_but_no_curves():
    found = Page(page_of(made_trial(None)))
    assert "svg" not in found.seen and "unfinished" in found.cells
