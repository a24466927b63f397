"""Weights as they lie in a file: its own names and number types, and what a checkpoint has around.

A framework's adapter only opens its files safely. Which of a checkpoint's dicts holds the weights,
and what its names have in common, is found here, in NumPy.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.errors import UnknownNameError, WeightsError
from alexnet_impl.weights.canonical import Weights

MOST_NESTED = 3
"""The deepest level at which a checkpoint's state_dict is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """Arrays of a weight file under the file's own names.

    Attributes:
        arrays: In the file's order, with the axes of the canonical layout: kernels of shape
            (out, in / groups, height, width) or (out, in), biases (out,).
        types: The number types in the file, such as 'float32'; half precision is widened already.
        channels_last: Whether the features of a flattened map run channels last, as in Keras.
        notes: Phrases on what was found around the weights.
        model_name: Name of the model, where the file has one; '' otherwise.
        input_size: Height and width in pixels, where the file states them.
        class_names: One name per logit; empty if they are not known.
        ordered: Whether the file keeps its order; otherwise names decide it.
    """

    arrays: Weights
    types: frozenset[str] = frozenset()
    channels_last: bool = False
    notes: tuple[str, ...] = ()
    model_name: str = ""
    input_size: int | None = None
    class_names: tuple[str, ...] = ()
    ordered: bool = True

    def remarks(self) -> tuple[str, ...]:
        """Returns the notes, and a phrase for each number type that became float32."""
        widened = sorted(self.types & {"float16", "bfloat16"})
        narrowed = ("float64 was narrowed to float32",) if "float64" in self.types else ()
        return (*self.notes, *(f"{name} became float32" for name in widened), *narrowed)


def find_state_dict(
    content: Any, is_array: Callable[[Any], bool], key: str | None, where: str
) -> tuple[str, dict[str, Any]]:
    """Finds the one dict of arrays in a checkpoint: the checkpoint itself, or one under a key.

    Args:
        content: What the file holds.
        is_array: Tells the framework's tensors, which have an `ndim`, from other values.
        key: The key to take, such as 'model'; None: there must be only one.
        where: The file, for messages.

    Returns:
        The key, dotted where it is nested and '' for the checkpoint itself, and the arrays.

    Raises:
        WeightsError: If there is none, or there are several and no key is given.
        UnknownNameError: If there is none under the key.
    """
    if not isinstance(content, Mapping):
        raise WeightsError(f"{where}: holds a {type(content).__name__}, not a state_dict.")
    found = dict(_inner_dicts(content, is_array))
    if not found and (own := _arrays_of(content, is_array)):
        found = {"": own}
    if not found:
        keys = ", ".join(map(str, list(content)[:8])) or "none"
        raise WeightsError(
            f"{where}: holds no state_dict, neither itself nor under one of its keys ({keys:.300})."
        )
    if key is not None:
        if key not in found:
            raise UnknownNameError(f"key in {where}", key, [name for name in found if name])
        return key, found[key]
    if len(found) > 1:
        names = " and ".join(f"'{name}'" for name in found)
        place = "".join(f"[{part!r}]" for part in next(iter(found)).split("."))
        raise WeightsError(
            f"{where}: holds {len(found)} state_dicts, under {names:.300}; choose one with --key "
            "of convert, predict or evaluate, or save it alone: "
            f"torch.save(torch.load({where!r}, weights_only=True){place}, 'weights.pt')"
        )
    return next(iter(found.items()))


def _arrays_of(content: Mapping[Any, Any], is_array: Callable[[Any], bool]) -> dict[str, Any]:
    return {str(name): value for name, value in content.items() if is_array(value)}


def _inner_dicts(
    content: Mapping[Any, Any], is_array: Callable[[Any], bool], place: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the dicts below with a kernel among their arrays, by key; not an optimizer's state.

    An optimizer numbers its parameters, so only texts count as keys.
    """
    for name, inner in content.items():
        if not isinstance(name, str) or not isinstance(inner, Mapping):
            continue
        arrays = _arrays_of(inner, is_array)
        if any(isinstance(n, str) and is_array(v) and v.ndim > 1 for n, v in inner.items()):
            yield place + name, arrays
        elif place.count(".") < MOST_NESTED - 1:
            yield from _inner_dicts(inner, is_array, f"{place}{name}.")


def common_prefix(names: Collection[str]) -> str:
    """Returns the dotted prefix that all names of layers share, such as 'module._orig_mod.'.

    The name of a layer itself is never part of it.
    """
    levels = zip(*(name.split(".")[:-2] for name in names), strict=False)
    shared = takewhile(lambda parts: len(set(parts)) == 1, levels)
    return "".join(f"{parts[0]}." for parts in shared)


def strip_prefix(arrays: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns the common prefix of names, and the arrays under the names without it.

    Counters, which have no axes, do not hide a prefix: an averaged model has one beside its layers.
    """
    prefix = common_prefix([name for name, array in arrays.items() if array.ndim])
    return prefix, {name.removeprefix(prefix): array for name, array in arrays.items()}


def natural_key(name: str) -> list[Any]:
    """Returns a sort key that puts 'conv2d_2' before 'conv2d_10'."""
    parts = re.split(r"([0-9]+)", name)  # texts and numbers in turns
    return [(len(p.lstrip("0")), p.lstrip("0")) if n % 2 else p for n, p in enumerate(parts)]


def ordered_by_numbers(first: str, second: str) -> bool:
    """Whether two names of layers differ first in a number: 'a1.x' and 'a2.y', not 'a.1' and 'b.2'.

    A name may lack the number of the first: 'conv2d' and 'conv2d_1'.
    """
    for one, other in zip(first.split("."), second.split("."), strict=False):
        if one != other:
            same = re.sub(r"_?[0-9]+", "", one) == re.sub(r"_?[0-9]+", "", other)
            return same and (
                len(natural_key(one)) == len(natural_key(other)) or other.startswith(one)
            )
    return False


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Returns the float32 numbers, in the same shape, whose upper halves are these bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
