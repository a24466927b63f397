"""Matplotlib figures of every page: one style and palette, as PNG or as inline SVG.

Figures are made without pyplot: no window opens, and the caller's matplotlib settings stay as they
are. Text stays text in an SVG, so that it can be searched and takes the page's typeface.
"""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from alexnet_impl.files import write_bytes
from alexnet_impl.report.formatting import COLOURS, shade_variable

INK = "#24292f"
"""Text and axes."""
MUTED = "#6e7781"
"""Tick labels and explanations."""
GRID = "#d8dee4"
"""Grid lines."""
WRONG = "#cf222e"
"""What does not hold."""
LEAST_SHOWN = 1e-17
"""Where a difference of 0 is drawn on a logarithmic axis."""

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "alexnet_impl",
    "text.color": INK,
    "text.parse_math": False,  # a class may be named '$'
    "xtick.color": MUTED,
    "xtick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.color": MUTED,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Applies the style of all figures; needed while a figure is made and while it is drawn."""
    with mpl.rc_context():
        mpl.rcdefaults()  # not the caller's matplotlibrc
        mpl.rcParams.update(_STYLE)
        yield


def scale_logarithmically(axes: Axes) -> None:
    """Make the y axis logarithmic, with labels such as 1e-06 that need no math text."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    axes.yaxis.set_minor_locator(NullLocator())


def figure_png(figure: Figure, dpi: float | str = "figure") -> bytes:
    """The bytes of a PNG file, the same for the same figure."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    write_bytes(path, figure_png(figure, dpi=110))


def png_data_uri(png: bytes) -> str:
    """A PNG file's bytes as a data URI, for the src of an <img>."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def inline_svg(figure: Figure) -> Markup:
    """An <svg> element with the page's typeface and the colours of its light or dark theme."""
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", to_svg(figure))  # HTML needs no namespaces
    names = {INK: "ink", MUTED: "muted", GRID: "line", WRONG: "bad"}
    names |= {shade: shade_variable(shade) for shades in COLOURS.values() for shade in shades}
    for colour, name in names.items():
        svg = svg.replace(f": {colour}", f": var(--{name}, {colour})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    return Markup(svg)  # noqa: S704 - matplotlib has escaped the text in it


def to_svg(figure: Figure) -> str:
    """An <svg> element, the same for the same figure; its ids differ from every other figure's."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with house_style():
        figure.savefig(buffer, format="svg", metadata=nothing, facecolor="none")
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # A <style> inside an inline SVG would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
    prefix = f"f{hashlib.sha256(svg.encode()).hexdigest()[:10]}-"
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
