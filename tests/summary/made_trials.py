"""Makes trials for tests; only the attributes that matter have to be given."""

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
    embedded=False,
    trained_on=1,
    **settings,
):
    """Returns a finished trial, or an unfinished one for accuracy None; ``__`` in the name of a setting means a dot."""
    address = Address(dataset, split, experiment, images, seed)
    about = {
        "workdir": Path(workdir or f"{dataset}-{experiment}-{images}-{seed}-{split}"),
        "embedded": embedded,
        "settings": {key.replace("__", "."): value for key, value in settings.items()},
    }
    if accuracy is None:
        return Trial(address, Status.UNFINISHED, **about)
    results = {"images": trained_on, "mean_images": float(images or 110), "environment": "cpu, JAX 0.10.2"}
    return Trial(address, Status.FINISHED, accuracy=accuracy, **about, **results)
