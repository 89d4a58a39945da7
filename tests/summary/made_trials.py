"""Trials for tests, of which only what matters is given."""

from pathlib import Path

from chimeramix_jax.summary.trials import Address, Status, Trial


def made_trial(
    accuracy=None,
    seed=0,
    experiment="baseline",
    images=5,
    dataset="digits",
    split="test",
    workdir=None,
    within=False,
    trained_on=1,
    **settings,
):
    """A finished trial of this accuracy; None: an unfinished one. ``__`` in a setting's name stands for the dot."""
    address = Address(dataset, split, experiment, images, seed)
    about = {
        "workdir": Path(workdir or f"{dataset}-{experiment}-{images}-{seed}-{split}"),
        "within": within,
        "settings": {key.replace("__", "."): value for key, value in settings.items()},
    }
    if accuracy is None:
        return Trial(address, Status.UNFINISHED, **about)
    counted = {"images": trained_on, "mean_images": float(images or 110), "environment": "cpu, JAX 0.10.2"}
    return Trial(address, Status.FINISHED, accuracy=accuracy, **about, **counted)
