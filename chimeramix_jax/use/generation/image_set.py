"""Writes a folder of mixed images, given the directory of a run."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.mixing.mixer import Mixer
from chimeramix_jax.paths import refuse_other_encodings
from chimeramix_jax.runs import same_data, shared_generator
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.restore import restore_mixing_networks
from chimeramix_jax.runs.run import Run, load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import jax_settings, stopping
from chimeramix_jax.stored_format import marked
from chimeramix_jax.training.checkpoints import require_finished
from chimeramix_jax.use import outputs
from chimeramix_jax.use.generation import class_folders, mixes, records
from chimeramix_jax.use.generation_formats import ARRAY_RECORD, FORMATS, PNG

WRITERS: Mapping[str, Callable[..., None]] = {PNG: class_folders.write, ARRAY_RECORD: records.write}

ABOUT = "generated.json"


def generate(
    workdir: str | os.PathLike[str],
    count: int,
    output: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    file_format: str = PNG,
    config: ConfigDict | None = None,
) -> Path:
    """Writes mixed images as a run's classifier would be trained on, balanced over the classes; returns their folder.

    The same seed gives the same images. ``generated.json``, in the same folder, records the settings and the seed.

    Args:
        workdir: the directory of a run whose experiment mixes; its generator, if it uses one, must be finished.
        count: the number of images; if it is not a multiple of the number of classes, the first classes get one more.
        output: a new or empty folder, not in that of the run's images; None: ``generated`` in the run's directory.
        seed: a whole number from 0 to 2147483647, which determines the pairs, their augmentation and the masks.
        file_format: "png": a folder per class and ``manifest.jsonl``; "array_record": a TFDS data set.
        config: settings, which must equal the run's in everything that affects results; None: the run's own settings.

    Raises:
        InputError: the run does not mix or has no finished generator, the output exists, an argument is invalid, or
            JAX has a setting that would change the images of a seed.
        StorageError: the disk is full.
        Stopped: the program was asked to stop; nothing is left of the folder.
    """
    _check(count, seed, file_format)
    jax_settings.check()
    directory = Workdir(workdir)
    config = directory.settings_like(config)
    if config.mixing.mask == "none":
        raise InputError(f"--stage=generate: experiment {config.experiment!r} of {directory.path} mixes no images")
    target = directory.path / "generated" if output is None else outputs.target(output, "--output")
    if output is not None:
        outputs.refuse_among_photos(target, "--output", (), config)
    if file_format == ARRAY_RECORD:
        refuse_other_encodings(target, "--output")
    with contextlib.ExitStack() as unfinished:
        folder = unfinished.enter_context(files.whole_folder(target))
        unfinished.enter_context(stopping.before_ending(partial(shutil.rmtree, folder, ignore_errors=True)))
        run = _loaded(config, directory)
        names, indices = run.about["class_names"], run.about["train_indices"]
        WRITERS[file_format](_mixes(run, count, seed), names, indices, folder)
        files.write_json(folder / ABOUT, marked({"count": count, "seed": seed, **run.about}))
    return target


def _check(count: int, seed: int, file_format: str) -> None:
    """Raises InputError if an argument of ``generate`` is not allowed."""
    if file_format not in FORMATS:
        raise not_one_of("--format", file_format, FORMATS)
    if count < 1:
        raise InputError(f"--count={count}: must be a whole number, 1 or more")
    if not 0 <= seed <= settings.LARGEST_SEED:
        raise InputError(f"--generate_seed={seed}: must be a whole number from 0 to {settings.LARGEST_SEED}")


def _loaded(config: ConfigDict, directory: Workdir) -> Run:
    """Loads the run's data, and requires that its generator is finished and was trained on them."""
    generator_home = directory
    if settings.needs_generator(config):
        generator_home = directory.generator_home()
        epochs, trained_by = config.generator.epochs, generator_home.trained_by
        require_finished(generator_home.generator, "generator", epochs, trained_by)
    dataset = load_dataset(config)
    same_data.refuse_other_data(directory, dataset, "generate")
    if generator_home is not directory:
        shared_generator.refuse_other_data(generator_home, dataset, f"--workdir={directory.path}")
    return Run(Request(config, directory, stage="generate"), dataset, generator_home)


def _mixes(run: Run, count: int, seed: int) -> Iterator[mixes.Mix]:
    """Draws mixes as the training of the classifier does."""
    uses_generator = settings.needs_generator(run.config)
    networks = restore_mixing_networks(run.workdir.path) if uses_generator else (None, None)
    data = run.stage_data("classifier")
    mixer, parameters = Mixer.of(run.config, data.augmentation, *networks)
    return mixes.draw(mixer, parameters, data.images, count, seed)
