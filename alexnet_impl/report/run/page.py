"""The HTML page of runs side by side: one file that opens offline, without scripts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from alexnet_impl.errors import RunError
from alexnet_impl.network.spec import kernel_text, trace
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.figure_style import inline_svg
from alexnet_impl.report.run import plots
from alexnet_impl.report.run.command_lines import commands, nearest_recipe
from alexnet_impl.report.run.differences import comparison_rows, equalities
from alexnet_impl.report.run.first_screen import (
    accuracy_side,
    difference_side,
    machine_facts,
    speeds,
)
from alexnet_impl.report.run.groups import RunGroup, accuracy_difference, group_runs, pairs
from alexnet_impl.report.run.pictures import agreement, samples
from alexnet_impl.report.run.verdict import verdict
from alexnet_impl.report.run.views import RunView, view_runs
from alexnet_impl.report.templates import render_page, write_page
from alexnet_impl.runs.folder import RunFolder


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
    groups = group_runs(views)
    labels = " and ".join(group.label for group in groups)
    classed = plots.with_equal_classes(groups)
    context = {
        "title": title or f"{first.config.variant} on {first.dataset.name}: {labels}",
        "views": views,
        "groups": groups,
        "headline": found.headline,
        "notes": found.sentences,
        "is_settled": found.is_settled,
        "sides": [accuracy_side(group) for group in groups],
        "difference": difference_side(groups),
        "speeds": speeds(groups),
        "facts": list(_facts(groups)),
        "machine": list(machine_facts(views)),
        "checks": checks,
        "num_holding": sum(check.holds is True for check in checks),
        "rows": comparison_rows(views),
        "figures": _figures(groups),
        "classed": classed,
        "classes": _class_rows(classed),
        "agreement": agreement(groups),
        "samples": samples(views),
        "recipe": _recipe_rows(views),
        "recipe_name": _recipe_name(first.config.recipe),
        "network": trace(first.config.spec(len(first.dataset.class_names))),
        "dataset": first.dataset,
        "environments": [
            (group, list(numbers.flat(group.views[0].environment))) for group in groups
        ],
        "commands": _commands(groups),
        "kernel_text": kernel_text,
        "numbers": numbers,
        "type_name": lambda layer: type(layer).__name__,
    }
    return render_page("run/run.html.jinja", context)


def _commands(groups: Sequence[RunGroup]) -> list[str]:
    """The command of all pairs of runs, or those of all runs if they are no pairs."""
    found = pairs(groups)
    if len(found) < 2:
        return commands([view for group in groups for view in group.views])
    seeds = [first.config.recipe.seed for first, _ in found]
    each = [line for pair in found for line in commands(pair)]
    in_turn = seeds == list(range(seeds[0], seeds[0] + len(seeds))) and len(each) == len(seeds)
    return [f"{each[0]} --seeds {len(seeds)}"] if in_turn else each


def _facts(groups: Sequence[RunGroup]) -> Iterator[tuple[str, str]]:
    view = groups[0].views[0]
    recipe, config = view.config.recipe, view.config
    width = "" if config.width == 1 else f", width {config.width:g}"
    yield "variant", f"{config.variant}{width}"
    yield "data", f"{view.dataset.name}, {numbers.count(view.dataset.num_train_images)} images"
    yield "recipe", _recipe_name(config.asked_recipe)
    yield "steps", numbers.count(view.num_steps)
    yield "batch size", numbers.count(recipe.global_batch_size)
    yield "precision", recipe.precision + (" (auto)" if config.auto_precision else "")
    seeds = [str(one.config.recipe.seed) for one in groups[0].views]
    yield "seeds" if len(seeds) > 1 else "seed", ", ".join(seeds)


def _recipe_name(recipe: Recipe) -> str:
    name, differing = nearest_recipe(recipe)
    changed = f", {len(differing)} field{'s' * (len(differing) != 1)} changed"
    return name + changed if differing else name


def _figures(groups: Sequence[RunGroup]) -> dict[str, list[Markup]]:
    """Inline SVGs by their names in the template; only those that the runs have data for."""
    views = [view for group in groups for view in group.views]
    figures: dict[str, list[Figure]] = {}
    if any(view.history.step_loss for view in views):
        figures["loss"] = [plots.loss_figure(groups)]
    if any(view.history.epochs for view in views):
        figures["accuracy"] = [plots.accuracy_figure(groups)]
    if len(views) == 2 and all(view.history.step_loss for view in views):
        figures["difference"] = [plots.difference_figure(views)]
    if measured := [group for group in groups if group.accuracy is not None]:
        if len(views) > 1:
            figures["intervals"] = [plots.interval_figure(groups, accuracy_difference(groups))]
        figures["confusion"] = [plots.confusion_figure(group) for group in measured]
        figures["per_class"] = [plots.per_class_figure(plots.with_equal_classes(groups))]
    return {name: [inline_svg(figure) for figure in each] for name, each in figures.items()}


def _class_rows(measured: Sequence[RunGroup]) -> list[tuple[str, list[Any]]]:
    if not measured:
        return []
    accuracies, names = plots.class_accuracies(measured)
    return [(name, [row[k] for row in accuracies]) for k, name in enumerate(names)]


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
