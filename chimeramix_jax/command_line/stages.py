"""The stages that ``--stage`` names, and which flags each takes and needs."""

from chimeramix_jax import config as settings
from chimeramix_jax.command_line.flags import Arguments
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import model_archive

CHECK = "check"  # the stage that only looks at the data
UPDATE = "update"  # the stage that trains again if the photos have changed
USES = ("predict", "generate", "export")  # stages that use what a run has trained, and change nothing in it

ALL = (*settings.STAGES, CHECK, UPDATE, *USES)
TRAINING = tuple(stage for stage in settings.STAGES if stage not in settings.MEASURING_STAGES)
OF_A_RUN = (*USES, CHECK, UPDATE, *settings.MEASURING_STAGES)  # stages that use a run, and begin none

_TAKE_MODEL_FILES = ("predict", "report", "export")  # stages that need no more of a run than its classifier
_TAKEN_BY = {  # the flags that only some stages take
    "retrain": TRAINING,
    "generator_workdir": settings.STAGES,
    "folds": (*settings.STAGES, CHECK),
    "fold_repeats": (*settings.STAGES, CHECK),
    "minutes": ("all",),
    "images": ("predict",),
    "explain": ("predict",),
    "reject_below": ("predict",),
    "count": ("generate",),
    "generate_seed": ("generate",),
    "format": USES,
    "half": ("export",),
    "output": USES,
}
_NEEDED_BY = (
    ("images", ("predict",), "photos"),
    ("count", ("generate",), "1000"),
    ("workdir", (*USES, UPDATE), "runs/mine"),
)


def refuse_flags_of_other_stages(parsed: Arguments) -> None:
    """Refuses flags that the stage would ignore, and the lack of those that it needs."""
    for name, stages in _TAKEN_BY.items():
        if name in parsed.given and parsed.stage not in stages:
            raise InputError(f"--{name}: --stage={parsed.stage} does not take it; it is for {', '.join(stages)}")
    for name, stages, example in _NEEDED_BY:
        if parsed.stage in stages and name not in parsed.given:
            raise InputError(f"--{name}: --stage={parsed.stage} needs it, such as --{name}={example}")


def refuse_model_file(parsed: Arguments) -> None:
    """Raises InputError if ``--workdir`` is a file and the stage needs more than a model file."""
    if parsed.workdir is not None and parsed.stage not in _TAKE_MODEL_FILES and model_archive.is_file(parsed.workdir):
        raise InputError(
            f"--workdir={parsed.workdir}: is a file; --stage={parsed.stage} needs a run's folder, and only "
            f"{', '.join(_TAKE_MODEL_FILES)} also take a model file"
        )
