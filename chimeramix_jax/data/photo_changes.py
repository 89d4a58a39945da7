"""Describes how the photos in a folder have changed since a run, class by class.

``identity.changes`` says the same in fewer words, for messages that refuse to go on, and also notices another order.
"""

from collections import Counter

from chimeramix_jax.data.identity import (
    UNUSED,
    DataIdentity,
    Images,
    changed_places,
    crossed_lines,
    images_of,
    renamed_classes,
)
from chimeramix_jax.reporting.wording import counted


def photo_changes(before: DataIdentity, now: DataIdentity) -> list[str]:
    """Returns lines such as ``roses: 3 new photos, 1 removed``; none if a run would use the same photos as before.

    Other names of files, another order, and photos that a run does not use do not count.
    """
    renamed = renamed_classes(before, now)
    old, new = images_of(before, renamed=renamed), images_of(now)
    if before.class_names == now.class_names and _used(old) == _used(new):
        return []
    kept = [renamed.get(name, name) for name in before.class_names]
    return [
        *(f"class {old_name!r} is now called {name!r}" for old_name, name in renamed.items()),
        *(f"class {name!r} is new" for name in now.class_names if name not in kept),
        *(f"class {name!r} is gone" for name in kept if name not in now.class_names),
        *_lines(old, new),
    ]


def _used(images: Images) -> Images:
    """Returns the images that networks are trained or measured on."""
    return Counter({place: count for place, count in images.items() if place[2] != UNUSED})


def _lines(old: Images, new: Images) -> list[str]:
    """Counts the photos of each class that are new, removed or moved to another class, and those in another split."""
    added, removed = Counter[str](), Counter[str]()
    moved, crossed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for before, after in changed_places(old, new):
        if before is None and after is not None:
            added[after[0]] += 1
        elif before is not None and after is None:
            removed[before[0]] += 1
        elif before is not None and after is not None and before[0] != after[0]:
            moved[before[0], after[0]] += 1
        elif before is not None and after is not None:
            crossed[before[1], after[1]] += 1
    lines = []
    for name in sorted(added.keys() | removed.keys()):
        parts = [counted(added[name], "new photo")] if added[name] else []
        if removed[name]:
            parts.append(f"{removed[name] if parts else counted(removed[name], 'photo')} removed")
        lines.append(f"{name}: {', '.join(parts)}")
    lines += [
        f"{counted(count, 'photo')} moved from {source} to {target}"
        for (source, target), count in sorted(moved.items())
    ]
    return lines + crossed_lines(crossed, "photo")
