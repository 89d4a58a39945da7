"""Compares the old and the new model of an updated run, on photos that neither was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import SPLITS, renamed_classes
from chimeramix_jax.data.kept_together import names_of_units
from chimeramix_jax.reporting import clustered, statistics
from chimeramix_jax.runs.unseen import Models

RELATED = "related_to_training_photos"  # photos left out, since a model was trained on others of their unit
OLD, NEW, ALL = "old photos", "new photos", "all"  # the groups of photos; an old one was in the folder before

Flags = Bool[np.ndarray, "photos"]


@dataclass(frozen=True)
class _Photos:
    """The different photos of the updated run; a photo and its copies count once."""

    pixels: UInt8[np.ndarray, "photos side side 3"]
    classes: tuple[str, ...]  # the name of each photo's class
    digests: tuple[str, ...]

    @classmethod
    def of(cls, dataset: FewShotDataset) -> "_Photos":
        """Returns the held-out photos, then the training photos."""
        parts = ((dataset.held_out, dataset.identity.held_out), (dataset.train, dataset.identity.train))
        labels = np.concatenate([part.labels for part, _ in parts])
        digests = np.array([image for _, split in parts for image in split.images])
        first = np.sort(np.unique(digests, return_index=True)[1])
        pixels = np.concatenate([part.images for part, _ in parts])[first]
        return cls(pixels, tuple(dataset.class_names[label] for label in labels[first]), tuple(digests[first].tolist()))

    def at(self, positions: Int64[np.ndarray, "chosen"]) -> "_Photos":
        """Returns the photos at these positions."""
        classes, digests = (tuple(values[index] for index in positions) for values in (self.classes, self.digests))
        return _Photos(self.pixels[positions], classes, digests)


def compare(old: Models, new: Models, dataset: FewShotDataset) -> dict[str, Any]:
    """Returns the comparison in JSON's types, as ``update.json`` stores it.

    A photo counts if both runs have a model that was not trained on it: the final model or, with folds, one that left
    it out and was trained as long. So photos count that are held out in both runs or new, and all photos if both have
    folds. Copies and near duplicates of photos that such a model was trained on do not count, nor do others of their
    group, as far as these photos are still there. Photos of classes that the old model does not know only say how often
    the new model is right.

    Args:
        old: the models of the run that is replaced.
        new: the models of the run that was trained on ``dataset``.
        dataset: the photos as they are now.
    """
    photos = _Photos.of(dataset)
    of_old, of_new = old.unseen_by(photos.digests), new.unseen_by(photos.digests)
    both = np.array([None not in pair for pair in zip(of_old, of_new, strict=True)], bool)
    units = _units(dataset, near=True)
    related = old.know_relatives(photos.digests, of_old, units) | new.know_relatives(photos.digests, of_new, units)
    left_out = _left_out(photos, old, new, of_old, of_new) | {RELATED: int(np.sum(both & related))}
    chosen = np.flatnonzero(both & ~related)
    photos = photos.at(chosen)
    of_old, of_new = ([models[index] for index in chosen] for models in (of_old, of_new))
    names_then = _names_then(old, new)
    known = np.array([name in names_then for name in photos.classes], bool)
    old_right = new_right = np.zeros(len(chosen), bool)
    if len(chosen):
        then = [names_then.get(name, name) for name in photos.classes]
        old_right = old.right(photos.pixels, then, of_old)
        new_right = new.right(photos.pixels, photos.classes, of_new)
    seen_before = _in_folder_before(old, photos.digests)
    compared = {OLD: known & seen_before, NEW: known & ~seen_before, ALL: known}
    groups = _units(dataset, near=False)
    group_of_each = np.array([groups.get(image, image) for image in photos.digests])
    return {
        "photos": {
            name: _figures(old_right[members], new_right[members], group_of_each[members].tolist())
            for name, members in compared.items()
            if any(members)
        },
        "new_classes": _of_new_classes(photos.classes, known, new_right),
        "classes_gone": sorted(set(old.identity.class_names) - set(names_then.values())),
        "left_out": left_out,
        "by_folds": {"old": _uses_folds(old, of_old), "new": _uses_folds(new, of_new)},
        "recipe_was_chosen": old.workdir.auto_record.exists(),
    }


def _left_out(
    photos: _Photos, old: Models, new: Models, of_old: Sequence[Path | None], of_new: Sequence[Path | None]
) -> dict[str, int]:
    """Counts the photos that only one of the runs has a model for, so that they cannot be compared."""
    by_old, by_new = (np.array([model is None for model in models], bool) for models in (of_old, of_new))
    before, in_new = _in_folder_before(old, photos.digests), set(new.identity.train.images)
    still = np.array([image in in_new for image in photos.digests], bool)
    counts = {
        "new_training_photos": by_new & ~by_old & ~before,
        "now_training_photos": by_new & ~by_old & before,
        "no_longer_training_photos": by_old & ~by_new & ~still,
        "training_photos_of_both": by_old & ~by_new & still,  # the new run alone has folds for them
    }
    return {name: int(np.sum(members)) for name, members in counts.items()}


def _units(dataset: FewShotDataset, *, near: bool) -> dict[str, str]:
    """Maps the digests of all photos, unused ones included, to the names of the units that belong together.

    ``near`` says whether near duplicates do, too.
    """
    if dataset.originals is None:
        return {}
    originals = (*dataset.originals.train, *dataset.originals.held_out, *dataset.originals.unused)
    labels = np.array([original.label for original in originals])
    names = names_of_units(originals, labels, near=near, least=1)
    return {original.digest: name for original, name in zip(originals, names, strict=True)}


def _in_folder_before(old: Models, digests: Sequence[str]) -> Flags:
    before = {image for name in SPLITS for image in old.identity.split(name).images}
    return np.array([image in before for image in digests], bool)


def _names_then(old: Models, new: Models) -> Mapping[str, str]:
    """Maps the names of the classes that the old model knows to the names that it has for them."""
    renamed = {name: before for before, name in renamed_classes(old.identity, new.identity).items()}
    return {name: name for name in new.identity.class_names if name in old.identity.class_names} | renamed


def _figures(old_right: Flags, new_right: Flags, groups: Sequence[str]) -> dict[str, Any]:
    """Returns what is stored of some photos; photos with the same name in ``groups`` are of one group."""
    only_new, only_old = statistics.only_right(new_right, old_right)
    number, different = len(old_right), len(set(groups))
    return {
        "number": number,
        "old_right": int(np.sum(old_right)),
        "new_right": int(np.sum(new_right)),
        "only_old_right": only_old,
        "only_new_right": only_new,
        "difference": (only_new - only_old) / number,
        "interval": list(clustered.paired_interval(new_right, old_right, groups)),
        "mcnemar_p": clustered.paired_test(new_right, old_right, groups),
        **({"groups": different} if different < number else {}),
    }


def _of_new_classes(classes: Sequence[str], known: Flags, new_right: Flags) -> dict[str, Any]:
    names = sorted({name for name, is_known in zip(classes, known, strict=True) if not is_known})
    return {"names": names, "number": int(np.sum(~known)), "new_right": int(np.sum(new_right[~known]))}


def _uses_folds(models: Models, chosen: Sequence[Path | None]) -> bool:
    return any(path != models.workdir.path for path in chosen)
