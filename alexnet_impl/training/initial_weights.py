"""The weights that a run begins with, where they were trained before, and what they must be fed.

A file's own preprocessing travels with it: published files have theirs in published.py, those of
finished runs in their metadata. A recipe that would feed something else is refused.
"""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.download import file_digest
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RecipeError, UnknownNameError, WeightsError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import Spec, backbone_of, trace, weight_shapes
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.network.variants import BACKBONE_VARIANTS, build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import (
    Weights,
    check_weights,
    initial_weights,
    is_of_backbone,
    load_weights,
)
from alexnet_impl.weights.metadata import stored_info
from alexnet_impl.weights.published_files import (
    check_copy,
    fetch_published,
    find_published,
    is_published_name,
    published_of,
)

FILE_KINDS = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".keras": "tensorflow",
    ".h5": "tensorflow",
}
"""Whose files have which ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What weights were trained to read.

    Attributes:
        input_scaling: A key of INPUT_SCALINGS.
        resize_to: As Recipe.resize_to.
    """

    input_scaling: str
    resize_to: int | None = None

    def __str__(self) -> str:
        scaling = INPUT_SCALINGS[self.input_scaling]
        low, high = scaling.value_range()
        order = ", blue first" if scaling.blue_first else ""
        return f"{self.input_scaling}: values from {low:.4g} to {high:.4g}{order}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A file of weights, found and checked, but not read.

    Attributes:
        name: As the user said it.
        path: The file.
        preprocessing: What it must be fed; None if nothing is known of it.
    """

    name: str
    path: Path
    preprocessing: Preprocessing | None


def find_pretrained(
    name: str,
    variant: str,
    input_size: int,
    progress: Progress = silent,
    *,
    framework: str | None = None,
) -> Pretrained:
    """Find the file of a name, downloading it if need be, and check what can be checked unread.

    Args:
        name: 'torchvision:IMAGENET1K_V1', 'keras:imagenet', or the path of a file.
        variant: The network that begins with it.
        input_size: Of that network, in pixels.
        progress: Is told of a download.
        framework: Which will train it; None: either.

    Raises:
        WeightsError: If there is no such file, its checksum is wrong, it cannot be downloaded, or
            it is of another network.
        UnknownNameError: If nothing of that name is published.
    """
    if is_published_name(name):
        entry = find_published(name, variant, input_size)
        _refuse_other_library(name, entry.framework, variant, framework)
        path = fetch_published(entry, progress)
        return Pretrained(name=name, path=path, preprocessing=_preprocessing(path))
    path = Path(name).expanduser()
    _refuse_other_library(name, file_kind(path), variant, framework)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    if (known := published_of(path)) is not None:
        check_copy(known, path)
        if known.variant != variant.partition(SEPARATOR)[0]:
            raise WeightsError(f"{path}: holds weights of {known.variant}, not of {variant}.")
    return Pretrained(name=name, path=path, preprocessing=_preprocessing(path))


def file_kind(path: Path) -> str:
    """'safetensors', or the framework whose file it is, by the name's ending.

    Raises:
        WeightsError: If the ending is none of FILE_KINDS.
    """
    if path.suffix not in FILE_KINDS:
        raise WeightsError(
            f"{path}: is no name of published weights (such as torchvision:IMAGENET1K_V1 or "
            f"keras:imagenet), and no file that ends in {', '.join(FILE_KINDS)}."
        )
    return FILE_KINDS[path.suffix]


def _refuse_other_library(name: str, kind: str, variant: str, framework: str | None) -> None:
    """Each library has a backbone of its own, under the same name."""
    base = variant.partition(SEPARATOR)[0]
    if base not in BACKBONE_VARIANTS or framework is None or kind in (framework, "safetensors"):
        return
    raise WeightsError(
        f"{name}: is of {kind}, whose {base} is another network than {framework}'s; take weights "
        f"of {framework}'s own, or --framework {kind}."
    )


def _preprocessing(path: Path) -> Preprocessing | None:
    info = stored_info(path)
    if info is None or info.input_scaling is None:
        return None
    if info.input_scaling not in INPUT_SCALINGS:
        raise UnknownNameError("input_scaling in a weight file", info.input_scaling, INPUT_SCALINGS)
    return Preprocessing(input_scaling=info.input_scaling, resize_to=info.resize_to)


def check_preprocessing(recipe: Recipe, pretrained: Pretrained) -> None:
    """Refuse to feed weights what they were not trained on.

    The scalings that are named as mistakes pass: whoever asks for one reproduces it.

    Raises:
        RecipeError: If the recipe's scaling is another one than the weights'; with both ranges.
    """
    known = pretrained.preprocessing
    if known is None or INPUT_SCALINGS[recipe.input_scaling].mistaken:
        return
    if recipe.input_scaling != known.input_scaling:
        fed = Preprocessing(input_scaling=recipe.input_scaling)
        raise RecipeError(
            f"{pretrained.name} was trained on {known}; the recipe would feed it {fed}. Take "
            f"--recipe.input-scaling {known.input_scaling}."
        )


def adopt_preprocessing(recipe: Recipe, pretrained: Pretrained) -> Recipe:
    """The recipe, with what the weights were trained to read."""
    known = pretrained.preprocessing
    if known is None:
        return recipe
    scaling = known.input_scaling
    return replace(recipe, input_scaling=scaling, resize_to=known.resize_to)  # type: ignore[arg-type]


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
