"""The table that ends a run, and the text around it."""

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from chimeramix_jax.reporting import mix_quality_text, statistics
from chimeramix_jax.reporting.calibration_text import closing_line
from chimeramix_jax.reporting.clustered import accuracy_interval, name_of_test, note
from chimeramix_jax.reporting.ensemble_text import members_in_words
from chimeramix_jax.reporting.folds_beside_test import shortfall
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.splits import FOLDS, split_name, split_of
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.reporting.time_limit_text import epochs_left_out
from chimeramix_jax.reporting.wording import counted

_WIDTH = 80  # columns of a terminal


class SummaryRow(TypedDict):
    """One trained classifier, in JSON types: a row of the table printed at the end of a run."""

    experiment: str
    max_labels_per_class: int | None  # None: all images
    top_1: float  # accuracy on the test images or over the folds, in [0, 1]
    top_5: float | None  # top-5 accuracy, in [0, 1]; None if there are too few classes for it to be informative
    seconds: float  # wall-clock time of training and evaluation
    examples: int  # number of images that it was measured on
    alone: list[int] | None  # images that only this, and only the baseline, has right; None: not compared
    # If some of the images belong together: how many independent ones are as informative.
    effective_examples: NotRequired[float | None]
    p_value: NotRequired[float | None]  # of the comparison with the baseline (``clustered.paired_test``)
    groups: NotRequired[int | None]  # of the images compared; None: none belong together
    baseline: NotRequired[str | None]  # the experiment that the baseline of the same run is; None: there is none


def summary_table(rows: Sequence[SummaryRow]) -> str:
    """Returns the rows as an aligned table, followed by each experiment's gain over the baseline; empty without rows.

    An experiment is compared with the baseline of its own run or, without one, with ``baseline``, on the same number of
    images per class.
    """
    if not rows:
        return ""
    table = [["experiment", "images per class", "accuracy", "95 % interval", "top-5", "time"], *map(_cells, rows)]
    return "\n".join([aligned(table), *_gains(rows)])


def closing_text(results: Mapping[str, Any]) -> str:
    """Returns the text that the command line prints after a run: the results of ``train_and_evaluate``."""
    rows = results.get("summary", [])
    parts = [summary_table(rows)]
    if "validation" in results:
        examples = results["validation"]["examples"]
        parts.append(f"measured on {counted(examples, 'validation image')}{_validation_images(results)}")
    elif rows and FOLDS in results and "test" not in results:
        parts.append(f"measured on {_folds_in_words(results[FOLDS])}: the expected accuracy of the final model")
        parts[-1] += _less_optimism(results[FOLDS])
    elif rows:
        parts.append(f"measured on {counted(rows[0]['examples'], 'test image')}")
    if rows:
        parts[-1] += "; intervals and significance cover the choice of these images, not of training images or seed"
        parts.append(textwrap.fill(note(rows[-1].get("effective_examples")), _WIDTH))
    if FOLDS in results and split_of(results) != FOLDS:
        parts.append(_beside_the_test(results[FOLDS]))
    parts += [textwrap.fill(warning, _WIDTH, break_on_hyphens=False) for warning in _warnings(results)]
    if rows and (members := members_in_words(results.get("members"), rows[-1]["examples"])):
        parts.append(f"{rows[-1]['experiment']}: {members}")
    if rows and "calibration" in results:
        parts.append(closing_line(results["calibration"]))
    parts += [textwrap.fill(sentence, _WIDTH, break_on_hyphens=False) for sentence in epochs_left_out(results)]
    parts.append(written_text(results.get("files", [])))
    return "\n\n".join(part for part in parts if part)


def in_one_sentence(results: Mapping[str, Any]) -> str:
    """Returns the accuracy of a run on photos as a plain sentence, beside that of guessing."""
    row, split, chance = results["summary"][-1], split_of(results), 1 / len(results["class_names"])
    share = statistics.percent(row["top_1"], row["examples"])
    if split == FOLDS:
        recognised = f"{share} of new photos are expected to be recognised"
    else:
        verb = "was" if row["examples"] == 1 else "were"
        recognised = f"{share} of {counted(row['examples'], f'{split_name(split)} photo')} {verb} recognised"
    guessing = f"guessing would give {100 * chance:.{0 if chance >= 0.05 else 1}f}%"
    return f"{recognised}; {guessing}{_always_the_largest(results, split)}."


def _always_the_largest(results: Mapping[str, Any], split: str) -> str:
    """Says what always answering the most frequent class would give, if the classes differ in size; else empty."""
    sizes = [sum(row) for row in results[split].get("confusion", [])]
    if not sizes or not statistics.is_unbalanced(max(sizes) / sum(sizes), len(sizes)):
        return ""
    share = statistics.percent(max(sizes) / sum(sizes), results["summary"][-1]["examples"])
    return f", and always answering {results['class_names'][sizes.index(max(sizes))]!r} {share}"


def _warnings(results: Mapping[str, Any]) -> Iterator[str]:
    """Yields what speaks against trusting the accuracy of the folds, and against mixing, as far as anything does."""
    if FOLDS in results and split_of(results) != FOLDS:
        yield from filter(None, [shortfall(results[FOLDS], results.get("test"))])
    if "mixes" in results and (warning := mix_quality_text.warning(results, split_of(results))):
        yield f"{mix_quality_text.in_words(results, split_of(results))} {warning}"


def written_text(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Returns the files and folders that were written, by the folder that they are in; empty without any."""
    folders: dict[str, list[str]] = {}
    for path in map(str, paths):
        folders.setdefault(os.path.dirname(path) or ".", []).append(os.path.basename(path) + "/" * os.path.isdir(path))
    by_names: dict[str, list[str]] = {}  # folders with the same files, such as those of several seeds
    for folder, names in folders.items():
        by_names.setdefault(", ".join(names), []).append(folder)
    lines: list[str] = []
    for listed, places in by_names.items():
        lines += [f"written to {place}{',' if place != places[-1] else ':'}" for place in places]
        lines += textwrap.wrap(listed, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _validation_images(results: Mapping[str, Any]) -> str:
    if results.get("config", {}).get("fold"):
        return ": the fold that was left out of training"
    if results.get("held_out_from") == "validation":
        return ""
    return ": the training images outside the few-shot subset"


def _folds_in_words(folds: Mapping[str, Any]) -> str:
    times = "" if folds["repeats"] == 1 else f", divided {folds['repeats']} times"
    measured, count = len(folds["runs"]), str(folds["folds"])
    if measured < folds["folds"] * folds["repeats"]:
        count = f"{measured} of {count}"
    return f"the {folds['examples']} images in {count} folds{times}, each predicted by a model trained without it"


def _less_optimism(folds: Mapping[str, Any]) -> str:
    """Says what was subtracted because the recipe was chosen by the folds; empty if it was not."""
    if not folds["optimism"]:
        return ""
    return f", {100 * folds['optimism']:.1f} points less than measured, because the recipe was chosen by these images"


def _beside_the_test(folds: Mapping[str, Any]) -> str:
    """Returns the line about the folds of a run that also has test images."""
    low, high = (statistics.percent(bound, folds["examples"]) for bound in folds["interval"])
    accuracy = statistics.percent(folds["expected_accuracy"], folds["examples"])
    interval = f"95 % interval {low.removesuffix('%')} to {high}"
    return f"expected from {_folds_in_words(folds)}: {accuracy}, {interval}{_less_optimism(folds)}"


def _cells(row: SummaryRow) -> list[str]:
    """Returns the cells of a row."""
    examples = row["examples"]
    low, high = accuracy_interval(row, row["top_1"])
    return [
        row["experiment"],
        _images(row),
        statistics.percent(row["top_1"], examples),
        f"{statistics.percent(low, examples).removesuffix('%')} to {statistics.percent(high, examples)}",
        "-" if row["top_5"] is None else statistics.percent(row["top_5"], examples),
        duration(row["seconds"]),
    ]


def _gains(rows: Sequence[SummaryRow]) -> list[str]:
    accuracies = {(row["experiment"], row["max_labels_per_class"]): row["top_1"] for row in rows}
    lines = []
    for row in rows:
        name = row.get("baseline") or "baseline"
        accuracy = accuracies.get((name, row["max_labels_per_class"]))
        if row["experiment"] != name and accuracy is not None:
            difference = statistics.points(row["top_1"] - accuracy, row["examples"])
            pair = f"{row['experiment']} against {name}, {_images(row)} images per class"
            lines.append(f"{pair}: {difference} percentage points{_significance(row)}")
    return lines


def _significance(row: SummaryRow) -> str:
    """Says whether a row's difference to the baseline is significant; empty if it was not compared."""
    if row["alone"] is None:
        return ""
    only_this, only_baseline = row["alone"]
    p_value = row.get("p_value")
    if p_value is None:
        p_value = statistics.mcnemar(only_this, only_baseline)
    return (
        f", {'significant' if statistics.is_significant(p_value) else 'not significant'}: {only_this} images correct "
        f"only here, {only_baseline} only by the baseline ({name_of_test(row.get('groups'))}, "
        f"{statistics.p_in_words(p_value)})"
    )


def _images(row: Mapping[str, Any]) -> str:
    return "all" if row["max_labels_per_class"] is None else str(row["max_labels_per_class"])
