"""A recipe's phases: trainings one after the other, each with the weights of the one before."""

from dataclasses import dataclass, replace
from typing import Any

from alexnet_impl.errors import RecipeError, UnknownNameError
from alexnet_impl.recipe.recipe import Recipe, total_steps

OWN: dict[str, type] = {"epochs": int, "learning_rate": float, "trainable": str}
"""What a phase may have of its own, and its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Some steps of a run.

    Attributes:
        recipe: What holds in them; it has no phases.
        first_step: Of the run, counted from 0.
        num_steps: How many.
    """

    recipe: Recipe
    first_step: int
    num_steps: int


def phase_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipe of each phase; the recipe itself where it has none.

    Raises:
        RecipeError: If a phase is not FIELD=VALUE,... or a value cannot be.
        UnknownNameError: If a phase may not have such a field.
    """
    if not recipe.phases:
        return (recipe,)
    if recipe.steps is not None:
        raise RecipeError(f"steps={recipe.steps}: phases have epochs of their own; leave it out.")
    return tuple(replace(recipe, phases=(), **_own(text)) for text in recipe.phases)


def phases(recipe: Recipe, batches_per_epoch: int) -> tuple[Phase, ...]:
    """The phases of a run with so many batches an epoch.

    Raises:
        RecipeError: As of phase_recipes().
        UnknownNameError: As of phase_recipes().
    """
    found: list[Phase] = []
    for part in phase_recipes(recipe):
        first = found[-1].first_step + found[-1].num_steps if found else 0
        steps = total_steps(part, batches_per_epoch)
        found.append(Phase(recipe=part, first_step=first, num_steps=steps))
    return tuple(found)


def num_epochs(recipe: Recipe) -> int:
    """Epochs of a run, those of all its phases together."""
    return sum(part.epochs for part in phase_recipes(recipe))


def shorten(recipe: Recipe, most_epochs: int) -> Recipe:
    """The recipe with at most so many epochs; phases share them evenly, and each has one at least.

    Raises:
        RecipeError: As of phase_recipes().
        UnknownNameError: As of phase_recipes().
    """
    share = max(1, most_epochs // max(1, len(recipe.phases)))
    parts = phase_recipes(recipe)
    texts = tuple(
        ",".join(f"{k}={v}" for k, v in (_own(text) | {"epochs": min(part.epochs, share)}).items())
        for text, part in zip(recipe.phases, parts, strict=False)
    )
    return replace(recipe, epochs=min(recipe.epochs, most_epochs), phases=texts)


def _own(text: str) -> dict[str, Any]:
    """Values by field of 'epochs=2,trainable=head'; a comma without a field goes on with a list."""
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
