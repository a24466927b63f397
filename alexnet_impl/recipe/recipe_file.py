"""Recipes of the user's own: TOML files with the fields of a Recipe, chosen by --recipe FILE.toml.

base = "quick"              # a named recipe whose other fields hold; optional
epochs = 3
step_at = [0.5, 0.8]
clip_norm = "none"          # TOML has no null
phases = [{epochs = 1, trainable = "head"}, {epochs = 2, learning_rate = 0.001}]
"""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from alexnet_impl.errors import AlexNetError, RecipeError, UnknownNameError, require_home
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import Recipe

SUFFIX = ".toml"
BASE = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRecipe:
    """The recipe that a name or a file stands for.

    Attributes:
        recipe: Every number of a training.
        stated: Fields that the file states; none for a named recipe.
    """

    recipe: Recipe
    stated: tuple[str, ...] = ()


def choose_recipe(name: str) -> ChosenRecipe:
    """Returns the named recipe, or that of a file that ends in .toml.

    Raises:
        UnknownNameError: If no recipe has that name; the message suggests the nearest.
        RecipeError: If the file is missing, is no TOML, or states an unknown field or a value that
            is not valid; the message names the file.
    """
    if not name.endswith(SUFFIX):
        return ChosenRecipe(recipe=get_recipe(name))
    with require_home("give the absolute path of the recipe"):
        path = Path(name).expanduser()
    values = _read_toml(path)
    try:
        return _chosen(values)
    except AlexNetError as error:
        raise RecipeError(f"{path}: {error}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: there is no such file; --recipe takes a name too.") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:  # TOML or UTF-8 that is not valid
        raise RecipeError(f"{path}: is no TOML ({error}).") from error


def _chosen(values: dict[str, Any]) -> ChosenRecipe:
    base = values.pop(BASE, None)
    if base is not None and not isinstance(base, str):
        raise RecipeError(f"base={base!r}: must be the name of a recipe.")
    start = Recipe() if base is None else get_recipe(base)
    hints = get_type_hints(Recipe)
    known = [field.name for field in fields(Recipe)]
    stated: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UnknownNameError("recipe field", key, [BASE, *known])
        stated[name] = _value(name, value, hints[name])
    recipe = Recipe.from_dict(start.to_dict() | stated)
    phase_recipes(recipe)
    return ChosenRecipe(recipe=recipe, stated=tuple(stated))


def _value(name: str, value: Any, hint: Any) -> Any:
    """A value of TOML as a Recipe has it: "none" for None, a table as FIELD=VALUE,..."""
    if value == "none" and type(None) in getattr(hint, "__args__", ()):
        return None
    if isinstance(value, list):
        return [_text(item) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict) and name == "rate_factors":
        return [f"{layer}={factor}" for layer, factor in value.items()]
    return value


def _text(table: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in table.items())
