"""The configuration of a run: everything that decides what it trains, on what, and where."""

from dataclasses import dataclass, fields
from typing import Any, Self, get_args

from alexnet_impl.data.config import DataConfig
from alexnet_impl.errors import RunError
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import OnCollapse, Recipe
from alexnet_impl.typed_json import from_plain

DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run was asked to do: variant x recipe x framework x data.

    Attributes:
        framework: 'torch' or 'tensorflow'.
        variant: A key of VARIANTS.
        width: Multiplier of the variant's channels and features.
        recipe: Every number of the training.
        data: Which images.
        device: 'auto', 'cpu' or 'gpu'.
        threads: CPU threads of the framework; None leaves it the framework's choice.
        on_collapse: What to do when the network collapses: 'stop' the run, 'warn' and go on, or
            'ignore' it and do not look.
        weights: A published name or a file that the run's weights begin with; None: the recipe's
            initializer.
        cache_features: Whether what frozen layers make of an image is computed once and kept.

    Raises:
        RunError: If there is no such device or on_collapse, threads is below 1, or features are to
            be cached of images that differ from epoch to epoch.
        RecipeError: If the recipe's phases cannot be.
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

    def __post_init__(self) -> None:
        phase_recipes(self.recipe)
        if self.cache_features:
            self._check_cacheable()
        if self.device not in DEVICES:
            raise RunError(f"device '{self.device}' is unknown; choose {', '.join(DEVICES)}.")
        if self.on_collapse not in (known := get_args(OnCollapse)):
            raise RunError(
                f"on_collapse '{self.on_collapse}' is unknown; choose {', '.join(known)}."
            )
        if self.threads is not None and self.threads < 1:
            raise RunError(f"threads={self.threads} must be at least 1; leave it out for all.")
        if self.framework == "tensorflow" and self.recipe.memory_layout != "channels-last":
            raise RunError(
                f"tensorflow: memory_layout={self.recipe.memory_layout} is not to be had; take "
                "channels-last, or train PyTorch alone."
            )

    def _check_cacheable(self) -> None:
        recipe = self.recipe
        for name in ("flip", "crop_padding", "device_data", "eval_flip"):
            if getattr(recipe, name):
                raise RunError(
                    f"cache_features keeps one row of features an image, which "
                    f"{name}={getattr(recipe, name)} does not allow; leave one of them out."
                )

    def spec(self, num_classes: int) -> Spec:
        """The network of this run, for so many classes."""
        return build_spec(
            self.variant,
            num_classes=num_classes,
            input_size=self.recipe.input_size,
            width=self.width,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return plain | {"recipe": self.recipe.to_dict(), "data": self.data.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config that to_dict() wrote.

        Raises:
            KeyError: If recipe or data are missing.
            TypeError: If other fields are, or one is unknown or of another type.
        """
        recipe = Recipe.from_dict(values["recipe"])
        data = DataConfig.from_dict(values["data"])
        return from_plain(cls, values | {"recipe": recipe, "data": data})
