"""What the HTML pages share: a template environment that escapes everything, and the policy for their scripts."""

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment(package: str, folder: str) -> Environment:
    """Returns the environment for the templates in a package's folder.

    It escapes everything, as users choose the names of classes, folders and experiments.
    """
    loaded = Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.globals["with_script"] = lambda name: with_script(loaded, name)
    loaded.globals["allowing"] = lambda name: allowing(loaded, name)
    return loaded


def with_script(loaded: Environment, name: str) -> Markup:
    """Returns the content of a script's file, to be embedded unescaped."""
    return Markup(_source(loaded, name))  # the script is part of this program


def allowing(loaded: Environment, name: str) -> str:
    """Returns the content security policy of a page that loads nothing and runs no script but this one.

    The policy has the script's hash, so text that found its way into the page as markup still could not run.
    """
    digest = base64.b64encode(hashlib.sha256(_source(loaded, name).encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _source(loaded: Environment, name: str) -> str:
    assert loaded.loader is not None
    return loaded.loader.get_source(loaded, name)[0]
