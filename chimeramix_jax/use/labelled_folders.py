"""Finds the true classes of images that lie in folders named after classes."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def true_classes(paths: Iterable[Path], class_names: Sequence[str]) -> Mapping[Path, str]:
    """Returns the true class of each file that lies in a folder named after a class.

    There must be files of at least two classes in folders that lie side by side. A single folder that happens to be
    called like a class says nothing about its images.
    """
    known = frozenset(class_names)
    classes: dict[Path, str] = {}
    side_by_side: defaultdict[str, set[str]] = defaultdict(set)
    parents: dict[Path, str] = {}
    for path in paths:
        parent, folder = os.path.split(os.path.dirname(os.path.abspath(path)))
        name = unicodedata.normalize("NFC", folder)
        if name in known:
            classes[path], parents[path] = name, parent
            side_by_side[parent].add(name)
    return {path: name for path, name in classes.items() if len(side_by_side[parents[path]]) > 1}
