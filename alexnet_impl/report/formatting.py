"""Text of numbers and framework names, the same in a terminal, on a page and in a figure."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from alexnet_impl.stats.accuracy import Accuracy

MISSING = "—"
"""Shown in place of a number that a run does not have."""

FRAMEWORK_LABELS = {"torch": "PyTorch", "tensorflow": "TensorFlow"}

COLOURS: dict[str, tuple[str, ...]] = {
    "torch": ("#ee4c2c", "#b7791f", "#9d4edd"),
    "tensorflow": ("#1f77b4", "#0f9b8e", "#6c757d"),
}
"""The colour of each framework; the second and third are for further runs of one framework.
Orange-red and blue also differ for colour-blind eyes."""


def shade_variable(colour: str) -> str:
    """The page's variable for a colour of COLOURS: 'shade-ee4c2c' for '#ee4c2c'."""
    return f"shade-{colour.removeprefix('#')}"


def framework_label(framework: str) -> str:
    """The name that a framework gives itself: 'PyTorch' for 'torch'."""
    return FRAMEWORK_LABELS.get(framework, framework)


def percent(share: float) -> str:
    """A share as '95.28%'."""
    return f"{share:.2%}"


def accuracy_text(accuracy: Accuracy) -> str:
    """An accuracy with its 95 % interval."""
    return f"{percent(accuracy.value)} [{percent(accuracy.low)}, {percent(accuracy.high)}]"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return signed(100 * difference, 2)


def loss_text(loss: float) -> str:
    """A loss with four decimals."""
    return f"{loss:.4f}"


def loss_difference(first: float, second: float) -> str:
    """The first loss minus the second, with its sign."""
    return signed(first - second, 4)


def signed(value: float, decimals: int) -> str:
    """A difference with its sign; one that rounds to 0 has none."""
    rounded = round(value, decimals)
    return f"{rounded:+.{decimals}f}" if rounded else f"{0:.{decimals}f}"


def seconds(time_s: float) -> str:
    """A duration in seconds, with minutes beside them from two minutes on."""
    if time_s < 10:
        return f"{time_s:.3f} s"
    if time_s < 120:
        return f"{time_s:.1f} s"
    minutes, rest = divmod(round(time_s), 60)
    return f"{time_s:,.0f} s ({minutes} min {rest} s)"


def rate(images_per_second: float) -> str:
    """Images per second."""
    return f"{images_per_second:,.0f}" if images_per_second >= 100 else f"{images_per_second:.1f}"


def mebibytes(num_bytes: int) -> str:
    """Memory in MiB."""
    return f"{num_bytes / 2**20:,.0f} MiB"


def ratio(first: float, second: float) -> str:
    """The first over the second, as '0.69x'."""
    return f"{first / second:.2f}x" if second > 0 and math.isfinite(first) else MISSING


def count(number: int) -> str:
    """A number with its thousands set apart."""
    return f"{number:,}"


def shape(sizes: tuple[int, ...]) -> str:
    """(96, 55, 55) as '96 x 55 x 55'."""
    return " x ".join(str(size) for size in sizes)


def value_text(value: Any) -> str:
    """A recipe's or an environment's value as a person writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(value_text(item) for item in value) or "none"
        case _:
            return str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a nested mapping as rows, their keys joined by dots."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif name.endswith("_bytes") and isinstance(value, int):
            yield name.removesuffix("_bytes"), mebibytes(value)
        else:
            yield name, value_text(value)
