"""A benchmark case: a workload and the config it runs with, and the key that identifies it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.machine.facts import usable_cores
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig

Interpreters = Mapping[str, str]
"""Framework to the Python that runs its worker processes; by default this one."""
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
"""The workload of whole runs, which benchmarks/ times: a single call of it cannot be timed."""
CUTTING = ("training-from-pipeline", "augmentation", FULL_TRAINING)
"""Workloads that crop and flip batches while they are timed; with device_data all of them do."""
FIELDS_OF_WORKLOADS = {
    "crop_padding": CUTTING,
    "flip": CUTTING,
    "shuffle_buffer": (*CUTTING, "batching"),
    "eval_flip": (FULL_TRAINING,),
}
"""Fields that count for these workloads only."""
CUT_FIELDS = ("crop_padding", "flip")
TOLD_BARE = ("optimizer", "memory_layout", "compile_mode")
"""Fields whose value alone stands in a title: 'adam', 'channels-first', 'eager'."""
USUAL_RECIPE = "quick"
"""Recipe of `alexnet bench` and benchmarks/; a title tells what differs from it."""
STORED_SIZE = 32
"""Height and width in pixels of the images of all datasets that do not say otherwise."""
READY_BATCHES = 4
"""Number of ready batches that a step cycles over, so that no cache holds them all."""
DRAWING = ("training-from-pipeline", "batching", "augmentation")
"""Workloads that draw batches while they are timed."""
PIPELINE_IMAGES = 20_000
"""Number of images that batches are drawn from: 61 MB at 32 x 32."""
_DEFAULTS = Recipe()
FORMER_WORKLOADS = {"plain-training": "tutorial-loop", "treatment": "preprocessing"}
"""Names of workloads in files that were written before 2026-11-29, and today's."""


def complete_key(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The key of an entry from a file, as this release writes it.

    Fields that were added later are taken from the entry's case, or have the value that they had
    before they could be chosen. A device of 'auto' becomes the one that the framework found. Files
    written before 2026-11-29 call the workload 'work'.
    """
    config = (entry.get("case") or {}).get("config") or {}
    recipe = config.get("recipe") or {}
    key: dict[str, Any] = {
        **{name: recipe.get(name, getattr(_DEFAULTS, name)) for name in KEY_FIELDS},
        "image_size": (config.get("data") or {}).get("image_size") or STORED_SIZE,
        **entry["key"],
    }
    if "work" in key:
        work = key.pop("work")
        key["workload"] = FORMER_WORKLOADS.get(work, work) if isinstance(work, str) else work
    if key.get("device") == "auto":
        key["device"] = device_kind((entry.get("framework") or {}).get("device", "auto"))
    return _settled(key)


def device_kind(device: str) -> str:
    """'cpu' or 'gpu', from a framework's name of its device; 'auto' stays."""
    return device if device in ("auto", "cpu") else "gpu"


def _settled(key: dict[str, Any]) -> dict[str, Any]:
    """The key without fields that its workload ignores; momentum only as present or absent."""
    used = CUT_FIELDS if key.get("device_data") else ()
    unused = [
        name
        for name, workloads in FIELDS_OF_WORKLOADS.items()
        if key.get("workload") not in workloads and name not in used
    ]
    usual = {name: getattr(_DEFAULTS, name) for name in unused}
    return key | usual | {"momentum": bool(key.get("momentum"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A workload and the config it runs with.

    Attributes:
        workload: A key of WORKLOADS.
        config: Framework, variant, width, recipe, images, device and threads.
    """

    workload: str
    config: RunConfig

    @property
    def key(self) -> dict[str, Any]:
        """Identity of the benchmark: results are comparable only if their keys are equal."""
        config = self.config
        fields = {name: getattr(config.recipe, name) for name in KEY_FIELDS}
        if config.network is not None:  # two files may have different networks of one name
            fields["network"] = config.network.digest
        return _settled(
            {
                "workload": self.workload,
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
        """Title such as 'training torch cifar b128 float32', with the fields that are unusual."""
        config, recipe = self.config, self.config.recipe
        parts = [self.workload, config.framework, config.variant]
        if config.width != 1:
            parts.append(f"width {config.width:g}")
        parts += [f"b{recipe.global_batch_size}", recipe.precision]
        if config.device == "gpu":
            parts.append("gpu")
        return " ".join([*parts, *self._unusual()])

    def _unusual(self) -> list[str]:
        """Fields of the key that differ from the usual recipe and images, as words of the title."""
        usual_recipe = replace(
            get_recipe(USUAL_RECIPE),
            global_batch_size=self.config.recipe.global_batch_size,
            precision=self.config.recipe.precision,
        )
        key, usual = self.key, {name: getattr(usual_recipe, name) for name in KEY_FIELDS}
        usual = _settled({"workload": self.workload, "image_size": STORED_SIZE, **usual})
        return [
            str(key[name]) if name in TOLD_BARE else f"{name}={_told(key[name])}"
            for name in sorted(usual)
            if key[name] != usual[name]
        ]

    def of(self, framework: str) -> "Case":
        """The same case in another framework."""
        return replace(self, config=replace(self.config, framework=framework))

    def on(self, device: str) -> "Case":
        """The same case on another device."""
        return replace(self, config=replace(self.config, device=device))

    def to_dict(self) -> dict[str, Any]:
        """The case, ready for JSON."""
        return {"workload": self.workload, "config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The case that to_dict() wrote."""
        return cls(workload=values["workload"], config=RunConfig.from_dict(values["config"]))


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def synthetic_data(
    batch_size: int, image_size: int = STORED_SIZE, workload: str = ""
) -> DataConfig:
    """Noise images for a benchmark, of `image_size` pixels in height and width.

    There are enough for the ready batches; a workload that draws batches gets more images than any
    cache holds.
    """
    least = PIPELINE_IMAGES if workload in DRAWING else 100
    return DataConfig(
        dataset="synthetic",
        train_images=max(batch_size * READY_BATCHES, least),
        test_images=100,
        image_size=image_size,
    )


def make_case(workload: str, config: RunConfig) -> Case:
    """The case of a config that leaves the threads and the number of images open."""
    config = replace(config, threads=config.threads or usable_cores())
    return of_batch_size(Case(workload=workload, config=config), config.recipe.global_batch_size)


def of_batch_size(case: Case, batch_size: int) -> Case:
    """The same case with another batch size, and with enough images for it."""
    config = case.config
    recipe = replace(config.recipe, global_batch_size=batch_size)
    data = config.data
    if data.dataset == "synthetic":
        data = synthetic_data(batch_size, data.image_size or STORED_SIZE, case.workload)
    return replace(case, config=replace(config, recipe=recipe, data=data))
