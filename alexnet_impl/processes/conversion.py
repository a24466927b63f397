"""Prepares a job's runs: a weight file of the other framework is converted by a worker process.

So a process that trains loads one framework only.
"""

import hashlib
import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import RunError, WeightsError
from alexnet_impl.files import file_digest
from alexnet_impl.network.spec import Spec, backbone_of
from alexnet_impl.processes.channel import open_channel
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.prepare import PreparedRun, prepare_run
from alexnet_impl.typed_json import to_json
from alexnet_impl.weights.metadata import stored_info
from alexnet_impl.weights.pretrained_files import Pretrained, file_kind
from alexnet_impl.weights.safetensors_io import read_metadata

_READER_VERSION = 2
"""Raised whenever a file is read otherwise, so that conversions in the cache are made anew."""


def prepare_job(
    config: RunConfig,
    dataset: Dataset,
    given: Pretrained | None = None,
    *,
    frameworks: Collection[str] = (),
    interpreters: Mapping[str, str] | None = None,
) -> PreparedRun:
    """Prepares a run for every framework that the job trains it in.

    `interpreters` maps a framework to the Python that runs it, by default this one; `frameworks`
    are by default the config's own. `given` spares finding the weights of the config again.

    Raises:
        AlexNetError: See prepare_run(); also if the weights cannot be converted.
    """
    run = prepare_run(config, dataset, given)
    return replace(
        run,
        given=run.given
        and make_readable(
            run.given,
            run.spec,
            config,
            frameworks=frameworks or (config.framework,),
            interpreters=interpreters or {},
        ),
    )


def make_readable(
    given: Pretrained,
    spec: Spec,
    config: RunConfig,
    *,
    frameworks: Collection[str],
    interpreters: Mapping[str, str],
) -> Pretrained:
    """Converts a file of weights to safetensors, unless all of these frameworks can read it.

    The number of classes of `spec`, the network of `config`, may differ. Without frameworks only
    NumPy will read the file.

    Raises:
        WeightsError: If it cannot be converted.
    """
    kind = file_kind(given.path)
    # A backbone's file is read by its own framework alone: find_pretrained() refused others.
    if kind == "safetensors" or backbone_of(spec) is not None or set(frameworks) == {kind}:
        return replace(given, converted=None)
    interpreter = interpreters.get(kind, sys.executable)
    return replace(given, converted=_converted(given.path, spec, config, interpreter))


def _is_whole(path: Path) -> bool:
    try:
        read_metadata(path)
    except WeightsError:
        return False
    return True


def _network_of(spec: Spec, config: RunConfig) -> dict[str, Any]:
    """Hints for a file that does not state its network."""
    return {
        "variant": spec.name,
        "input_size": spec.input_shape[1],
        "width": config.width,
        "network": to_json(config.network),
    }


def _converted(path: Path, spec: Spec, config: RunConfig, interpreter: str) -> Path:
    """The same weights as safetensors, kept in the cache for the next time."""
    stated = stored_info(path) is not None
    network = {} if stated else _network_of(spec, config)
    of = f"{_READER_VERSION} {json.dumps(network, sort_keys=True)} {file_digest(path, 'sha256')}"
    digest = hashlib.sha256(of.encode()).hexdigest()[:16]
    target = cache_dir() / "weights" / f"{path.stem}-{spec.name}-{digest}.safetensors"
    if target.is_file() and _is_whole(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_channel(file_kind(path), "conversion", interpreter=interpreter) as channel:
            files = {"source": str(path.resolve()), "target": str(target.resolve())}
            channel.ask("convert", files | {"network": network})
    except RunError as error:
        raise WeightsError(f"{path}: cannot be converted ({error})") from error
    return target
