"""The text of a side: FRAMEWORK[,workload=WORKLOAD][,FIELD=VALUE...], with fields of the recipe."""

from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_type_hints

from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a benchmark, as its text says it.

    Attributes:
        framework: 'torch' or 'tensorflow'.
        workload: Its own workload; None: that of the benchmark.
        own: Fields of the recipe that differ for this side.
    """

    framework: str
    workload: str | None
    own: dict[str, Any]

    def recipe(self, base: Recipe) -> Recipe:
        """The recipe of this side."""
        return replace(base, **self.own)  # at once: one field may need another


def parse_side(text: str) -> Side:
    """Reads the text of a side.

    Raises:
        UnknownNameError: If the framework, the workload or a field is unknown.
        RunError: If a part is neither workload=WORKLOAD nor FIELD=VALUE.
    """
    framework, *changes = text.split(",")
    if framework not in FRAMEWORKS:
        raise UnknownNameError("framework", framework, FRAMEWORKS)
    workload, own = None, dict[str, Any]()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise RunError(f"{text}: {change!r} must be workload=WORKLOAD or FIELD=VALUE.")
        if name == "workload":
            get_workload(value)
            workload = value
        else:
            own[_field(name)] = _value(name, value)
    return Side(framework=framework, workload=workload, own=own)


def _field(name: str) -> str:
    known = [field.name for field in fields(Recipe)]
    if (field := name.replace("-", "_")) not in known:
        raise UnknownNameError("recipe field", name, known)
    return field


def _value(name: str, text: str) -> Any:
    """The value of a field of the Recipe, from its text."""
    hint = get_type_hints(Recipe)[_field(name)]
    kinds = get_args(hint) or (hint,)
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    return text
