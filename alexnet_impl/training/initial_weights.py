"""Weights that a run starts from: drawn by its recipe, or read from a file and partly reset.

A file's own preprocessing travels with it: published files have theirs in published_files.py,
those of finished runs in their metadata. A recipe that would feed something else is refused.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

from alexnet_impl.errors import AlexNetWarning, UnknownNameError, WeightsError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.own_network import with_classes
from alexnet_impl.network.spec import Spec, backbone_of, trace, weight_shapes
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training.prepare import PreparedRun
from alexnet_impl.weights.canonical import Weights, check_weights, is_of_backbone
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.matching import classes_of, pairing_remark, to_network
from alexnet_impl.weights.metadata import load_weights, stored_info, stored_remarks
from alexnet_impl.weights.pretrained_files import Pretrained, file_kind
from alexnet_impl.weights.safetensors_io import read_stored
from alexnet_impl.weights.stored import StoredWeights


def first_weights(run: PreparedRun) -> Weights:
    """The weights before the first step: those of the given file, or drawn by the recipe.

    Returns:
        Arrays by canonical name, in the shapes of weight_shapes(run.spec); a backbone's weights
        are under its library's names.

    Raises:
        WeightsError: If the file is damaged or belongs to another network.
        UnknownNameError: If the recipe resets a layer that the network does not have.
    """
    config = run.config
    if run.given is None:
        return initial_weights(run.spec, config.recipe)
    given = read_pretrained(run.given, run.spec, config.framework)
    return _partly_reset(given, run.spec, config.recipe, where=str(run.given.path))


def _partly_reset(given: Weights, spec: Spec, recipe: Recipe, *, where: str) -> Weights:
    """The given weights, and fresh ones for the layers that start anew."""
    fresh = initial_weights(spec, recipe)
    reset = _reset_layers(spec, recipe, given)
    chosen = {key: array for key, array in given.items() if is_of_backbone(key, spec)}
    # A published backbone has no head; anything else that a file lacks is an error below.
    headless = backbone_of(spec) is not None and not set(fresh) & set(given)
    for key, array in fresh.items():
        if headless or key.partition(".")[0] in reset:
            chosen[key] = array
        elif key in given:
            chosen[key] = given[key]
    check_weights(chosen, spec, where=where)
    return chosen


def _reset_layers(spec: Spec, recipe: Recipe, given: Weights) -> set[str]:
    """The layers that the recipe names, and the last one if its number of classes differs."""
    names = [step.layer.name for step in trace(spec).layers if step.weight_shapes]
    for name in recipe.reset_layers:
        if name not in names:
            raise UnknownNameError("layer of reset_layers", name, names)
    last = f"{names[-1]}.weight"
    shape = weight_shapes(spec)[last]
    differs = last in given and given[last].shape != shape
    return {*recipe.reset_layers, *([names[-1]] if differs else [])}


def read_pretrained(found: Pretrained, spec: Spec, framework: str) -> Weights:
    """Reads all weights of a file, whose network may differ in its number of classes.

    A framework reads only its own files, and safetensors. What was stripped, chosen or converted
    while reading is a warning.

    Returns:
        Arrays by canonical name, in the shapes of weight_shapes() but for the last layer's.

    Raises:
        WeightsError: If the file is damaged, of another network, or of the other framework.
    """
    path, kind = found.readable, file_kind(found.readable)
    if kind == "safetensors" and (info := stored_info(path)) is not None:
        if info.variant != spec.name:
            raise WeightsError(f"{path}: holds weights of {info.variant}, not of {spec.name}.")
        if found.converted is not None:
            _warn(found.path, stored_remarks(path))
        return load_weights(path)[0]
    if backbone_of(spec) is not None:
        return get_framework(framework).read_backbone(path, spec)
    if kind not in (framework, "safetensors"):
        raise WeightsError(
            f"{path}: is a file of {kind}, which {framework} does not read; convert it with: "
            f"alexnet convert {path} weights.safetensors"
        )
    safe = kind == "safetensors"
    stored = read_stored(path) if safe else get_framework(framework).read_stored(path)
    weights, pairing = to_network(stored, _with_its_classes(stored, spec), str(path))
    _warn(path, (*stored.remarks(), *pairing_remark(pairing)))
    return weights


def _warn(path: Path, remarks: Iterable[str]) -> None:
    for remark in remarks:
        warnings.warn(f"{path}: {remark}.", AlexNetWarning, stacklevel=3)


def _with_its_classes(stored: StoredWeights, spec: Spec) -> Spec:
    """The network with the number of classes of a file, if its shapes fit otherwise."""
    count = classes_of(stored.arrays, spec)
    return spec if count is None else with_classes(spec, count)
