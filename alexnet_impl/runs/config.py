"""The configuration of a training run: network, recipe, data, framework and device."""

from dataclasses import dataclass, replace
from typing import Any, Self, get_args

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import RunError
from alexnet_impl.network.own_network import OwnNetwork, check_name, find_spec
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import OnCollapse, Recipe
from alexnet_impl.typed_json import read, to_json

DEVICES = ("auto", "cpu", "gpu")
MOST_THREADS = 1024
"""No machine has more cores; with many more threads, OpenMP ends the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Configuration of a run: variant, recipe, framework and data.

    Attributes:
        framework: 'torch' or 'tensorflow'.
        variant: A key of VARIANTS, or the name of the user's own network; changes after a plus.
        width: Multiplier of the variant's channels and features.
        recipe: Every number of the training.
        data: Which images.
        device: 'auto', 'cpu' or 'gpu'.
        threads: CPU threads of the framework; None leaves the choice to the framework.
        on_collapse: What to do when the network collapses: 'stop' the run, 'warn' and continue, or
            'ignore' it, without any checks.
        weights: Name of published weights, or a weight file, to start from; None: the weights are
            drawn by the recipe's initializer.
        cache_features: Whether outputs of frozen layers are computed once per image and stored.
        auto_precision: Whether the recipe's precision was auto, and became what it is now.
        network: The user's own network as data; None: a variant of the package.

    Raises:
        RunError: If device or on_collapse is unknown, threads is out of range, or features are to
            be cached although images differ from epoch to epoch.
        RecipeError: If the recipe's phases are not valid.
        SpecError: If the name of a network of the user's own is not valid.
        UnknownNameError: If that name has an unknown change.
    """

    framework: str
    variant: str
    width: float
    recipe: Recipe
    data: DataConfig
    device: str = "auto"
    threads: int | None = None
    on_collapse: OnCollapse = "warn"
    weights: str | None = None
    cache_features: bool = False
    auto_precision: bool = False
    network: OwnNetwork | None = None

    def __post_init__(self) -> None:
        phase_recipes(self.recipe)
        if self.network is not None:
            check_name(self.variant)
        if self.cache_features:
            self._check_cacheable()
        if self.device not in DEVICES:
            raise RunError(f"device '{self.device}' is unknown; choose {', '.join(DEVICES)}.")
        if self.on_collapse not in (known := get_args(OnCollapse)):
            raise RunError(
                f"on_collapse '{self.on_collapse}' is unknown; choose {', '.join(known)}."
            )
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise RunError(
                f"threads={self.threads} must be from 1 to {MOST_THREADS}; leave it out for all."
            )
        if self.framework == "tensorflow" and self.recipe.memory_layout != "channels-last":
            raise RunError(
                f"memory_layout={self.recipe.memory_layout} is not supported by TensorFlow; use "
                "channels-last, or train PyTorch only."
            )

    def _check_cacheable(self) -> None:
        recipe = self.recipe
        for name in ("flip", "crop_padding", "device_data", "eval_flip"):
            if getattr(recipe, name):
                raise RunError(
                    f"cache_features and {name}={getattr(recipe, name)} exclude each other: cached "
                    "features need the same images in every epoch; leave one of them out."
                )

    @property
    def asked_recipe(self) -> Recipe:
        """The recipe as it was asked for: with precision=auto, if that is what it was."""
        return replace(self.recipe, precision="auto") if self.auto_precision else self.recipe

    def spec(self, num_classes: int) -> Spec:
        """Returns the network of this run, with `num_classes` outputs."""
        return find_spec(
            self.variant,
            self.network,
            num_classes=num_classes,
            input_size=self.recipe.input_size,
            width=self.width,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON holds them."""
        return dict(to_json(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Returns the config that to_dict() wrote.

        Raises:
            AlexNetError: If a field is missing, unknown, of another type or out of range.
        """
        return read(cls, values)
