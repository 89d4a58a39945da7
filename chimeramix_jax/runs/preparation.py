"""Prepares a run: checks what was asked for against its directory and its data, before anything is changed."""

import contextlib
import sys
from collections.abc import Iterator

from chimeramix_jax import config as settings
from chimeramix_jax.paths import leaving_no_empty_folders
from chimeramix_jax.runs import data_check, retraining, same_data, same_settings, shared_generator
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import Run, load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints


@contextlib.contextmanager
def prepared(request: Request) -> Iterator[Run]:
    """Yields a run with everything checked, its directory locked and its data loaded.

    Raises InputError if a setting, the data or the directory is unsuitable; then nothing has been changed.
    """
    request.check()
    config, directory = request.config, request.workdir
    with leaving_no_empty_folders(directory.path):
        directory.create()
        with locked(directory.path):
            directory.check(same_settings.as_begun(directory, config), measuring=request.stage == "evaluate")
            if not directory.is_of_existing_run():
                settings.refuse_enlarged(config)
            continues = request.retrain and retraining.is_begun(directory, request.stage)
            replaced = () if continues else request.replaced()
            same_settings.refuse_other_settings(directory, config, replaced, request.stage)
            generator_home = _generator_before_data(request)
            if request.stage in settings.MEASURING_STAGES:
                checkpoints.require_finished(
                    directory.classifier, "classifier", config.classifier.epochs, directory.trained_by
                )
            if request.stage == "report":
                directory.read_results()
            dataset = load_dataset(config)
            if request.stage not in settings.MEASURING_STAGES:
                data_check.refuse_copies(config, dataset)
            continues = continues and not same_data.have_changed(directory, dataset)
            replaced = () if continues else request.replaced()
            same_data.refuse_other_data(directory, dataset, request.stage, replaced)
            if continues:
                print(f"{directory.path}: continues the training that --retrain has begun", file=sys.stderr)
            if generator_home is not directory:
                generator_home = shared_generator.choose(directory, config, request.generator_workdir, dataset)
                _require_generator(request, generator_home)
            directory.remove_unfinished()
            yield Run(request, dataset, generator_home, replaced, continues_retraining=continues)


def _generator_before_data(request: Request) -> Workdir:
    """Returns the directory of the generator to use, as far as it can be determined without the data."""
    if not settings.needs_generator(request.config) or (request.retrain and request.trains_generator):
        return request.workdir
    home = shared_generator.choose(request.workdir, request.config, request.generator_workdir)
    _require_generator(request, home)
    return home


def _require_generator(request: Request, home: Workdir) -> None:
    if request.stage == "classifier":
        checkpoints.require_finished(home.generator, "generator", request.config.generator.epochs, home.trained_by)
