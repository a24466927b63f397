"""The page of a parity comparison: every check, the loss curves, the request and the machine."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.record import CheckResult, LayerDifference, MinimalPair, ParityRecord
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.figure_style import inline_svg, write_figure
from alexnet_impl.report.formatting import flat
from alexnet_impl.report.parity.lockstep_figure import lockstep_figure
from alexnet_impl.report.parity.terminal import failure_line, minimal_pair_line
from alexnet_impl.report.templates import BigFigure, render_page, write_page

_NOTE = (
    "A check holds if the largest difference is at most the one that rounding explains. Causes are "
    "sought by applying known mistakes to the other framework."
)

LONG = 1e7
"""Multiples of a tolerance from here on are shown as powers of ten."""


def write_parity_pictures(folder: Path, record: ParityRecord) -> None:
    """Write parity.html, and lockstep.png with the loss curves, where there are any.

    Raises:
        RunError: If a file cannot be written.
    """
    figure = lockstep_figure(record) if record.series else None
    if figure is not None:
        write_figure(folder / "lockstep.png", figure)
    write_parity_page(folder / "parity.html", record, figure)


def write_parity_page(path: Path, record: ParityRecord, figure: Figure | None) -> None:
    """Write the page of a record, whole or not at all.

    Args:
        path: The .html file.
        record: The comparison, which may have stopped at a mismatch.
        figure: Its loss curves; None if it has none.

    Raises:
        RunError: If the file cannot be written.
    """
    request = dict(flat(record.request))
    own = "" if "torch" in request else "preprocessing."
    what = (
        request.get("variant")
        or f"{request.get(own + 'torch')} and {request.get(own + 'tensorflow')}"
    )
    context = {
        "title": f"Parity of PyTorch and TensorFlow: {what}",
        "headline": _headline(record),
        "notes": [_NOTE],
        "holds": record.holds,
        "figures": list(_big(record)),
        "checks": [_row(check) for check in record.checks],
        "files": list(_files(record)),
        "steps": list(_steps(record)),
        "pair": record.minimal_pair and _pair(record.minimal_pair),
        "image": None if figure is None else inline_svg(figure),
        "request": list(request.items()),
        "environment": list(flat(record.environment)),
    }
    write_page(path, render_page("parity/parity.html.jinja", context))


def _headline(record: ParityRecord) -> str:
    if record.holds:
        return f"PyTorch and TensorFlow compute the same: all {len(record.checks)} checks hold"
    return failure_line(record)


def _big(record: ParityRecord) -> Iterator[BigFigure]:
    """The number of checks that hold, and the check that comes closest to its tolerance."""
    held = sum(check.holds for check in record.checks)
    yield BigFigure(label="checks that hold", value=f"{held} of {len(record.checks)}")
    measured = [check for check in record.checks if check.tolerance > 0]
    if measured:
        closest = max(measured, key=_share)
        share = _share(closest)
        yield BigFigure(
            label="largest difference",
            value=f"{100 * share:.3g}%" if share <= 1 else _times(share),
            unit="of its tolerance" if share <= 1 else "times its tolerance",
            details=(f"{closest.name} {closest.precision}".strip(),),
        )


def _times(share: float) -> str:
    return f"{share:,.0f}" if share < LONG else f"{share:.1e}"


def _share(check: CheckResult) -> float:
    """Measured difference as a share of the tolerance; a NaN counts as the largest."""
    share = check.measured / check.tolerance
    return share if share == share else float("inf")  # noqa: PLR0124 - NaN equals nothing


def _pair(pair: MinimalPair) -> dict[str, Any]:
    return {"said": minimal_pair_line(pair), "files": pair.files, "command": pair.command}


def _row(check: CheckResult) -> dict[str, Any]:
    return {
        "holds": check.holds,
        "name": check.name,
        "precision": check.precision or numbers.MISSING,
        "measured": f"{check.measured:.1e}",
        "tolerance": f"{check.tolerance:.1e}",
        "where": "" if check.holds else f"at {check.where or 'every value'}",
        "reason": check.reason,
        "causes": [str(cause) for cause in check.causes],
        "notes": check.notes,
    }


def _files(record: ParityRecord) -> Iterator[dict[str, Any]]:
    """The image files of two preprocessing functions, that with the largest difference first."""
    check = next((check for check in record.checks if check.name == "preprocessing"), None)
    for name, difference in sorted(record.files.items(), key=lambda item: -item[1]):
        equal = check is not None and difference <= check.tolerance
        yield {"equal": equal, "name": name, "difference": f"{difference:.1e}"}


def _steps(record: ParityRecord) -> Iterator[dict[str, Any]]:
    """The layers of a user's two models in their order: equal ones, the first mismatch, the rest.

    A record without layers has none.
    """
    check = next((check for check in record.checks if check.name == "layers"), None)
    if check is None:
        return
    found = False
    for equal, group in groupby(record.layers, key=lambda one: one.worst <= check.tolerance):
        layers = [_layer(layer, equal=equal) for layer in group]
        if not equal and not found:
            found = True
            yield {"layers": layers[:1], "causes": _causes(record), "title": "", "equal": False}
            layers = layers[1:]
        if layers:
            said = "equal" if equal else "after it"
            title = f"{len(layers)} layer{'s' if len(layers) > 1 else ''} {said}"
            yield {"layers": layers, "causes": [], "title": title, "equal": equal}


def _causes(record: ParityRecord) -> list[str]:
    checks = (check for check in record.failures if check.name in ("layers", "logits"))
    return [str(cause) for check in checks for cause in check.causes]


def _layer(layer: LayerDifference, *, equal: bool) -> dict[str, Any]:
    largest = layer.largest
    return {
        "equal": equal,
        "sides": {name: (layer.names[name], layer.before[name]) for name in FRAMEWORKS},
        "input": None if layer.input is None else f"{layer.input:.1e}",
        "output": f"{layer.output:.1e}",
        "largest": largest and [(name, f"{value:.6g}") for name, value in largest.values.items()],
        "index": largest and ", ".join(map(str, largest.index)),
    }
