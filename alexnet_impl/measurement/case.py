"""One thing to time: a work, and the config it is done with."""

from dataclasses import dataclass, replace
from typing import Any, Self

from alexnet_impl.recipe import Recipe
from alexnet_impl.results import RunConfig

KEY_FIELDS = (
    "precision",
    "memory_layout",
    "fused_update",
    "steps_per_call",
    "device_data",
    "prefetch",
    "compile_mode",
    "optimizer",
    "global_batch_size",
    "input_size",
    "crop_padding",
    "flip",
)
"""Fields of a Recipe that decide how long a call takes."""


TITLE_FIELDS = (
    "optimizer",
    "memory_layout",
    "compile_mode",
    "fused_update",
    "steps_per_call",
    "device_data",
    "prefetch",
)
"""Of these, a title tells what is not the default; batch size and precision it always tells."""


def complete_key(key: dict[str, Any]) -> dict[str, Any]:
    """A key with the fields that its release did not have yet, as they were then."""
    return {name: getattr(Recipe(), name) for name in KEY_FIELDS} | key


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A work and how it is done.

    Attributes:
        work: A key of WORKS.
        config: Framework, variant, width, recipe, images, device and threads.
    """

    work: str
    config: RunConfig

    @property
    def key(self) -> dict[str, Any]:
        """What two measurements must share to be of one thing, whatever their names say."""
        config = self.config
        fields = {name: getattr(config.recipe, name) for name in KEY_FIELDS}
        return {
            "work": self.work,
            "framework": config.framework,
            "variant": config.variant,
            "width": config.width,
            "device": config.device,
            "threads": config.threads,
            **fields,
        }

    @property
    def title(self) -> str:
        """'training torch cifar b128 float32', and what is not the default."""
        config, recipe = self.config, self.config.recipe
        parts = [self.work, config.framework, config.variant]
        if config.width != 1:
            parts.append(f"width {config.width:g}")
        parts += [f"b{recipe.global_batch_size}", recipe.precision]
        for name in TITLE_FIELDS:
            value = getattr(recipe, name)
            if value != getattr(Recipe(), name):
                parts.append(value if isinstance(value, str) else f"{name}={value}")
        return " ".join(parts)

    def of(self, framework: str) -> "Case":
        """The same in another framework."""
        return replace(self, config=replace(self.config, framework=framework))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"work": self.work, "config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The case that to_dict() wrote."""
        return cls(work=values["work"], config=RunConfig.from_dict(values["config"]))
