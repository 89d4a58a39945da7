"""Writes the findings about a run's data as text: all of them, or a summary of a few lines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chimeramix_jax.data.duplicates import LARGE_GROUP, LARGE_SHARE
from chimeramix_jax.data.findings import MUCH_LOST
from chimeramix_jax.data.identity import HELD_OUT, TRAIN, UNUSED
from chimeramix_jax.errors import without_control
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.reporting.wording import counted

MOST_LISTED = 20  # groups of copies, or files, in the full text; check.json has all
MOST_FILES = 4  # of a group
CUT_WORTH_A_WORD = 0.25  # share of the images that lose much of their area to the central crop

# By ``dataset.fit``: what the network sees of an image, and what becomes of one that is at least twice as long as wide.
_SEEN = {"crop": "", "pad": " (the whole photo on grey)", "stretch": " (the whole photo, stretched to a square)"}
_ELONGATED = {
    "crop": "so that half or more of {each} is cut off",
    "pad": "so that half or more of what the network sees is grey",
    "stretch": "and {each} is squeezed to half its length or less",
}


def full_text(findings: Mapping[str, Any]) -> str:
    """Returns the classes as a table, then everything else that was found, with the files' names."""
    return "\n".join([_class_table(findings), "", *lines(findings, MOST_LISTED)])


def summary(findings: Mapping[str, Any]) -> list[str]:
    """Returns the same in a few lines, without the table of classes and without files that are copies."""
    images = findings["images"]
    held_out = f" and {images[HELD_OUT]} {findings['evaluate_on']}" if images[HELD_OUT] else ""
    numbers = f"{images[TRAIN]} training{held_out} images"
    return [f"{len(findings['classes'])} classes, {numbers}", *lines(findings, 0)]


def _class_table(findings: Mapping[str, Any]) -> str:
    splits = {TRAIN: "training", HELD_OUT: findings["evaluate_on"], UNUSED: "unused"}
    splits = {split: name for split, name in splits.items() if findings["images"][split]}
    rows = [[row["name"], *(str(row[split]) for split in splits)] for row in findings["classes"]]
    total = ["all", *(str(findings["images"][split]) for split in splits)]
    return aligned([["class", *splits.values()], *rows, total])


def lines(findings: Mapping[str, Any], most: int) -> Iterator[str]:
    """Yields a line for everything but the table; up to ``most`` groups of copies are listed."""
    sources = {
        "train": f"{findings['evaluate_on']} images: held out of the training images",
        "validation": "validation images: from the data's own validation part",
        "test": "test images: from the data's own test part",
        "folds": "no test images: accuracy is measured by cross-validation on the training images",
    }
    yield sources[findings["held_out_from"]]
    if left_out := findings.get("left_out"):  # earlier versions validated on them
        verb = "is" if left_out == 1 else "are"
        yield (
            f"{counted(left_out, 'image')} {verb} left unused: copies or near duplicates of training images, or of a "
            "group with one"
        )
    for names in findings.get("alike_names", ()):  # earlier versions did not look for them
        yield f"names that may mean the same class: {', '.join(without_control(name) for name in names)}"
    yield from _sizes(findings)
    for split, name in ((TRAIN, "training"), (HELD_OUT, findings["evaluate_on"])):
        if findings["images"][split]:
            yield _balance(findings["imbalance"][split], name)
    if groups := findings.get("groups"):
        yield f"{counted(groups, 'group')} in the column group: the images of each are kept together"
        yield "intervals and the comparison with the baseline take into account that images of a group look alike"
    yield from _files("unreadable files", findings["unreadable"], most)
    yield from _files("images of almost a single colour", findings["flat"], most)
    yield from _groups("exact duplicates", findings["exact_duplicates"], findings, most)
    if findings["near_duplicates"] is not None:
        yield from _near_duplicates(findings, most)


def _sizes(findings: Mapping[str, Any]) -> Iterator[str]:
    """Yields lines on the sizes of the images, and on what the network sees of them."""
    width, height = findings["sides"]["width"], findings["sides"]["height"]
    fit = findings.get("fit", "crop")  # earlier versions cropped all photos
    network = findings["network_side"]
    stored = findings.get("stored_side", network)  # earlier versions did not record it
    stored_size = f", enlarged from {stored}x{stored}" if stored < network else ""
    seen = f"{network}x{network} pixels{stored_size}{_SEEN[fit]}"
    yield f"image size in pixels: {_range(width)} wide, {_range(height)} high; the network sees {seen}"
    for key, what in (
        ("enlarged", f"smaller than {min(network, stored)} and {{are}} enlarged"),
        ("elongated", f"twice as long as wide or more, {_ELONGATED[fit]}"),
    ):
        if count := findings[key]:
            are, each = ("is", "it") if count == 1 else ("are", "each")
            yield f"{counted(count, 'image')} {are} {what.format(are=are, each=each)}"
    cut, images = findings.get("cut", 0), sum(findings["images"].values())
    if fit == "crop" and cut > CUT_WORTH_A_WORD * images:
        yield (
            f"{cut} of {images} images lose more than {MUCH_LOST} % of their area to the central crop; "
            "--config.dataset.fit=pad shows the network the whole photos"
        )


def _near_duplicates(findings: Mapping[str, Any], most: int) -> Iterator[str]:
    """Yields lines on near duplicates, up to ``most`` groups of them."""
    name = "near duplicates"
    if findings["near_for_training_only"]:
        name += " of training images (there are too many to compare the others)"
    yield from _groups(name, findings["near_duplicates"], findings, most, sign="~")
    yield from _all_alike(findings["near_duplicates"], sum(findings["images"].values()))


def severity(group: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Returns what sorts groups of copies, the worst first: those that make an accuracy too high, then wrong labels."""
    return not group["across_the_split"], not group.get("across_folds", False), not group["between_classes"]


def _all_alike(groups: Sequence[Mapping[str, Any]], images: int) -> Iterator[str]:
    """Yields a sentence if so many images are near one another that most of them are hardly copies."""
    largest = max((len(group["files"]) for group in groups), default=0)
    if largest >= max(LARGE_GROUP, LARGE_SHARE * images):
        yield (
            f"{largest} of {images} images are in one group of near duplicates: they look too much alike for this "
            "search to tell copies from different photos of one scene"
        )


def _range(values: Sequence[int]) -> str:
    low, median, high = values
    return f"{low}" if low == high else f"{low} to {high} (median {median})"


def _balance(ends: Mapping[str, Any], name: str) -> str:
    smallest, largest = ends["smallest"], ends["largest"]
    if smallest["images"] == largest["images"]:
        return f"{name} images per class: {smallest['images']}"
    few, many = without_control(smallest["class"]), without_control(largest["class"])
    return f"{name} images per class: {smallest['images']} ({few}) to {largest['images']} ({many})"


def _files(what: str, files: Sequence[str], most: int) -> Iterator[str]:
    if files:
        yield f"{what}: {len(files)}"
        for file in files[:most]:
            yield f"  {without_control(file)}"
        if most and len(files) > most:
            yield f"  and {len(files) - most} more"


def _groups(
    what: str, groups: Sequence[Mapping[str, Any]], findings: Mapping[str, Any], most: int, sign: str = "="
) -> Iterator[str]:
    """Yields lines with the numbers of groups, and up to ``most`` groups, the worst first."""
    if not groups:
        yield f"{what}: none"
        return
    keys = ("across_the_split", "across_folds", "between_classes")
    across, folds, between = (sum(group.get(key, False) for group in groups) for key in keys)
    where = [f"{between or 'none'} in several classes"]
    if findings.get("folds"):  # earlier versions did not look at folds
        where.insert(0, f"{folds or 'none'} in several folds")
    if findings["images"][HELD_OUT]:
        where.insert(0, f"{across or 'none'} in both training and {findings['evaluate_on']} images")
    yield f"{what}: {counted(len(groups), 'group')} of images; {', '.join(where)}"
    if folds:
        verb, images = ("spans", "its") if folds == 1 else ("span", "their")
        yield (
            f"{counted(folds, 'group')} of {what} {verb} several folds: {images} images are predicted by models that "
            "were trained on copies of them, so the expected accuracy is too high"
        )
    separated = folds or (across and findings["held_out_from"] == "train")  # by the program, not by the user
    if separated and not findings.get("near_together", True):
        yield "--config.dataset.keep_together=near_duplicates divides the images without separating them"
    worst_first = sorted(groups, key=severity)
    for group in worst_first[:most]:
        files = [file_of(copy) for copy in group["files"]]
        more = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
        yield f"  {f' {sign} '.join(files[:MOST_FILES])}{more}"
    if most and len(groups) > most:
        yield f"  and {len(groups) - most} more groups"


def file_of(copy: Mapping[str, Any]) -> str:
    """Returns the name of a file of a group of copies, and that the run does not use it, if so."""
    return without_control(copy["file"]) + (" (unused)" if copy["split"] == UNUSED else "")
