"""Specs and prepared runs as JSON: what a job hands down to its worker processes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from alexnet_impl.network.spec import Layer, Spec
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.weights.pretrained_files import Preprocessing, Pretrained

LAYER_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Layer)}


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """A Spec as values that JSON can hold."""
    layers = [{"kind": type(layer).__name__, **asdict(layer)} for layer in spec.layers]
    return {
        "name": spec.name,
        "input_shape": spec.input_shape,
        "layers": layers,
        "skipped": spec.skipped,
    }


def spec_from_dict(values: dict[str, Any]) -> Spec:
    """The Spec that spec_to_dict() wrote."""
    layers = []
    for entry in values["layers"]:
        numbers = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        kind = str(numbers.pop("kind"))
        layers.append(LAYER_KINDS[kind](**numbers))
    return Spec(
        name=values["name"],
        input_shape=tuple(values["input_shape"]),
        layers=tuple(layers),
        skipped=values["skipped"],
    )


def run_to_dict(run: PreparedRun) -> dict[str, Any]:
    """A prepared run as values that JSON can hold."""
    given = run.given
    files = {} if given is None else {"path": given.path, "converted": given.converted}
    return {
        "config": run.config.to_dict(),
        "spec": spec_to_dict(run.spec),
        "given": given
        and {
            "name": given.name,
            "preprocessing": given.preprocessing and asdict(given.preprocessing),
            **{name: path and str(path.resolve()) for name, path in files.items()},
        },
    }


def run_from_dict(values: dict[str, Any]) -> PreparedRun:
    """The prepared run that run_to_dict() wrote.

    Raises:
        KeyError: If a part is missing.
        TypeError: If a field is missing, unknown or of another type.
    """
    return PreparedRun(
        config=RunConfig.from_dict(values["config"]),
        spec=spec_from_dict(values["spec"]),
        given=values["given"] and _given(values["given"]),
    )


def _given(values: dict[str, Any]) -> Pretrained:
    fed, converted = values["preprocessing"], values["converted"]
    return Pretrained(
        name=values["name"],
        path=Path(values["path"]),
        preprocessing=fed and Preprocessing(**fed),
        converted=converted and Path(converted),
    )
