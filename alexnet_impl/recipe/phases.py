"""Phases of a recipe: trainings in sequence, each starting from the weights of the one before."""

from dataclasses import dataclass, replace
from typing import Any

from alexnet_impl.errors import RecipeError, UnknownNameError
from alexnet_impl.recipe.recipe import Recipe, total_steps

OWN: dict[str, type] = {"epochs": int, "learning_rate": float, "trainable": str}
"""Fields that a phase may set, and their types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A range of steps of a run that share one recipe.

    Attributes:
        recipe: The recipe of these steps; it has no phases of its own.
        first_step: Index in the run, counted from 0.
        num_steps: Number of steps.
    """

    recipe: Recipe
    first_step: int
    num_steps: int


def phase_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """Returns the recipe of each phase; the recipe itself if it has no phases.

    Raises:
        RecipeError: If a phase is not FIELD=VALUE,... or a value is of another type.
        UnknownNameError: If a phase sets another field.
    """
    if not recipe.phases:
        return (recipe,)
    if recipe.steps is not None:
        raise RecipeError(
            f"steps={recipe.steps} cannot be combined with phases, which have epochs; omit it."
        )
    return tuple(replace(recipe, phases=(), **_own(text)) for text in recipe.phases)


def phases(recipe: Recipe, batches_per_epoch: int) -> tuple[Phase, ...]:
    """Returns the phases of a run, given the number of batches per epoch.

    Raises:
        RecipeError: See phase_recipes().
        UnknownNameError: See phase_recipes().
    """
    found: list[Phase] = []
    for part in phase_recipes(recipe):
        first = found[-1].first_step + found[-1].num_steps if found else 0
        steps = total_steps(part, batches_per_epoch)
        found.append(Phase(recipe=part, first_step=first, num_steps=steps))
    return tuple(found)


def num_epochs(recipe: Recipe) -> int:
    """Number of epochs of a run, summed over its phases."""
    return sum(part.epochs for part in phase_recipes(recipe))


def with_epochs_of_phases(recipe: Recipe, *, stated: bool) -> Recipe:
    """The recipe with the sum of its phases' epochs, if each of them has its own.

    Its own number of epochs has no effect then, and is `stated` only by mistake.

    Raises:
        RecipeError: If a stated number is not the sum.
    """
    if not recipe.phases or not all("epochs" in _own(text) for text in recipe.phases):
        return recipe
    if stated and recipe.epochs != num_epochs(recipe):
        raise RecipeError(
            f"epochs={recipe.epochs} has no effect, since the phases have their own, "
            f"{num_epochs(recipe)} in all; omit it, or change phases."
        )
    return replace(recipe, epochs=num_epochs(recipe))


def shorten(recipe: Recipe, most_epochs: int) -> Recipe:
    """Limits the epochs of a recipe; phases share them evenly, and each keeps at least one.

    Raises:
        RecipeError: See phase_recipes().
        UnknownNameError: See phase_recipes().
    """
    share = max(1, most_epochs // max(1, len(recipe.phases)))
    parts = phase_recipes(recipe)
    texts = tuple(
        ",".join(f"{k}={v}" for k, v in (_own(text) | {"epochs": min(part.epochs, share)}).items())
        for text, part in zip(recipe.phases, parts, strict=False)
    )
    return replace(recipe, epochs=min(recipe.epochs, most_epochs), phases=texts)


def _own(text: str) -> dict[str, Any]:
    """Parses 'epochs=2,trainable=fc2,fc3'; a comma without FIELD= continues a list."""
    parts: dict[str, str] = {}
    name = ""
    for part in text.split(","):
        field, equals, value = part.partition("=")
        if equals:
            name = field.strip().replace("-", "_")
            if name not in OWN:
                raise UnknownNameError("field of a phase", name, OWN)
            parts[name] = value.strip()
        elif name == "trainable":
            parts[name] += f",{part.strip()}"
        else:
            raise RecipeError(f"phase '{text}' must be FIELD=VALUE,..., fields {', '.join(OWN)}.")
    return {name: _value(text, name, value) for name, value in parts.items()}


def _value(text: str, name: str, value: str) -> Any:
    try:
        return OWN[name](value)
    except ValueError as error:
        raise RecipeError(
            f"phase '{text}': {name}={value} must be of type {OWN[name].__name__}."
        ) from error
