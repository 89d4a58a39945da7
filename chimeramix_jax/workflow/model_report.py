"""Writes the report of a model file, as far as the file and its images tell.

The page is that of the run without what is only in the run's directory: pictures of mixing and charts of training.
"""

import tempfile
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files, report
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.restore import finished_classifier
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from chimeramix_jax.training.evaluation import TestSet, predicted_classes
from chimeramix_jax.training.prediction import CompiledClassifier


def write(archive: ModelArchive, config: ConfigDict) -> Path:
    """Writes ``<model file>-report.html`` beside a model file, and returns its path.

    ``config`` says where the images are: the file does not. Raises InputError if they are not those that the model was
    trained and measured on, or the file holds no results.
    """
    config = archive.settings_like(config, measuring=False)  # the results in the file are of its own views
    settings.check(config, stored=True)
    results = archive.about.get("results")
    if not isinstance(results, dict):
        raise InputError(f"{archive.path}: holds no results; export it from a run that has been measured")
    dataset = load_dataset(config)
    archive.refuse_other_data(dataset)
    if not len(dataset.held_out.labels):
        raise InputError(
            f"{archive.path}: the run had no test images, and the predictions of its folds are not in the file; the "
            "run's directory has its report"
        )
    network = finished_classifier(archive, config).network
    images = resize(dataset.held_out.images, config.classifier.image_side)
    tests = TestSet(images, dataset.held_out.labels, config.evaluation.batch_size)
    logits = tests.logits(CompiledClassifier(network, config).logits)
    path = archive.path.with_name(f"{archive.path.stem}-report.html")
    with tempfile.TemporaryDirectory(prefix="chimeramix-") as folder:
        workdir = Workdir(folder)
        files.write_json(workdir.results, marked(results | {"config": settings.config_to_dict(config)}))
        predictions = {"classifier": np.asarray(predicted_classes(logits, tests.labels))}
        report.write(workdir, dataset, predictions, model_file=archive.path)
        files.write_bytes(path, workdir.report.read_bytes())
    return path
