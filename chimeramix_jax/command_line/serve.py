"""``chimeramix serve``: serves a local page on which the classifier of a run can be tried."""

import importlib.util
import re
import threading
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import actions, exits
from chimeramix_jax.command_line.flags import Arguments, Flag, parse_with_names, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help
from chimeramix_jax.command_line.subcommands import usage
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path, printable
from chimeramix_jax.runs import model_archive
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import (
    backend,
    compilation_cache,
    cpu_setup,
    determinism,
    invocation,
    jax_settings,
    stopping,
)

if TYPE_CHECKING:
    import chimeramix_jax.serve.application
    import chimeramix_jax.serve.examination

_PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}  # by module

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # of a machine, or an IPv4 address

_IN_A_MODEL_FILE = (
    "A model file holds no training images, so the nearest ones cannot be shown. Serve the run's folder to see them."
)
_NOT_THE_SAME = (
    "The run's training images are not where they were, or have changed, so the nearest ones cannot be shown."
)

HELP = Help(
    usage=(usage("serve"),),
    summary="Serves a page on this machine on which the classifier of a run can be tried: drop a photo, choose a file "
    "or use the camera, and see the classes with their probabilities, what speaks for the class and what against it, "
    "and the nearest training images. Other programs can send photos to /classify and get JSON. Photos stay in memory. "
    f"Needs Starlette, uvicorn and python-multipart: {invocation.installing(*_PACKAGES.values())}.",
    examples=(
        ("serve runs/photos --open", "Try the classifier that was trained in runs/photos, in the browser."),
        (
            "serve photos.zip --reject_below=0.6 --port=0",
            "Serve a model file at a free port, and answer 'none of these' below a probability of 0.6.",
        ),
        ("serve runs/photos --host=0.0.0.0", "Let other machines in the network use the page, such as a phone."),
    ),
    groups={
        "What to serve": (
            Entry("RUN", "A run's folder, or a model file (--stage=export --format=model)."),
            Flag(
                "reject_below=PROBABILITY",
                "Answer 'none of these' for photos whose most probable class has a lower probability, from 0 to 1. "
                "docs/calibration.md says what that cannot do.",
            ),
            Flag(
                "max_megabytes=N",
                "How large the file of a photo may be, in megabytes. Default: 20.",
                default=20,
                highest=1000,
            ),
        ),
        "Where": (
            Flag(
                "host=ADDRESS",
                "The address to listen on. Default: 127.0.0.1, which only this machine reaches. There is no password: "
                "whoever can reach another address can use the page.",
                default="127.0.0.1",
            ),
            Flag("port=N", "The port. 0 stands for a free one. Default: 8765.", default=8765, lowest=0, highest=65535),
            Flag(
                "allowed_host=NAME",
                "Also answer requests to this name: that of a proxy on this machine, which must leave the header Host "
                "as it is. docs/serve.md has an example.",
            ),
            Flag("open", "Also open the page in the browser.", default=False),
        ),
    },
    exit_codes={
        0: "Ended by Ctrl-C or SIGTERM.",
        1: "A disk or memory is full.",
        2: "The run, the address or a flag cannot be used, or a package is missing.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``run``, the path of the run, whose settings are ``config``; all checked."""
    parsed, named, unknown = parse_with_names(arguments, HELP.flags)
    refuse_unknown(unknown, HELP.flags)
    if not named:
        raise InputError("RUN: missing; name a run's folder, such as runs/photos, or a model file")
    if len(named) > 1:
        raise InputError(f"{named[1]!r}: not understood; serve takes a single run")
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"serve: {' and '.join(missing)} not installed; run {invocation.installing(*missing)}")
    if parsed.allowed_host is not None and not _NAME.fullmatch(parsed.allowed_host):
        raise InputError(
            f"--allowed_host={parsed.allowed_host}: must be a name alone, without https://, port and path, such as "
            "photos.example.org"
        )
    parsed.run = str(local_path(named[0], "RUN"))
    if model_archive.is_file(parsed.run):
        parsed.config = ModelArchive(parsed.run).config
    elif (run := Workdir(parsed.run)).has_config():
        parsed.config = run.read_config()
    else:
        raise run.no_run("RUN", ", and is not a model file")
    settings.check(parsed.config, environment=False, stored=True)
    return parsed


def perform(parsed: Arguments) -> int:
    """Serves the page until the process is ended."""
    from chimeramix_jax.serve import listening  # needs packages that nothing else needs

    exits.quiet_libraries()
    # The socket first, so that a port that is taken is answered at once.
    with listening.listening_socket(parsed.host, parsed.port) as opened, stopping.ending_at_once():
        only_local, addresses = listening.is_only_local(opened), listening.addresses_of(opened)
        application = _application(parsed).guarded(only_local=only_local, allowed_host=parsed.allowed_host)
        if not only_local:
            exits.say(f"--host={parsed.host}: everybody who reaches this machine can use the page; it has no password")
        print(f"serving {parsed.run}; Ctrl-C ends it", *addresses, sep="\n", flush=True)
        if parsed.open:
            threading.Thread(target=_open, args=addresses[:1], daemon=True).start()
        listening.serve(application, opened)
    return 0


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    return "nothing was written"


def _application(parsed: Arguments) -> "chimeramix_jax.serve.application.Application":
    """Restores and compiles the classifier, so that the first photo is answered as fast as any other."""
    cpu_setup.prepare()
    jax_settings.use_own()
    determinism.ask_for(parsed.config)
    compilation_cache.enable()
    backend.check()
    from chimeramix_jax.serve import page  # these load JAX
    from chimeramix_jax.serve.application import Application, Limits
    from chimeramix_jax.serve.examination import Examiner
    from chimeramix_jax.use.prediction import Predictor

    predictor = Predictor(parsed.run)
    examiner = Examiner(predictor)
    without_nearest = _load_training_images(examiner, parsed.run)
    examiner.warm_up()
    if parsed.reject_below is not None:
        actions.warn_unless_calibrated(parsed.run)
    rendered = page.render(
        _title(parsed.run),
        predictor.class_names,
        parsed.max_megabytes,
        parsed.reject_below,
        without_nearest,
        calibrated=predictor.temperature != 1,
    )
    return Application(examiner, rendered, Limits(parsed.max_megabytes, parsed.reject_below))


def _load_training_images(examiner: "chimeramix_jax.serve.examination.Examiner", run: str) -> str | None:
    """Loads what photos are compared with; returns why there is nothing, as a sentence for the page."""
    if model_archive.is_file(run):
        return _IN_A_MODEL_FILE
    try:
        examiner.load_training_images(Workdir(run))
    except InputError as error:
        exits.say(f"the nearest training images are not shown: {error}")
        return _NOT_THE_SAME
    return None


def _title(run: str) -> str:
    """Returns the name of the run, without the folders that it is in."""
    return printable(local_path(run, "RUN").absolute().name)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        exits.say(f"--open: no browser was found; open {address} yourself")
