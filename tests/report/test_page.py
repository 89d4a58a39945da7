import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import stats

from chimeramix_jax import report
from chimeramix_jax.errors import InputError
from chimeramix_jax.report import confusion
from tests.report import finished_run

HOSTILE = ("<script>document.title = 'owned'</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} & co")

# Runs in the page: finds the text with the lowest contrast to its background.
LEAST_CONTRAST = """
<script>
function channels(text) {
  const values = text.match(/[\\d.]+/g).map(Number), scale = text.startsWith("color(") ? 255 : 1;
  return {rgb: values.slice(0, 3).map(value => scale * value), alpha: values.length > 3 ? values[3] : 1};
}
function luminance(rgb) {
  const linear = rgb.map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const {rgb, alpha} = channels(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
    if (alpha > 0) throw new Error("half transparent");
  }
  throw new Error("no background");
}
document.querySelectorAll("details").forEach(element => element.open = true);
let least = 99, checked = 0, worst = "";
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, style = getComputedStyle(element);
  if (!walker.currentNode.data.trim() || element.tagName === "SCRIPT" || parseFloat(style.fontSize) === 0) continue;
  const ink = channels(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const [a, b] = [luminance(ink.rgb), luminance(ground(element))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  checked += 1;
  if (contrast < least) { least = contrast; worst = walker.currentNode.data.trim(); }
}
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.body.dataset.found = JSON.stringify({least, checked, worst, wide, dark});
</script>
"""


class Page(HTMLParser):
    """The elements of a page, its text, and the addresses in its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of three classes with hostile names."""
    workdir, dataset, predictions = finished_run.make(tmp_path_factory.mktemp("run"), HOSTILE)
    report.write(workdir, dataset, predictions)
    return workdir, dataset, predictions


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_the_page_needs_no_other_file(written):
    text = written[0].report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("img") > 20
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_names_with_markup_are_escaped(written):
    page = Page(written[0].report.read_text(encoding="utf-8"))
    assert "script" not in page.tags and page.handlers == []
    for name in HOSTILE:
        assert name in page.text


def test_the_page_shows_accuracy_interval_and_comparison_with_the_baseline(written):
    workdir, dataset, predictions = written
    results, text = json.loads(workdir.results.read_text()), words(Page(workdir.report.read_text(encoding="utf-8")))
    for scores in (results["test"], results["baseline"]["test"]):
        assert f"{scores['top1']:.0%} top\u20111 accuracy on 60 test images" in text
    assert re.search(r"95 % interval \d+% to \d+%", text)
    assert "Wilson" in text and "Neither covers the choice of training images or the seed" in text
    difference = 100 * (results["test"]["top1"] - results["baseline"]["test"]["top1"])
    right, baseline_right = (predictions[part] == dataset.held_out.labels for part in ("classifier", "baseline"))
    p_value = stats.binomtest(np.sum(right > baseline_right), np.sum(right != baseline_right)).pvalue
    verdict = "significant" if p_value < 0.05 else "not significant"
    assert f"{difference:+.0f} percentage points top-1, {verdict}" in text
    assert f"{np.sum(right & ~baseline_right)} images are classified correctly only by chimeramix_grid" in text
    assert "top-5" not in text  # with three classes, it is always 100 %


def test_the_page_shows_curves_times_versions_and_settings(written):
    text = words(Page(written[0].report.read_text(encoding="utf-8")))
    shown = ("share of images", "Adversarial losses", "Learning rate", "epoch", "chimeramix_grid, test images")
    shown += ("generator1m 38s", "classifier1m 01s", "orbax-checkpoint", "generator.learning_rate_drops")
    for part in (*shown, "After epoch 10"):
        assert part in text


def luminance(colour):
    """The relative luminance of a colour such as ``#0072b2``, as the WCAG defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_numbers_in_the_confusion_matrix_have_contrast(written, mode):
    text = written[0].report.read_text(encoding="utf-8")
    (root,) = re.findall(rf":root {{\s*color-scheme: {mode};(.*?)}}", text, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", root))
    assert text.count("background: color-mix(") == 2 * len(confusion.LEVELS)
    for ground in ("panel", "right", "wrong"):  # every cell's colour is between the first and one of the others
        darker, lighter = sorted(map(luminance, (colours["ink"], colours[ground])))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_a_page_leaves_out_a_missing_baseline_generator_and_sheets(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"), baseline=False)
    shutil.rmtree(workdir.generator)
    workdir.picture.unlink()
    workdir.masks_picture.unlink()
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert "compared with" not in text and "baseline" not in text.split("Settings")[0]
    assert "Adversarial" not in text and "several masks" not in text


def test_a_perfect_classifier_has_no_confused_pairs(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"), noise=0.0)
    report.write(workdir, dataset, predictions)
    assert "No image was misclassified." in words(Page(workdir.report.read_text(encoding="utf-8")))


def test_the_page_of_a_large_data_set_shows_a_selection_and_says_so(tmp_path):
    names = tuple(f"class {label}" for label in range(100))
    workdir, dataset, predictions = finished_run.make(tmp_path, names)
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert "300 of 500 training images" in text and "class 7 (3 of 5)" in text
    assert "Best classes" in text and "Worst classes" in text
    assert "top-5" in text
    assert workdir.report.stat().st_size < 3_000_000


def test_results_of_a_version_that_recorded_less_have_a_page(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    results = json.loads(workdir.results.read_text())
    for key in ("device", "versions", "machine", "seconds"):
        del results[key]
    del results["config"]["dataset"]["directory"], results["config"]["on_nonfinite"]
    workdir.results.write_text(json.dumps(results))
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert "chimeramix_grid" in text and "on_nonfinite" in text


def test_unreadable_results_are_rejected_by_file_name(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    for content in (b"{", b"[]", b"\xff", b"{}"):
        workdir.results.write_bytes(content)
        with pytest.raises(InputError, match=r"results\.json.*--stage=evaluate"):
            report.write(workdir, dataset, predictions)
    workdir.results.unlink()
    with pytest.raises(InputError, match=r"no results\.json.*--stage=evaluate"):
        report.write(workdir, dataset, predictions)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@needs_chromium
def test_a_browser_reports_no_errors(written, tmp_path):
    shown = browse(written[0].report.read_text(encoding="utf-8"), tmp_path, 1200, False)
    assert "CONSOLE" not in shown.stderr
    assert "<title>digits, 5 images per class" in shown.stdout


@needs_chromium
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_all_text_has_contrast_and_nothing_overflows(written, tmp_path, width, dark):
    original = written[0].report.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv=.*>\n", original)[0]  # forbids all scripts, including this one
    probed = browse(original.replace(policy, "").replace("</body>", f"{LEAST_CONTRAST}</body>"), tmp_path, width, dark)
    assert "CONSOLE" not in probed.stderr
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', probed.stdout)[1]))
    assert found["dark"] == dark
    assert found["checked"] > 200
    assert found["least"] >= 4.5, found["worst"]
    assert found["wide"] == 0


def browse(page: str, folder, width: int, dark: bool) -> subprocess.CompletedProcess[str]:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    flags += f" disable-component-update disable-sync enable-logging=stderr window-size={width},900 dump-dom"
    command = [CHROMIUM, *(f"--{flag}" for flag in flags.split()), f"--user-data-dir={folder / 'profile'}"]
    command += ["--force-dark-mode"] * dark
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
