"""HTML pages: Jinja templates that extend one base page, rendered and written as one file.

base.html.jinja holds the frame and the style, macros.html.jinja the tables and figures that several
pages share. The template of each page fills the base's blocks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from alexnet_impl.errors import RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.report.printing import printable


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """Render a page as printable text; a variable that the context lacks is an error.

    Args:
        template: Path of the template below this folder, such as 'run/run.html.jinja'.
        context: Values of the template's variables and of the base page's: title, headline, notes.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet_impl.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return printable(environment.get_template(template).render(context))


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
