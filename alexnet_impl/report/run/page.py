"""The HTML page of runs side by side: one file that opens offline, without scripts."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from alexnet_impl.errors import RunError
from alexnet_impl.network.spec import kernel_text, trace
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.figure_style import GRID, INK, MUTED, png_data_uri, to_svg
from alexnet_impl.report.run import plots
from alexnet_impl.report.run.command_lines import commands, nearest_recipe
from alexnet_impl.report.run.differences import comparison_rows, equalities, other_work_note
from alexnet_impl.report.run.verdict import SPEED_NOTE, verdict
from alexnet_impl.report.run.views import RunView, view_runs, with_predictions
from alexnet_impl.report.templates import render_page, write_page
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import Predictions

_MAX_IMAGE_SIDE = 128
"""Larger sample images are shrunk, so that the page stays small."""


def write_report(path: Path, runs: Sequence[RunFolder], title: str | None = None) -> None:
    """Write the page of one run or of several, whole or not at all.

    Args:
        path: The .html file.
        runs: In the order of their columns; unfinished runs are shown up to their last step.
        title: By default the variant, the dataset and the frameworks.

    Raises:
        RunError: If no run is given, a run folder is damaged, or the file cannot be written.
    """
    if not runs:
        raise RunError(f"{path}: a report needs at least one run; none was given.")
    write_page(path, render(view_runs(runs), title))


def render(views: Sequence[RunView], title: str | None = None) -> str:
    """Render the page as HTML text."""
    first, found, checks = views[0], verdict(views), equalities(views)
    labels = " and ".join(view.label for view in views)
    classed = plots.with_equal_classes(views)
    context = {
        "title": title or f"{first.config.variant} on {first.dataset.name}: {labels}",
        "views": views,
        "headline": found.headline,
        "notes": found.sentences,
        "is_settled": found.is_settled,
        "run_colours": [view.colour for view in views],
        "speed_note": SPEED_NOTE,
        "other_work_note": other_work_note(views),
        "facts": list(_facts(first)),
        "checks": checks,
        "num_holding": sum(check.holds is True for check in checks),
        "rows": comparison_rows(views),
        "figures": _figures(views),
        "classed": classed,
        "classes": _class_rows(classed),
        "samples": _samples(views),
        "recipe": _recipe_rows(views),
        "recipe_name": _recipe_name(first.config.recipe),
        "network": trace(first.config.spec(len(first.dataset.class_names))),
        "dataset": first.dataset,
        "environments": [(view, list(_flat(view.environment))) for view in views],
        "commands": commands(views),
        "kernel_text": kernel_text,
        "numbers": numbers,
        "type_name": lambda layer: type(layer).__name__,
    }
    return render_page("run/run.html.jinja", context)


def _facts(view: RunView) -> Iterator[tuple[str, str]]:
    recipe, config = view.config.recipe, view.config
    width = "" if config.width == 1 else f", width {config.width:g}"
    yield "variant", f"{config.variant}{width}"
    yield "data", f"{view.dataset.name}, {numbers.count(view.dataset.num_train_images)} images"
    yield "recipe", _recipe_name(config.asked_recipe)
    yield "steps", numbers.count(view.num_steps)
    yield "batch size", numbers.count(recipe.global_batch_size)
    yield "precision", recipe.precision + (" (auto)" if config.auto_precision else "")
    yield "seed", str(recipe.seed)


def _recipe_name(recipe: Recipe) -> str:
    name, differing = nearest_recipe(recipe)
    changed = f", {len(differing)} field{'s' * (len(differing) != 1)} changed"
    return name + changed if differing else name


def _figures(views: Sequence[RunView]) -> dict[str, Markup]:
    """Inline SVGs by their names in the template; only those that the runs have data for."""
    figures: dict[str, Figure] = {}
    if any(view.history.step_loss for view in views):
        figures["loss"] = plots.loss_figure(views)
    if any(view.history.epochs for view in views):
        figures["accuracy"] = plots.accuracy_figure(views)
    if len(views) == 2 and all(view.history.step_loss for view in views):
        figures["difference"] = plots.difference_figure(views)
    if any(view.predictions is not None for view in views):
        figures["bars"] = plots.accuracy_bars(views)
        figures["confusion"] = plots.confusion_figure(views)
        figures["per_class"] = plots.per_class_bars(views)
    return {name: _themed(to_svg(figure), views) for name, figure in figures.items()}


def _themed(svg: str, views: Sequence[RunView]) -> Markup:
    """The figure with the page's typeface and the colours of its light or dark theme."""
    names = {INK: "ink", MUTED: "muted", GRID: "line"}
    names |= {view.colour: f"run-{index}" for index, view in enumerate(views)}
    for colour, name in names.items():
        svg = svg.replace(f": {colour}", f": var(--{name}, {colour})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    return Markup(svg)  # noqa: S704 - matplotlib has escaped the text in it


def _class_rows(measured: Sequence[RunView]) -> list[tuple[str, list[Any]]]:
    if not measured:
        return []
    accuracies, names = plots.class_accuracies(measured)
    return [(name, [row[k] for row in accuracies]) for k, name in enumerate(names)]


def _samples(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """The images stored by the first finished run, with every run's predictions for them."""
    measured = with_predictions(views)
    if not measured:
        return []
    first, shown = measured[0]
    same = [one for one in measured if one[0].dataset.fingerprint == first.dataset.fingerprint]
    names = first.dataset.class_names
    return [
        {
            "data_uri": _png_data_uri(image),
            "class_name": names[shown.labels[index]],
            "predictions": [_prediction(*one, int(index)) for one in same],
        }
        for index, image in zip(shown.sample_indices, shown.sample_images, strict=True)
    ]


def _prediction(view: RunView, predictions: Predictions, index: int) -> dict[str, Any]:
    probabilities = predictions.probabilities[index]
    predicted = int(probabilities.argmax())
    return {
        "view": view,
        "class_name": view.dataset.class_names[predicted],
        "probability": f"{probabilities[predicted]:.1%}",
        "is_correct": predicted == int(predictions.labels[index]),
    }


def _png_data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image of shape (height, width, 3) as a PNG data URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((_MAX_IMAGE_SIDE, _MAX_IMAGE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return png_data_uri(buffer.getvalue())


def _recipe_rows(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """One row per recipe field: the value of each run (once if all are equal) and the default."""
    defaults = Recipe().to_dict()
    recipes = [view.config.recipe.to_dict() for view in views]
    rows = []
    for name, usual in defaults.items():
        values = [recipe[name] for recipe in recipes]
        differs = any(value != values[0] for value in values)
        texts = [numbers.value_text(value) for value in values]
        rows.append(
            {
                "name": name,
                "value": " | ".join(texts) if differs else texts[0],
                "default": numbers.value_text(usual),
                "changed": any(value != usual for value in values),
                "differs": differs,
            }
        )
    return rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a nested mapping as rows, their keys joined by dots."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif name.endswith("_bytes") and isinstance(value, int):
            yield name.removesuffix("_bytes"), numbers.mebibytes(value)
        else:
            yield name, numbers.value_text(value)
