"""Command lines that repeat the runs of a report."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from alexnet_impl.recipe.named import RECIPES, TRANSFER_RECIPES
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.run.views import RunView
from alexnet_impl.runs.config import RunConfig


def commands(views: Sequence[RunView]) -> list[str]:
    """One `alexnet compare` if only frameworks differ, otherwise one `alexnet train` per run."""
    options = [shlex.join(_options(view.config)) for view in views]
    frameworks = [view.config.framework for view in views]
    if len(views) > 1 and len(set(options)) == 1 and len(set(frameworks)) == len(frameworks):
        return [f"alexnet compare {options[0]}"]
    return [
        f"alexnet train --framework {shlex.quote(framework)} {chosen}"
        for framework, chosen in zip(frameworks, options, strict=True)
    ]


def nearest_recipe(recipe: Recipe) -> tuple[str, list[str]]:
    """The named recipe with the fewest differing fields, and their names; the seed is ignored."""
    differing = {
        name: _differing(recipe, named) for name, named in (RECIPES | TRANSFER_RECIPES).items()
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    return nearest, differing[nearest]


def _differing(recipe: Recipe, named: Recipe) -> list[str]:
    names = [entry.name for entry in fields(Recipe) if entry.name != "seed"]
    return [name for name in names if getattr(recipe, name) != getattr(named, name)]


def _options(config: RunConfig) -> Iterator[str]:
    own = "" if config.network is None else "FILE.py:"  # run folders keep no path of it
    yield from ("--variant", f"{own}{config.variant}")
    yield from ("--width", f"{config.width:g}")
    for name, value in config.data.to_dict().items():
        if value is not None and value != ():
            yield from _field_option(name, value)
    if config.weights is not None:
        yield from ("--weights", config.weights)
    if config.cache_features:
        yield "--cache-features"
    name, differing = nearest_recipe(config.recipe)
    yield from ("--recipe", name, "--seed", str(config.recipe.seed))
    for field in differing:
        yield from _field_option(f"recipe.{field}", getattr(config.recipe, field))
    yield from ("--device", config.device)
    if config.threads is not None:
        yield from ("--threads", str(config.threads))
    if config.on_collapse != "warn":
        yield from ("--on-collapse", config.on_collapse)


def _field_option(name: str, value: Any) -> Iterator[str]:
    match value:
        case bool():
            prefix, _, field = _kebab(name).rpartition(".")
            yield f"--{prefix}.{'' if value else 'no-'}{field}"
        case tuple():
            yield f"--{_kebab(name)}"
            yield from (str(item) for item in value)
        case _:
            yield from (f"--{_kebab(name)}", str(value))


def _kebab(name: str) -> str:
    return name.replace("_", "-")
