"""Reads weight files of either framework: the network they belong to, and their weights."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.variants import build_spec, get_variant
from alexnet_impl.typed_json import read
from alexnet_impl.weights.canonical import Weights, check_weights
from alexnet_impl.weights.file_sizes import check_holds
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, stored_info
from alexnet_impl.weights.pretrained_files import file_kind

PUBLISHED_VARIANT = "torchvision"
"""The variant whose published weights a name means, unless the user names another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Facts about a file's network from the user; None: the file has to state it."""

    variant: str | None = None
    num_classes: int | None = None
    input_size: int | None = None
    width: float | None = None


def network_info(source: Path, hints: Hints) -> WeightsInfo:
    """The network's name and numbers: from the user, otherwise from the file.

    Raises:
        UnknownNameError: If there is no such variant.
        WeightsError: If the file contradicts the user, or neither names the network.
    """
    if hints.variant is not None:
        get_variant(hints.variant)
    found = _named_in(source)
    for name, said in found.items():
        asked = getattr(hints, name, None)
        if asked is not None and asked != said:
            raise WeightsError(f"{source}: states {name}={said}, not {asked}; leave that flag out.")
    variant = hints.variant or found.get("variant")
    if variant is None:
        raise WeightsError(f"{source}: does not state its network; name it with --variant.")
    size = _first(hints.input_size, found.get("input_size"), build_spec(variant).input_shape[1])
    values = {
        "variant": variant,
        "num_classes": _first(hints.num_classes, found.get("num_classes"), 10),
        "input_size": size,
        "width": _first(hints.width, found.get("width"), 1.0),
        "input_scaling": found.get("input_scaling"),
        "resize_to": found.get("resize_to"),
        "class_names": found.get("class_names", ()),
    }
    return read(WeightsInfo, values, source)


def _first(*values: Any) -> Any:
    """The first value that is not None; a 0 is refused later."""
    return next(value for value in values if value is not None)


def _named_in(source: Path) -> dict[str, Any]:
    """Returns the network that a file states."""
    info, said = stored_info(source), {}
    if source.suffix != ".safetensors":
        said = get_framework(file_kind(source)).describe_checkpoint(source)
    if info is None:
        return said
    return asdict(info) | {"class_names": info.class_names or said.get("class_names", ())}


def read_weights(path: Path, spec: Spec) -> Weights:
    """Reads the weights of a network from a file of any kind.

    Returns:
        Arrays by canonical name, in the shapes of weight_shapes(spec).

    Raises:
        WeightsError: If the file is damaged or belongs to another network.
    """
    kind = file_kind(path)
    check_holds(path, spec)
    if kind != "safetensors":
        return get_framework(kind).read_checkpoint(path, spec)
    weights, _ = load_weights(path)
    check_weights(weights, spec, where=str(path))
    return weights
