"""HTML pages: Jinja templates that extend one base page, rendered and written as one file.

base.html.jinja holds the frame and the style, macros.html.jinja the tables and figures that several
pages share. The template of each page fills the base's blocks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from alexnet_impl.errors import RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.report.formatting import COLOURS, shade_variable
from alexnet_impl.report.printing import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class BigFigure:
    """One figure in large type on the first screen of a page.

    Attributes:
        label: Its name, above it.
        value: The figure.
        unit: Its unit, in small type beside it.
        details: Muted lines below it.
        colour: '#rrggbb' of COLOURS for a side; '' for a difference or ratio of two sides.
    """

    label: str
    value: str
    unit: str = ""
    details: tuple[str, ...] = ()
    colour: str = ""


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """Render a page as printable text; a variable that the context lacks is an error.

    Args:
        template: Path of the template below this folder, such as 'run/run.html.jinja'.
        context: Values of the template's variables and of the base page's: title,
            headline, notes.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet_impl.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shades"] = {
        shade_variable(shade): shade for shades in COLOURS.values() for shade in shades
    }
    environment.filters |= {"headings": headings, "shade": shade_variable, "code": code}
    return printable(environment.get_template(template).render(context))


def headings(html: str) -> list[tuple[str, str]]:
    """The id and the text of every heading with an id, for the table of contents."""
    found = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', html, re.DOTALL)
    return [(name, Markup(text).striptags()) for name, text in found]  # noqa: S704 - a template's


def code(text: str) -> Markup:
    """A sentence, escaped, with what stands between backticks as code."""
    marked = re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(marked)  # noqa: S704 - escaped just before


def write_page(path: Path, html: str, png: bytes | None = None) -> None:
    """Write a page, and its figure as a PNG beside it where one is given, each whole or not at all.

    Raises:
        RunError: If the file cannot be written.
    """
    try:
        if png is not None:
            write_bytes(path.with_suffix(".png"), png)
        write_bytes(path, html.encode())
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}).") from error
