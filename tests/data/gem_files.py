"""Makes a data set as GEM's repository and scripts leave it, of tiny images."""

from chimeramix_jax.config.catalog import dataset_entry, lists_of
from tests.data.own_images import write_images


def write_gem(folder, name, per_class=1, divisions=(0,)):
    """Writes lists and images of a data set, with all its classes, into ``folder`` and returns it.

    Each class has ``per_class`` images in the train list of a division, as many in its val list, other ones for each
    division, and as many in test0.txt.
    """
    parts = [f"{part}{division}" for division in divisions for part in ("train", "val")] + ["test0"]
    lines = {part: [] for part in parts}
    for label in range(dataset_entry(name).classes):
        below = f"{label:03}.class"
        paths = write_images(folder / lists_of(name).images / below, len(parts) * per_class, seed=label, size=(9, 8))
        for number, path in enumerate(paths):
            lines[parts[number // per_class]].append(f"{below}/{path.stem} {label}\n")
    lines |= {f"trainval{division}": lines[f"train{division}"] + lines[f"val{division}"] for division in divisions}
    for part, listed in lines.items():
        (folder / f"{part}.txt").write_text("".join(listed))
    return folder
