import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from summary.made_trials import made_trial

from chimeramix_jax.summary import curves, page
from chimeramix_jax.summary.comparison import summarize

VOID = {"meta", "br", "link", "img", "wbr"}


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


def page_of(*trials, damaged=(), folder=Path("somewhere")):
    summary = summarize(trials, damaged, None, "top1")
    figure = curves.draw(summary)
    return page.html(summary, "Summary of runs", None if figure is None else curves.svg(figure), folder)


def test_the_page_has_tables_curves_and_notes_and_needs_no_other_file():
    text = page_of(made_trial(0.5), made_trial(0.625, experiment="mix"), made_trial(None, 1), damaged=["x: damaged"])
    found = Page(text)
    assert "svg" in found.seen and found.seen.count("table") == 2
    assert {"50.00", "+12.50", "1 of 2", "unfinished", "missing"} <= set(found.cells)
    assert "x: damaged" in text
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert not re.search(r"@import|url\((?!#)", text) and found.seen.count("script") == 1


def test_names_with_markup_are_escaped():
    evil = "<script>alert(1)</script>"
    text = page_of(made_trial(0.5, dataset=evil, experiment=evil), damaged=[evil])
    assert text.count("<script") == 1 and "&lt;script&gt;" in text


def test_the_curves_use_the_colours_of_the_page():
    text = page_of(made_trial(0.5))
    assert "currentColor" in text and curves.INK not in text


def test_without_finished_runs_the_page_has_tables_but_no_curves():
    found = Page(page_of(made_trial(None)))
    assert "svg" not in found.seen and "unfinished" in found.cells


def test_existing_reports_are_linked_relative_to_the_page(tmp_path):
    run = tmp_path / "runs" / "seed 1"
    run.mkdir(parents=True)
    (run / "report.html").touch()
    trials = made_trial(0.5, workdir=run), made_trial(0.625, 1, workdir=tmp_path / "without")
    links = Page(page_of(*trials, folder=tmp_path / "summaries")).addresses
    assert [link for link in links if not link.startswith(("#", "data:"))] == ["../runs/seed%201/report.html"]


def test_the_best_mean_for_each_number_of_images_is_bold():
    trials = [made_trial(0.5), made_trial(0.6, experiment="mix"), made_trial(0.7, images=10)]
    assert re.findall(r"<strong>(.*?)</strong>", page_of(*trials)) == [
        "60.00"
    ]  # the only one has nothing to be best of


def test_letters_stand_for_settings(tmp_path):
    text = page_of(*(made_trial(0.5, experiment="mix", generator__epochs=epochs) for epochs in (10, 20)))
    assert re.findall(r'<tr><th scope="row" data-text="(mix.*?)"', text) == ["mix (A)", "mix (B)"] * 2
    assert "generator.epochs" in text.split("<h2>Settings that differ</h2>")[1]


def test_classes_have_a_table_of_their_own():
    trials = [
        dataclasses.replace(trial, class_accuracies={"cat": accuracy, "dog": 0.5})
        for trial, accuracy in ((made_trial(0.5), 0.25), (made_trial(0.5, 1), 0.5), (made_trial(0.6, 0, "mix"), 0.75))
    ]
    shown = page_of(*trials).split("<summary>Accuracy by class</summary>")[1]
    assert re.findall(r'data-text="(.*?)"', shown) == ["cat", "37.5", "75.0", "dog", "50.0", "50.0"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_click_on_a_header_sorts_its_table(tmp_path):
    sync = pytest.importorskip("playwright.sync_api")
    accuracies = {"baseline": 0.75, "first": 0.9, "second": 1.0, "third": 0.5}
    trials = [made_trial(accuracy, 0, experiment) for experiment, accuracy in accuracies.items()]
    trials += [made_trial(None, 0, "unfinished")]
    (tmp_path / "summary.html").write_text(page_of(*trials, folder=tmp_path))
    names = "[...document.querySelector('table').tBodies[0].rows].map(row => row.cells[0].dataset.text)"
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((tmp_path / "summary.html").as_uri())
        orders = [page.evaluate(names)]
        header = page.locator("table").first.get_by_role("button", name="top-1 accuracy")
        header.focus()
        for _ in range(3):
            page.keyboard.press("Enter")
            orders.append(page.evaluate(names))
        browser.close()
    first = ["baseline", "first", "second", "third", "unfinished"]
    falling = ["second", "first", "baseline", "third", "unfinished"]
    assert orders == [first, falling, ["third", "baseline", "first", "second", "unfinished"], first]
