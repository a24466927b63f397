"""Dataclasses from the plain values that JSON has, with every field's type checked."""

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")


def from_plain(kind: type[Kind], values: object) -> Kind:
    """The dataclass with these fields; lists become the tuples, objects the dataclasses they were.

    Raises:
        TypeError: In words, if fields are missing, unknown or of another type.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{reprlib.repr(values)} instead of {kind.__name__}'s fields")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in values if name not in known]:
        raise TypeError(f"{kind.__name__} has no field {unknown[0]!r}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise TypeError(f"{name} of {kind.__name__} is missing")
    hints = get_type_hints(kind)
    return kind(**{name: _value(name, value, hints[name]) for name, value in values.items()})


def _value(name: str, value: object, hint: Any) -> object:
    found = _revived(value, hint)
    if not fits(found, hint):
        raise TypeError(f"{name}={reprlib.repr(value)} must be of type {type_name(hint)}")
    return found


def _revived(value: object, hint: Any) -> object:
    """What JSON made a list or an object of, as far as it can be told."""
    if get_origin(hint) is UnionType:
        option = next(option for option in get_args(hint) if option is not type(None))
        return value if value is None else _revived(value, option)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_plain(hint, value)
    if get_origin(hint) is list and isinstance(value, list):
        return [_revived(item, get_args(hint)[0]) for item in value]
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    return value


def type_name(hint: Any) -> str:
    """A type hint in words."""
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of the type that a hint names; ints are floats too, and bools neither."""
    if get_origin(hint) is UnionType:
        return any(fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float or hint is int:
        numbers = (float, int) if hint is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    if get_origin(hint) in (tuple, list, dict):
        return isinstance(value, get_origin(hint)) and _items_fit(value, hint)
    return not isinstance(hint, type) or isinstance(value, hint)


def _items_fit(value: Any, hint: Any) -> bool:
    kinds = get_args(hint)
    if isinstance(value, dict):
        return all(fits(k, kinds[0]) and fits(v, kinds[1]) for k, v in value.items())
    if isinstance(value, tuple) and kinds[-1] is not Ellipsis:
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    return all(fits(item, kinds[0]) for item in value)
