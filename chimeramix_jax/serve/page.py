"""Renders the page on which photos are classified."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chimeramix_jax.reporting import web_page
from chimeramix_jax.use.prediction_formats import MOST_CLASSES, NONE_OF_THESE

_MOST_NAMED = 12  # classes in the introduction; more are folded away
_SHARED_STYLES = ("base.css.jinja", "mistakes.css.jinja")  # of the report
_SCRIPT = "page.js"


@dataclass(frozen=True)
class Page:
    """The page, and the content security policy that it needs."""

    html: str
    policy: str


def render(
    title: str,
    class_names: Sequence[str],
    megabytes: int,
    reject_below: float | None,
    without_nearest: str | None,
    *,
    calibrated: bool,
) -> Page:
    """Renders the page of a classifier.

    Args:
        title: the name of the run or the model file.
        class_names: the classes, in the order of the logits.
        megabytes: how large the file of a photo may be.
        reject_below: photos whose most probable class has a lower probability are "none of these"; None: no photo is.
        without_nearest: why no nearest training images are shown, in a sentence; None: they are shown.
        calibrated: whether the run has a temperature.
    """
    shared = web_page.environment("chimeramix_jax.report", "templates")
    own = web_page.environment("chimeramix_jax.serve", ".")
    styles = Markup("\n".join(shared.get_template(name).render() for name in _SHARED_STYLES))
    html = own.get_template("page.html.jinja").render(
        title=title,
        class_names=class_names,
        most_named=_MOST_NAMED,
        megabytes=megabytes,
        reject_below=reject_below,
        none_of_these=NONE_OF_THESE,
        most_classes=MOST_CLASSES,
        without_nearest=without_nearest,
        calibrated=calibrated,
        shared_styles=styles,
    )
    # The page may ask its own server, and nothing else; no other site may show it in a frame.
    own_server = "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return Page(html, f"{web_page.allowing(own, _SCRIPT)}; {own_server}")
