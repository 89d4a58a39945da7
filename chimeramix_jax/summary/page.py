"""A summary as a self-contained HTML page, which needs no network."""

import jinja2

from chimeramix_jax.summary import curves, tables
from chimeramix_jax.summary.comparison import Summary
from chimeramix_jax.summary.trials import Status


def html(summary: Summary, title: str, svg: bytes | None) -> str:
    """Returns the page as HTML, with the curves from ``curves.svg``, if any."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chimeramix_jax.summary", "."),
        autoescape=True,  # names and paths come from the user
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        totals=tables.totals(summary),
        picture=None if svg is None else _inline(svg),
        sections=[
            {
                "title": section.title,
                "overview": tables.overview(section, summary),
                "seeds": tables.every_seed(section),
            }
            for section in summary.sections
        ],
        notes=tables.notes(summary),
        explanation=tables.EXPLANATION,
        environments=tables.environments(summary),
        statuses=[str(status) for status in Status if status != Status.FINISHED],
    )


def _inline(svg: bytes) -> str:
    """Returns the SVG element of a picture, in the colours of the page."""
    text = svg.decode()
    element = text[text.index("<svg") :]  # HTML does not allow the XML declaration
    return element.replace(curves.INK, "currentColor").replace(curves.FAINT, "var(--rule)")
