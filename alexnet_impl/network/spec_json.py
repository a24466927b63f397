"""Specs as JSON: what a job hands to its worker processes, and what run folders keep."""

from collections.abc import Mapping
from typing import Any, get_args

from alexnet_impl.errors import RecordError, UnknownNameError
from alexnet_impl.network.spec import Layer, Spec
from alexnet_impl.typed_json import read, to_json

LAYER_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Layer)}


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """A Spec as values that JSON can hold: each layer with the name of its class as its kind."""
    return {
        "name": spec.name,
        "input_shape": spec.input_shape,
        "layers": layers_to_json(spec.layers),
        "skipped": spec.skipped,
    }


def spec_from_dict(values: dict[str, Any]) -> Spec:
    """The Spec that spec_to_dict() wrote.

    Raises:
        RecordError: See layers_from_json().
    """
    layers = layers_from_json(values["layers"])
    return Spec(**values | {"input_shape": tuple(values["input_shape"]), "layers": layers})


def layers_to_json(layers: tuple[Layer, ...]) -> list[dict[str, Any]]:
    """Layers as values that JSON can hold, each with the name of its class as its kind."""
    return [{"kind": type(layer).__name__, **to_json(layer)} for layer in layers]


def layers_from_json(values: object) -> tuple[Layer, ...]:
    """The layers that layers_to_json() wrote.

    Raises:
        RecordError: If they are no list of layers, or a field is missing, unknown or of another
            type.
    """
    if not isinstance(values, list | tuple):
        raise RecordError(f"layers: expected a list, got {type(values).__name__}")
    return tuple(_layer(number, layer) for number, layer in enumerate(values))


def _layer(number: int, values: object) -> Layer:
    if not isinstance(values, Mapping) or "kind" not in values:
        raise RecordError(f"layers[{number}]: expected an object with the kind of a layer")
    kind = str(values["kind"])
    if kind not in LAYER_KINDS:
        raise RecordError(str(UnknownNameError(f"kind of layers[{number}]", kind, LAYER_KINDS)))
    fields = {name: value for name, value in values.items() if name != "kind"}
    layer: Layer = read(LAYER_KINDS[kind], fields, f"layers[{number}]")
    return layer
