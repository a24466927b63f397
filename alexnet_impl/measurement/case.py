"""One thing to time: a work, and the config it is done with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig

KEY_FIELDS = (
    "precision",
    "memory_layout",
    "fused_update",
    "steps_per_call",
    "device_data",
    "prefetch",
    "compile_mode",
    "optimizer",
    "momentum",
    "nesterov",
    "momentum_formula",
    "epsilon_formula",
    "weight_decay",
    "weight_decay_on",
    "clip_norm",
    "trainable",
    "rate_factors",
    "label_smoothing",
    "loss_input",
    "dropout_masks",
    "global_batch_size",
    "input_scaling",
    "input_size",
    "resize",
    "resize_to",
    "crop_padding",
    "flip",
    "shuffle_buffer",
    "eval_flip",
)
"""Fields of a Recipe that decide how long a call takes."""
FULL_TRAINING = "full-training"
"""The work of whole runs, which benchmarks/ times; no call of it can be timed by itself."""
CUTTING = ("training-from-pipeline", "augmentation", FULL_TRAINING)
"""Works that crop and flip batches while they are timed; so do all with device_data."""
FIELDS_OF_WORKS = {
    "crop_padding": CUTTING,
    "flip": CUTTING,
    "shuffle_buffer": (*CUTTING, "batching"),
    "eval_flip": (FULL_TRAINING,),
}
"""Fields that count for these works alone."""
CUT_FIELDS = ("crop_padding", "flip")
TOLD_BARE = ("optimizer", "memory_layout", "compile_mode")
"""Fields whose value alone a title tells: 'adam', 'channels-first', 'eager'."""
USUAL_RECIPE = "quick"
"""What `alexnet bench` and benchmarks/ take: a title tells what differs from it."""
STORED_SIZE = 32
"""Height and width of the images of all datasets that do not say otherwise."""


def complete_key(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry's key as this release writes it.

    Fields that its release left out are read from its case, or are what they were before they could
    be chosen; a device that was asked for as 'auto' is the one that the framework found.
    """
    config = (entry.get("case") or {}).get("config") or {}
    recipe = config.get("recipe") or {}
    key: dict[str, Any] = {
        **{name: recipe.get(name, getattr(Recipe(), name)) for name in KEY_FIELDS},
        "image_size": (config.get("data") or {}).get("image_size") or STORED_SIZE,
        **entry["key"],
    }
    if key.get("device") == "auto":
        key["device"] = device_kind((entry.get("framework") or {}).get("device", "auto"))
    return _settled(key)


def device_kind(device: str) -> str:
    """'cpu' or 'gpu' for a framework's word for its device; 'auto' stays."""
    return device if device in ("auto", "cpu") else "gpu"


def _settled(key: dict[str, Any]) -> dict[str, Any]:
    """The key without what its work makes no use of; of momentum only whether there is any."""
    used = CUT_FIELDS if key.get("device_data") else ()
    unused = [
        name
        for name, works in FIELDS_OF_WORKS.items()
        if key.get("work") not in works and name not in used
    ]
    usual = {name: getattr(Recipe(), name) for name in unused}
    return key | usual | {"momentum": bool(key.get("momentum"))}


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
        return _settled(
            {
                "work": self.work,
                "framework": config.framework,
                "variant": config.variant,
                "width": config.width,
                "device": config.device,
                "threads": config.threads,
                "image_size": config.data.image_size or STORED_SIZE,
                **fields,
            }
        )

    @property
    def title(self) -> str:
        """'training torch cifar b128 float32', and what is not as usual."""
        config, recipe = self.config, self.config.recipe
        parts = [self.work, config.framework, config.variant]
        if config.width != 1:
            parts.append(f"width {config.width:g}")
        parts += [f"b{recipe.global_batch_size}", recipe.precision]
        if config.device == "gpu":
            parts.append("gpu")
        return " ".join([*parts, *self._unusual()])

    def _unusual(self) -> list[str]:
        """The key's other fields that differ from the usual recipe and images."""
        usual_recipe = replace(
            get_recipe(USUAL_RECIPE),
            global_batch_size=self.config.recipe.global_batch_size,
            precision=self.config.recipe.precision,
        )
        key, usual = self.key, {name: getattr(usual_recipe, name) for name in KEY_FIELDS}
        usual = _settled({"work": self.work, "image_size": STORED_SIZE, **usual})
        return [
            str(key[name]) if name in TOLD_BARE else f"{name}={_told(key[name])}"
            for name in sorted(usual)
            if key[name] != usual[name]
        ]

    def of(self, framework: str) -> "Case":
        """The same in another framework."""
        return replace(self, config=replace(self.config, framework=framework))

    def on(self, device: str) -> "Case":
        """The same on another device."""
        return replace(self, config=replace(self.config, device=device))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"work": self.work, "config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The case that to_dict() wrote."""
        return cls(work=values["work"], config=RunConfig.from_dict(values["config"]))


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
