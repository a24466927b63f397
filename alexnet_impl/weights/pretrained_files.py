"""Files of pretrained weights: found by name or path, with the preprocessing they need."""

from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RecipeError, UnknownNameError, WeightsError
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.network.variants import BACKBONE_VARIANTS
from alexnet_impl.recipe.recipe import Recipe
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
