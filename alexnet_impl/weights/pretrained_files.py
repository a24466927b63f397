"""Files of pretrained weights: found by name or path, with the preprocessing they need."""

from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.progress import Progress, silent
from alexnet_impl.errors import RecipeError, UnknownNameError, WeightsError, require_home
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
from alexnet_impl.weights.wrong_files import refuse_wrong_file

FILE_KINDS = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".ckpt": "torch",
    ".bin": "torch",
    ".tar": "torch",
    ".keras": "tensorflow",
    ".h5": "tensorflow",
}
"""File ending to 'safetensors', or to the framework that writes such files. Lightning writes .ckpt,
Hugging Face wrote .bin, and PyTorch's own examples write .pth.tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The preprocessing of the images that weights were trained on.

    Attributes:
        input_scaling: A key of INPUT_SCALINGS.
        resize_to: Height and width in pixels that images are resized to (see Recipe.resize_to).
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
        name: The name or path that the user gave.
        path: The file.
        preprocessing: What it must be fed; None if that is not known.
        converted: The same weights as safetensors, for a framework that cannot read the file.
    """

    name: str
    path: Path
    preprocessing: Preprocessing | None
    converted: Path | None = None

    @property
    def readable(self) -> Path:
        """The file to read the weights from."""
        return self.converted or self.path


def find_pretrained(
    name: str,
    variant: str,
    input_size: int,
    progress: Progress = silent,
    *,
    framework: str | None = None,
) -> Pretrained:
    """Finds a file of weights, downloading it if needed; checks it without reading its arrays.

    Args:
        name: 'torchvision:IMAGENET1K_V1', 'keras:imagenet', or the path of a file.
        variant: The network that starts from it.
        input_size: Height and width of that network's images, in pixels.
        progress: Reports a download.
        framework: The framework that will train it; None: either.

    Raises:
        WeightsError: If there is no such file, its checksum is wrong, it cannot be downloaded, or
            it belongs to another network.
        UnknownNameError: If no weights of that name are published.
        DataError: If the home folder of a path is not known.
    """
    if is_published_name(name):
        entry = find_published(name, variant, input_size)
        refuse_other_library(name, entry.framework, variant, framework)
        path = fetch_published(entry, progress)
        return Pretrained(name=name, path=path, preprocessing=_preprocessing(path))
    with require_home("give the absolute path of the weights"):
        path = Path(name).expanduser()
    if path.is_dir():
        refuse_wrong_file(path)
    refuse_other_library(name, file_kind(path), variant, framework)
    refuse_wrong_file(path)
    if (known := published_of(path)) is not None:
        check_copy(known, path)
        if known.variant != variant.partition(SEPARATOR)[0]:
            raise WeightsError(f"{path}: holds weights of {known.variant}, not of {variant}.")
    return Pretrained(name=name, path=path, preprocessing=_preprocessing(path))


def file_kind(path: Path) -> str:
    """The kind of a weight file, by its ending: 'safetensors', or the framework that reads it.

    Raises:
        WeightsError: If the ending is not in FILE_KINDS.
    """
    if path.suffix not in FILE_KINDS:
        raise WeightsError(
            f"{path}: is neither the name of published weights (such as torchvision:IMAGENET1K_V1 "
            f"or keras:imagenet) nor a file that ends in {', '.join(FILE_KINDS)}."
        )
    return FILE_KINDS[path.suffix]


def refuse_other_library(name: str, kind: str, variant: str, framework: str | None) -> None:
    """Refuses a backbone of the other library: it is another network of the same name.

    A `kind` is 'safetensors', or the framework whose file it is; without a framework all pass.

    Raises:
        WeightsError: If the weights belong to the other library's backbone.
    """
    base = variant.partition(SEPARATOR)[0]
    if base not in BACKBONE_VARIANTS or framework is None or kind in (framework, "safetensors"):
        return
    raise WeightsError(
        f"{name}: belongs to {kind}, whose {base} is another network than {framework}'s; use "
        f"weights of {framework}'s own, or --framework {kind}."
    )


def _preprocessing(path: Path) -> Preprocessing | None:
    info = stored_info(path)
    if info is None or info.input_scaling is None:
        return None
    if info.input_scaling not in INPUT_SCALINGS:
        raise UnknownNameError("input_scaling in a weight file", info.input_scaling, INPUT_SCALINGS)
    return Preprocessing(input_scaling=info.input_scaling, resize_to=info.resize_to)


def check_preprocessing(recipe: Recipe, pretrained: Pretrained) -> None:
    """Refuses to feed weights values that they were not trained on.

    The scalings that are named as mistakes pass: whoever asks for one reproduces it.

    Raises:
        RecipeError: If the recipe's scaling differs from the weights'; with both ranges.
    """
    known = pretrained.preprocessing
    if known is None or INPUT_SCALINGS[recipe.input_scaling].mistaken:
        return
    if recipe.input_scaling != known.input_scaling:
        fed = Preprocessing(input_scaling=recipe.input_scaling)
        raise RecipeError(
            f"{pretrained.name} was trained on {known}; the recipe would feed it {fed}. Use "
            f"--recipe.input-scaling {known.input_scaling}."
        )


def adopt_preprocessing(recipe: Recipe, pretrained: Pretrained) -> Recipe:
    """The recipe with the preprocessing of the images that the weights were trained on."""
    known = pretrained.preprocessing
    if known is None:
        return recipe
    scaling = known.input_scaling
    return replace(recipe, input_scaling=scaling, resize_to=known.resize_to)  # type: ignore[arg-type]
