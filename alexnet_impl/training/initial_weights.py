"""The weights that a run begins with, where they were trained before, and what they must be fed.

A file's own preprocessing travels with it: published files have theirs in published.py, those of
finished runs in their metadata. A recipe that would feed something else is refused.
"""

import subprocess
import sys
from pathlib import Path

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.errors import (
    UnknownNameError,
    WeightsError,
)
from alexnet_impl.files import file_digest
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import Spec, backbone_of, trace, weight_shapes
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.weights.canonical import Weights, check_weights, is_of_backbone
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import load_weights
from alexnet_impl.weights.pretrained_files import (
    Pretrained,
    check_preprocessing,
    file_kind,
    find_pretrained,
)


def start_weights(
    name: str, spec: Spec, recipe: Recipe, framework: str, width: float = 1.0
) -> Weights:
    """What a network begins with: the given weights, and fresh ones where it begins anew.

    Args:
        name: As of find_pretrained().
        spec: The network.
        recipe: Its reset_layers, and its initializer for them.
        framework: Which will train it, and reads a backbone's file.
        width: The network's multiplier.

    Returns:
        The canonical layout, a backbone's weights under its library's names.

    Raises:
        WeightsError: If the file is damaged or of another network.
        RecipeError: If it was trained on something else than the recipe feeds.
        UnknownNameError: If a layer to be reset is none of the network's.
    """
    found = find_pretrained(name, spec.name, spec.input_shape[1], framework=framework)
    check_preprocessing(recipe, found)
    given = read_pretrained(found, spec, framework, width)
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
    check_weights(chosen, spec, where=str(found.path))
    return chosen


def _reset_layers(spec: Spec, recipe: Recipe, given: Weights) -> set[str]:
    """Those that the recipe names, and the last one if it has another number of classes."""
    names = [step.layer.name for step in trace(spec).layers if step.weight_shapes]
    for name in recipe.reset_layers:
        if name not in names:
            raise UnknownNameError("layer of reset_layers", name, names)
    last = f"{names[-1]}.weight"
    shape = weight_shapes(spec)[last]
    differs = last in given and given[last].shape != shape
    return {*recipe.reset_layers, *([names[-1]] if differs else [])}


def read_pretrained(found: Pretrained, spec: Spec, framework: str, width: float) -> Weights:
    """All weights of the file, of a network that may differ in its number of classes.

    Args:
        found: The file.
        spec: The network.
        framework: Which reads a backbone's file, or one of its own.
        width: The network's multiplier.

    Raises:
        WeightsError: If the file is damaged or of another network.
    """
    path, kind = found.path, file_kind(found.path)
    if kind == "safetensors":
        weights, info = load_weights(path)
        if info.variant != spec.name:
            raise WeightsError(f"{path}: holds weights of {info.variant}, not of {spec.name}.")
        return weights
    if backbone_of(spec) is not None:
        return get_framework(framework).read_backbone(path, spec)
    if kind != framework:
        return load_weights(_converted(path, spec, width))[0]
    adapter = get_framework(framework)
    said = adapter.describe_checkpoint(path)
    num_classes = said.get("num_classes", trace(spec).output_shape[0])
    whole = build_spec(
        spec.name, num_classes=num_classes, input_size=spec.input_shape[1], width=width
    )
    return adapter.read_checkpoint(path, whole)


def _converted(path: Path, spec: Spec, width: float) -> Path:
    """The same weights in a file that both frameworks read, kept for the next time.

    The other framework reads the file in a process of its own.
    """
    digest = file_digest(path, "sha256")[:16]
    target = cache_dir() / "weights" / f"{path.stem}-{spec.name}-{digest}.safetensors"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "alexnet_impl", "convert", str(path), str(target)]
    numbers = {"variant": spec.name, "input-size": spec.input_shape[1], "width": width}
    flags = [part for key, value in numbers.items() for part in (f"--{key}", str(value))]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WeightsError(f"{path}: cannot be converted ({why.removeprefix('alexnet: error: ')})")
    return target


def first_weights(config: RunConfig, spec: Spec) -> Weights:
    """What a run begins with: the weights it is given, else those that its recipe draws."""
    if config.weights is None:
        return initial_weights(spec, config.recipe)
    return start_weights(config.weights, spec, config.recipe, config.framework, config.width)
