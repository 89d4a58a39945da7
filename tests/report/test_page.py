import base64
import dataclasses
import html
import io
import itertools
import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from chimeramix_jax import files, report
from chimeramix_jax.data.identity import DataIdentity, Split
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.errors import InputError
from chimeramix_jax.report import confusion, photos
from chimeramix_jax.runtime import invocation
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


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory):
    """A report of ten classes of 50 photos, whose files exist."""
    folder = tmp_path_factory.mktemp("photos")
    made = finished_run.make_of_photos(folder / "run", folder / "photos", noise=4.0)
    report.write(*made)
    return made


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_the_page_needs_no_other_file(written):
    text = written[0].report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("img") > 20
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'; img-src data:" in html.unescape(text)


def test_names_with_markup_are_escaped(written):
    page = Page(written[0].report.read_text(encoding="utf-8"))
    assert page.tags.count("script") == 1 and page.handlers == []
    for name in HOSTILE:
        assert name in page.text


def test_the_page_shows_accuracy_interval_and_comparison_with_the_baseline(written):
    workdir, dataset, predictions = written
    results, text = json.loads(workdir.results.read_text()), words(Page(workdir.report.read_text(encoding="utf-8")))
    right, baseline_right = (predictions[part] == dataset.held_out.labels for part in ("classifier", "baseline"))
    for part, scores in (("classifier", results["test"]), ("baseline", results["baseline"]["test"])):
        count = np.sum(predictions[part] == dataset.held_out.labels)
        assert f"{100 * scores['top1']:.0f} %, {count} of 60" in text
    assert "chance 33 %; clearly more than chance" in text
    interval = stats.binomtest(int(np.sum(right)), 60).proportion_ci(method="wilson")
    assert f"{100 * interval.low:.0f} % to {100 * interval.high:.0f} %" in text
    assert "Wilson" in text and "Neither covers the choice of training images or the seed" in text
    p_value = stats.binomtest(np.sum(right > baseline_right), np.sum(right != baseline_right)).pvalue
    verdict = "chimeramix_grid is better." if p_value < 0.05 else "too few test images to tell the two apart."
    assert verdict in text
    only = f"{np.sum(right & ~baseline_right)} images are right only with chimeramix_grid, "
    assert f"{only}{np.sum(baseline_right & ~right)} only with the baseline" in text
    assert "top-5" not in text  # with three classes, it is always 100 %


def test_the_sections_follow_what_a_reader_wants_to_know(written):
    text = written[0].report.read_text(encoding="utf-8")
    headings = ["Result", "Mistakes", "Classes", "Probabilities", "Data", "Mixing", "Training", "Settings"]
    assert re.findall(r"<h2>(.*?)</h2>", text) == headings
    assert re.findall(r'<a href="#(\w+)">(\w+)</a>', text) == [(name.lower(), name) for name in headings]
    for name in headings:
        assert f'<section id="{name.lower()}">' in text
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize(("repeats", "optimism"), [(1, 0.0), (2, 0.0), (1, 0.05)])
def test_a_run_measured_by_folds_alone_shows_its_expected_accuracy(tmp_path, repeats, optimism):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog", "owl"))
    results = json.loads(workdir.results.read_text())
    for part in (results, results["baseline"]):
        figures = part.pop("test")
        expected = figures["top1"] - (optimism if part is results else 0.0)
        counts = (repeats * np.array(figures["confusion"])).tolist()
        about = {"folds": 5, "repeats": repeats, "expected_accuracy": expected, "interval": [0.1, 0.9]}
        runs = [{"workdir": f"folds/fold-{number}-of-5", "top1": 0.5, "examples": 12} for number in range(1, 6)]
        about |= {"confusion": counts, "predictions": 60 * repeats, "runs": runs * repeats}
        part["folds"] = figures | about | {"optimism": optimism if part is results else 0.0}
    files.write_json(workdir.results, results)
    images = dataset.held_out.at(np.tile(np.arange(60), repeats))
    predicted = {part: np.tile(classes, repeats) for part, classes in predictions.items()}
    report.write(workdir, dataclasses.replace(dataset, held_out=images), predicted)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    expected = f"{100 * results['folds']['expected_accuracy']:.0f} %"
    assert f"{expected} is the expected accuracy of the final model, measured on 60 out-of-fold images; chance" in text
    assert "The 60 training images were divided into 5 folds" in text and "folds/fold-3-of-5" in text
    assert "There are no test images" in text and "Single images are not listed here" in text
    assert ("exact McNemar test" in text) == (repeats == 1 and not optimism)
    assert ("Every image was predicted several times, so no test compares the two" in text) == (repeats > 1)
    assert ("numbers of predictions" in text) == (repeats > 1)
    assert ("5.0 percentage points lower than measured" in text) == bool(optimism)
    right = int(np.sum(predictions["classifier"] == dataset.held_out.labels))
    assert (f"{right} of 60 right" in text) is False and "test images" not in text.replace("no test images", "")


def test_every_image_has_a_text_instead(written):
    images = re.findall(r"<img [^>]*>", written[0].report.read_text(encoding="utf-8"))
    assert len(images) > 20 and all(re.search(r' alt="[^"]+"', image) for image in images)


def test_figures_of_mixing_have_at_most_five_columns_and_no_paper(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, tuple(f"class {label}" for label in range(7)))
    report.write(workdir, dataset, predictions)
    mixing = workdir.report.read_text(encoding="utf-8").split('<section id="mixing">')[1].split("</section>")[0]
    rows = [row.count("<img") for row in re.findall(r"<tr>.*?</tr>", mixing)]
    assert rows == [0, *[4] * 6, 0, *[3] * 6, 5, 5, 5, 5, 0, 4, 0, 3]
    for uri in re.findall(r'src="data:image/png;base64,([^"]*)"', mixing):
        with Image.open(io.BytesIO(base64.b64decode(uri))) as tile:
            assert tile.size in ((8, 8), (4, 4), (1, 1))  # the images of this run, masks, and masks of a single colour


def test_a_sheet_of_another_layout_is_shown_as_it_is(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    Image.new("RGB", (900, 300)).save(workdir.picture)
    report.write(workdir, dataset, predictions)
    text = workdir.report.read_text(encoding="utf-8")
    assert text.count('<figure class="sheet">') == 1 and "One pair, mixed with several masks" in text


def test_only_settings_that_differ_are_in_view(written):
    settings = written[0].report.read_text(encoding="utf-8").split('<section id="settings">')[1]
    assert "All as in configs/digits.py for chimeramix_grid." in settings.split("<details>")[0]
    assert "generator.learning_rate_drops" in settings.split("<details>")[1]


def test_changed_settings_are_beside_those_of_the_shipped_file(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"), per_class=7)
    report.write(workdir, dataset, predictions)
    shown = workdir.report.read_text(encoding="utf-8").split('<section id="settings">')[1].split("<details>")[0]
    assert re.findall(r"<code>(.*?)</code>", shown) == ["max_labels_per_class", "7", "5"]


def test_the_commands_name_the_run_and_are_quoted_for_the_shell(tmp_path):
    path = tmp_path / "my run"
    workdir, dataset, predictions = finished_run.make(path, ("cat", "dog"))
    report.write(workdir, dataset, predictions)
    text = workdir.report.read_text(encoding="utf-8")
    shown = [re.sub(r"<.*?>", "", line) for line in re.findall(r'<code tabindex="0">(.*?)</code>', text)]
    lines = [shlex.split(html.unescape(line)) for line in shown]
    program = invocation.from_anywhere()
    assert lines == [
        [*program, "--stage=predict", f"--workdir={path}", "--images=new-photos"],
        [*program, "--stage=export", f"--workdir={path}", "--output=classifier.onnx"],
        [*program, "--stage=generate", f"--workdir={path}", "--count=100"],
    ]


def test_the_page_shows_curves_times_and_versions(written):
    text = words(Page(written[0].report.read_text(encoding="utf-8")))
    shown = ("share of images", "Adversarial losses", "epoch", "chimeramix_grid, test images", "orbax-checkpoint")
    for part in (*shown, "generator 1m 38s, classifier 1m 01s", "epoch 10"):
        assert part in text
    assert "Learning rate" not in text


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


def test_the_probabilities_are_shown_with_and_without_the_temperature(written):
    text = written[0].report.read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="probabilities">(.*?)</section>', text, re.DOTALL)
    found = json.loads(written[0].results.read_text())["calibration"]
    shown = words(Page(section))
    assert f"a temperature of {found['temperature']:.2f}, which was fitted on 60 validation images" in shown
    for part in ("before", "after"):
        assert f"calibration error is {100 * found[part]['error']:.1f} %" in shown
    assert section.count("<circle") == len(found["before"]["bins"]) + len(found["after"]["bins"]) == 6
    rows = re.findall(r">(\d+) of 60<", section)
    assert [int(count) for count in rows] == [row["answered"] for row in found["rejection"]]


@pytest.mark.parametrize(
    "kind", ["without a temperature", "not finite", "of an earlier version", "of a fold", "damaged"]
)
def test_what_is_not_known_about_the_probabilities_is_said(tmp_path, kind):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    results = json.loads(workdir.results.read_text())
    found = results["calibration"]
    if kind == "without a temperature":
        kept = {key: found[key] for key in ("measured_on", "images", "before", "rejection")}
        results["calibration"] = kept | {"temperature": None, "explanation": "No temperature, because of the test."}
    elif kind == "not finite":
        results["calibration"] = {"temperature": None, "explanation": "No temperature, because of the test."}
    elif kind == "damaged":
        del found["before"]["bins"], found["after"]["bins"]
    else:
        del results["calibration"]
        results["config"]["fold"] = int(kind == "of a fold")
    workdir.results.write_text(json.dumps(results))
    if kind == "damaged":
        with pytest.raises(InputError, match=r"results\.json: cannot be read: KeyError: 'bins'; .*--stage=evaluate"):
            report.write(workdir, dataset, predictions)
        return
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert ("No temperature, because of the test." in text) == (kind in ("without a temperature", "not finite"))
    assert ("the results are of an earlier version; --stage=evaluate measures it" in text) == ("earlier" in kind)
    assert ("Rejecting uncertain images" in text) == (kind == "without a temperature")
    assert ("Probabilities" in text) == (kind != "of a fold")


def test_a_page_leaves_out_a_missing_baseline_generator_and_sheets(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"), baseline=False)
    shutil.rmtree(workdir.generator)
    workdir.picture.unlink()
    workdir.masks_picture.unlink()
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert "McNemar" not in text and "The baseline" not in text
    assert "Adversarial" not in text and "several masks" not in text and "Mixing" not in text


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


def test_mistakes_are_drawn_from_the_files_and_the_page_stays_light(photo_run):
    workdir, dataset, _ = photo_run
    text = workdir.report.read_text(encoding="utf-8")
    assert "200 of 400 training images" in text
    (mistakes,) = re.findall(r'<section id="mistakes">(.*?)<section id="classes">', text, re.DOTALL)
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]*)"[^>]* title="([^"]*)"', mistakes)
    assert len(found) > 10
    sizes = {}
    for content, name in found:
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            sizes[name] = image.size
    missing = dataset.held_out.names[-1]  # that file does not exist, so the data set's copy is shown
    assert all(size == ((96, 96) if name == missing else (320, 320)) for name, size in sizes.items())
    assert workdir.report.stat().st_size < 3_000_000


def test_a_file_that_was_changed_since_the_run_is_not_shown(photo_run, tmp_path):
    _, dataset, _ = photo_run
    digests = [photos.image_digest(np.asarray(read_rgb(dataset.directory / dataset.held_out.names[0]))), "another"]
    content = DataIdentity((), Split((), ()), Split(tuple(digests), (0, 0)))
    recorded = dataclasses.replace(dataset, content=content)
    assert photos.held_out_pixels(recorded, 0).shape == (320, 320, 3)
    assert photos.held_out_pixels(recorded, 1).shape == (96, 96, 3)


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


FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync")
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


@needs_chromium
def test_a_page_of_ten_classes_of_fifty_photos_takes_less_than_a_second_to_load(photo_run):
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(photo_run[0].report.as_uri(), wait_until="load")
        measured = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        browser.close()
    assert measured["ProcessTime"] < 1.0  # of the processor, as other programs may keep the processor busy


def browse(page: str, folder, width: int, dark: bool) -> subprocess.CompletedProcess[str]:
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = [*FLAGS, "headless", "enable-logging=stderr", f"window-size={width},900", "dump-dom"]
    command = [CHROMIUM, *(f"--{flag}" for flag in flags), f"--user-data-dir={folder / 'profile'}"]
    command += ["--force-dark-mode"] * dark
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
