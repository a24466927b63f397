"""Prepared runs as JSON: what a job hands down to its worker processes."""

from typing import Any

from alexnet_impl.network.spec_json import spec_from_dict, spec_to_dict
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.pretrained_files import Pretrained


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
