"""The templates of every page."""

from collections.abc import Mapping
from typing import Any

import jinja2


def render_template(name: str, context: Mapping[str, Any]) -> str:
    """A page as text; a name that the context lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet_impl.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(context)
