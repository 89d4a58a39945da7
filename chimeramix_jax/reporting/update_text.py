"""The comparison of a run's old and new model in words: ``update.json`` as a table and sentences."""

from collections.abc import Mapping
from typing import Any

from chimeramix_jax.reporting import clustered, statistics
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.reporting.wording import counted

Record = Mapping[str, Any]  # the content of ``update.json``

HEADER = ["photos", "number", "old model", "new model", "difference", "95 % interval"]


def text(record: Record) -> str:
    """Returns the table, the conclusion and what is to be said about them, for the terminal."""
    cells = rows(record)
    parts = [aligned([HEADER, *cells])] if cells else []
    return "\n\n".join([*parts, "\n".join([conclusion(record), *notes(record)])])


def rows(record: Record) -> list[list[str]]:
    """Returns the table's rows; the last, for all photos, only if there are two groups of them."""
    groups = dict(record["photos"])
    if len(groups) == 2:
        groups.pop("all")
    return [_cells(name, figures) for name, figures in groups.items()]


def _cells(name: str, figures: Mapping[str, Any]) -> list[str]:
    number = figures["number"]
    old, new = (statistics.percent(figures[key] / number, number) for key in ("old_right", "new_right"))
    low, high = (statistics.points(bound, number) for bound in figures["interval"])
    return [
        name,
        str(number),
        old,
        new,
        f"{statistics.points(figures['difference'], number)} points",
        f"{low} to {high}",
    ]


def conclusion(record: Record) -> str:
    """Returns a sentence that says which model is better, and whether that could be chance."""
    figures = record["photos"].get("all")
    if figures is None:
        return (
            "The folder holds no photo that neither model was trained on and whose class both know, so the models "
            "cannot be compared."
        )
    more = figures["new_right"] - figures["old_right"]
    of_all = f"{counted(figures['number'], 'photo')} that neither model was trained on"
    if not more:
        return f"Both models are right on {figures['new_right']} of the {of_all}."
    test = f"({clustered.name_of_test(figures.get('groups'))}, {statistics.p_in_words(figures['mcnemar_p'])})"
    if statistics.is_significant(figures["mcnemar_p"]):
        chance = f"a difference that is unlikely to be due to chance {test}"
    else:
        chance = f"so small a difference could be chance {test}"
    return f"The new model is right on {abs(more)} {'more' if more > 0 else 'fewer'} of the {of_all}; {chance}."


def is_worse(record: Record) -> bool:
    """Whether the new model is worse than the old one, beyond chance."""
    figures = record["photos"].get("all")
    return figures is not None and figures["difference"] < 0 and statistics.is_significant(figures["mcnemar_p"])


def notes(record: Record) -> list[str]:
    """Returns the sentences about what was compared and what could not be."""
    lines = []
    if record["new_classes"]["number"]:
        lines.append(_about_new_classes(record["new_classes"]))
    for name in record["classes_gone"]:
        lines.append(f"The old model can still answer {name!r}, which is always wrong now.")
    left_out = record["left_out"]
    new, old = left_out["new_training_photos"], left_out["now_training_photos"]
    if new or old:
        parts = [counted(count, noun) for count, noun in ((new, "new photo"), (old, "old photo")) if count]
        lines.append(f"Not compared, because only the new model was trained on them: {' and '.join(parts)}.")
    if count := left_out["no_longer_training_photos"]:
        lines.append(f"Not compared, because only the old model was trained on them: {counted(count, 'photo')}.")
    if count := left_out.get("related_to_training_photos", 0):  # earlier versions compared on them
        lines.append(
            "Not compared, because a model was trained on copies or near duplicates of them, or on others of their "
            f"group: {counted(count, 'photo')}."
        )
    was_chosen, by_folds = record["recipe_was_chosen"], record["by_folds"]
    if count := left_out.get("training_photos_of_both", 0):
        lines.append(_about_photos_without_a_fold(count, was_chosen=was_chosen))
    if by_folds["old"] or by_folds["new"]:
        lines.append("With folds, training photos are predicted by models that were trained without them.")
    if by_folds["new"] and "new photos" in record["photos"]:
        lines.append(
            "The old run predicts new training photos with its final model, the new one with the models of its folds, "
            "which were trained on fewer photos. That favours the old model a little."
        )
    if was_chosen:
        lines.append("The recipe was kept, not chosen again.")
    if was_chosen and by_folds["old"]:  # in comparisons of earlier versions
        lines.append(
            "For old training photos, the old run's models are those of its choice, which were trained for a part of "
            "the time only. That favours the new model."
        )
    return lines


def _about_photos_without_a_fold(count: int, *, was_chosen: bool) -> str:
    photos = counted(count, "old photo")
    line = f"Not compared, because the old run has no model like its final one without them: {photos}."
    if not was_chosen:
        return line
    return f"{line} The models that its choice trained without them had a part of the time only."


def _about_new_classes(classes: Mapping[str, Any]) -> str:
    names = ", ".join(repr(name) for name in classes["names"])
    of_new = "the new class" if len(classes["names"]) == 1 else "the new classes"
    return (
        f"The old model does not know {of_new} {names}: of {counted(classes['number'], 'photo')} there that the new "
        f"model was not trained on, it is right on {classes['new_right']}."
    )
