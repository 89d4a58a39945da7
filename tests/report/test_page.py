import base64
import dataclasses
import html
import io
import itertools
import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from chimeramix_jax import files, report
from chimeramix_jax.config import load
from chimeramix_jax.data.identity import HELD_OUT, DataIdentity, Split, image_digest
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.errors import InputError
from chimeramix_jax.report import commands, confusion, photos
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import invocation
from tests.report import finished_run


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
    for name in finished_run.HOSTILE_NAMES:
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


def test_many_classes_have_their_numbers_in_lists_and_their_names_in_other_files(tmp_path):
    names = tuple(f"class {number}" for number in range(25))
    workdir, dataset, predictions = finished_run.make(tmp_path, names)
    report.write(workdir, dataset, predictions)
    page, results = workdir.report.read_text(encoding="utf-8"), json.loads(workdir.results.read_text())
    text = words(Page(page))
    counts = np.array(results["test"]["confusion"])
    assert "All numbers of the confusion matrix are in results.json, as confusion of test." in text
    wrong = counts * ~np.eye(25, dtype=bool)
    first = np.unravel_index(np.argmax(wrong), wrong.shape)
    listed = re.findall(r'<tr><th scope="row">([^<]*)</th><td>([^<]*)</td><td class="number">(\d+)</td>', page)
    assert len(listed) == min(20, np.count_nonzero(wrong))
    assert listed[0] == (names[first[0]], names[first[1]], str(wrong.max()))
    assert "model_card.md lists all 25 classes." in text
    card = workdir.model_card.read_text(encoding="utf-8")
    assert all(f"\n| {name} | " in card for name in names)
    assert re.search(r'aria-label="95 % intervals of the accuracy: [^"]*chance 4.0\xa0%"', page)


def test_every_table_that_may_scroll_can_be_reached_and_has_a_name(written):
    regions = re.findall(r'<div class="wide"([^>]*)>', written[0].report.read_text(encoding="utf-8"))
    assert len(regions) > 3
    assert all(re.search('tabindex="0" role="region" aria-label="[^"]+"', region) for region in regions)


def test_what_is_folded_has_its_summary_in_print(written):
    page = written[0].report.read_text(encoding="utf-8")
    printed = page[page.index("@media print") : page.index("</style>")]
    assert not re.search(r"(details|summary)[^{}]*\{[^}]*display: *none", printed)


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


def test_damaged_and_stray_pictures_are_left_out(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    drawn = workdir.generator / "pictures"
    epoch = drawn / "mixing-epoch-0010.png"
    shutil.copy(epoch, drawn / "mixing-epoch-0010 (1).png")
    shutil.copy(epoch, drawn / "mixing-epoch-last.png")
    report.write(workdir, dataset, predictions)
    pictures = [Page(workdir.report.read_text(encoding="utf-8")).tags.count("img")]
    content = epoch.read_bytes()
    for path in (epoch, workdir.masks_picture, workdir.picture):
        damaged = content[: len(content) // 2] if path is epoch else b"no picture"
        path.write_bytes(damaged)
        report.write(workdir, dataset, predictions)
        pictures.append(Page(workdir.report.read_text(encoding="utf-8")).tags.count("img"))
    assert pictures[0] > pictures[1] > pictures[2] > pictures[3] > 0


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
        [*program, "serve", str(path)],
        [*program, "--stage=export", f"--workdir={path}", "--output=classifier.onnx"],
        [*program, "--stage=generate", f"--workdir={path}", "--count=100"],
    ]


def test_a_custom_network_is_exported_in_a_format_that_has_it(tmp_path):
    config = load("digits")
    for code, name in (("", "classifier.onnx"), ("mine.py", "classifier.stablehlo")):
        config.classifier.model_code = code
        found = [word for command in commands.commands(Workdir(tmp_path), config) for word in command.words]
        assert [word for word in found if word.startswith("--output=")] == [f"--output={name}"]


def test_the_page_of_a_model_file_has_its_commands_and_names_nothing_beside_it(tmp_path):
    names = tuple(f"class {label}" for label in range(25))
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", names)
    report.write(workdir, dataset, predictions, model_file=tmp_path / "my model.zip")
    text = workdir.report.read_text(encoding="utf-8")
    assert str(workdir.path) not in text and "model_card.md" not in text and "results.json" not in text
    assert "<code>model.json</code> in the model file, as <code>confusion</code> of <code>test</code>" in text
    assert html.escape(f"--workdir={tmp_path / 'my model.zip'}") in text and "--stage=generate" not in text
    results = json.loads(workdir.results.read_text())
    del results["experiment"]
    workdir.results.write_text(json.dumps(results))
    with pytest.raises(InputError, match=r"my model\.zip: has no experiment"):
        report.write(workdir, dataset, predictions, model_file=tmp_path / "my model.zip")


def test_more_than_a_hundred_classes_have_their_confused_pairs_but_no_matrix(tmp_path):
    names = tuple(f"class {label}" for label in range(101))
    workdir, dataset, predictions = finished_run.make(tmp_path, names)
    report.write(workdir, dataset, predictions)
    text = workdir.report.read_text(encoding="utf-8")
    assert 'class="heat' not in text and "The 20 most confused pairs of classes" in text
    assert "The confusion matrix of 101 classes is too large for this page." in text and "results.json" in text
    assert text.count("<td") < 1000


def test_classes_without_test_images_are_named(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog", "<owl>"))
    results = json.loads(workdir.results.read_text())
    results["test"]["confusion"][2] = [0, 0, 0]
    workdir.results.write_text(json.dumps(results))
    report.write(workdir, dataset, predictions)
    text = words(Page(workdir.report.read_text(encoding="utf-8")))
    assert "There are no test images of the class “<owl>”, so the accuracies by class and the mean of classes" in text


def test_the_page_of_a_single_test_image_does_not_call_it_several(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"))
    test = dataset.held_out
    one = dataclasses.replace(test, images=test.images[:1], labels=test.labels[:1], names=test.names[:1])
    results = json.loads(workdir.results.read_text())
    for figures in (results["test"], results["baseline"]["test"]):
        figures |= {"examples": 1, "top1": 1.0, "confusion": [[1, 0], [0, 0]]}
    workdir.results.write_text(json.dumps(results))
    report.write(workdir, dataclasses.replace(dataset, held_out=one), dict.fromkeys(predictions, np.zeros(1, int)))
    for path in (workdir.report, workdir.model_card):
        text = words(Page(path.read_text(encoding="utf-8")))
        assert not re.search(r"\b1 (\w+ )?images\b", text.replace("40 test images", "")), path


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


def test_a_run_of_the_baseline_itself_is_not_compared_with_itself(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path, ("cat", "dog"), baseline=False)
    files.write_json(workdir.results, json.loads(workdir.results.read_text()) | {"experiment": "baseline"})
    report.write(workdir, dataset, predictions)
    page = workdir.report.read_text(encoding="utf-8")
    assert "The baseline" not in page and page.count('<th scope="row">baseline</th>') == 1
    assert "trained without mixing" not in workdir.model_card.read_text(encoding="utf-8")


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
    digests = [image_digest(np.asarray(read_rgb(dataset.directory / dataset.held_out.names[0]))), "another"]
    content = DataIdentity((), Split((), ()), Split(tuple(digests), (0, 0)))
    recorded = dataclasses.replace(dataset, content=content)
    assert photos.held_out_pixels(recorded, 0).shape == (320, 320, 3)
    assert photos.held_out_pixels(recorded, 1).shape == (96, 96, 3)
    assert photos.view(recorded, HELD_OUT, 0, 320).picture.size == (320, 320)
    assert photos.view(recorded, HELD_OUT, 1, 320).picture.size == (288, 288)  # three times the copy's


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
