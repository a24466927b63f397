"""Specs and prepared runs as JSON: what a job hands down to its worker processes."""

from typing import Any, get_args

from alexnet_impl.network.spec import Layer, Spec
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.pretrained_files import Pretrained

LAYER_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Layer)}


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """A Spec as values that JSON can hold: each layer with the name of its class as its kind."""
    layers = [{"kind": type(layer).__name__, **to_json(layer)} for layer in spec.layers]
    return {
        "name": spec.name,
        "input_shape": spec.input_shape,
        "layers": layers,
        "skipped": spec.skipped,
    }


def spec_from_dict(values: dict[str, Any]) -> Spec:
    """The Spec that spec_to_dict() wrote."""
    layers = []
    for layer in values["layers"]:
        fields = {name: value for name, value in layer.items() if name != "kind"}
        layers.append(read(LAYER_KINDS[layer["kind"]], fields))
    shape = tuple(values["input_shape"])
    return Spec(**values | {"input_shape": shape, "layers": tuple(layers)})


def run_to_dict(run: PreparedRun) -> dict[str, Any]:
    """A prepared run as values that JSON can hold."""
    return {
        "config": run.config.to_dict(),
        "spec": spec_to_dict(run.spec),
        "given": to_json(run.given),
    }


def run_from_dict(values: dict[str, Any]) -> PreparedRun:
    """The prepared run that run_to_dict() wrote.

    Raises:
        AlexNetError: If a field is missing, unknown, of another type or out of range.
    """
    given = values["given"]
    return PreparedRun(
        config=RunConfig.from_dict(values["config"]),
        spec=spec_from_dict(values["spec"]),
        given=None if given is None else read(Pretrained, given),
    )
