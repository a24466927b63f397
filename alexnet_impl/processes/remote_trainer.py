"""A trainer in a worker process, used like one in this process: one framework per process."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Split
from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import (
    Activations,
    Labels,
    Logits,
    Pixels,
    StepValues,
    Trainer,
    get_framework,
)
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.spec_json import spec_from_dict, spec_to_dict
from alexnet_impl.processes.channel import Answer, Channel, answer_calls, open_channel
from alexnet_impl.processes.framework_import import timed_import
from alexnet_impl.processes.host_memory import keep_freed_memory
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.training.feeding import epoch_digest, run_images
from alexnet_impl.weights.canonical import Weights


class LocalSide:
    """One framework of a comparison, in this process: for small networks on the CPU."""

    def __init__(self, name: str, train: Split, device: str = "cpu") -> None:
        self.name, self.train, self.device = name, train, device

    def make(self, spec: Spec, recipe: Recipe, weights: Weights) -> Trainer:
        """Makes a trainer that starts from weights in the canonical layout."""
        return get_framework(self.name).make_trainer(spec, recipe, weights, self.device)

    def epoch_digest(self, recipe: Recipe) -> tuple[int, str]:
        """The first epoch's number of batches, and the digest of their bytes."""
        return epoch_digest(self.train, recipe)

    def fingerprint(self) -> dict[str, Any]:
        """Versions, device and flags of the framework."""
        return get_framework(self.name).fingerprint(self.device)


class RemoteSide:
    """One framework of a comparison, in a worker process.

    Attributes:
        imported: The facts of timed_import().
    """

    def __init__(
        self, name: str, channel: Channel, device: str, imported: dict[str, Any] | None = None
    ) -> None:
        self.name, self.channel, self.device = name, channel, device
        self.imported = imported or {}

    def make(self, spec: Spec, recipe: Recipe, weights: Weights) -> "RemoteTrainer":
        """Makes a trainer from weights in the canonical layout, replacing the previous one."""
        values = {"spec": spec_to_dict(spec), "recipe": recipe.to_dict(), "device": self.device}
        self.channel.ask("make", values, weights)
        return RemoteTrainer(self.channel)

    def epoch_digest(self, recipe: Recipe) -> tuple[int, str]:
        """The first epoch's number of batches, and the digest of their bytes."""
        (count, digest), _ = self.channel.ask("epoch_digest", {"recipe": recipe.to_dict()})
        return count, digest

    def fingerprint(self) -> dict[str, Any]:
        """Versions, device and flags of the framework, and the facts of timed_import()."""
        found, _ = self.channel.ask("fingerprint", {"device": self.device})
        return dict(found) | self.imported

    def bfloat16_support(self) -> Bfloat16Support:
        """Whether the framework computes bfloat16 natively, as the worker has measured."""
        found, _ = self.channel.ask("bfloat16_support", {"device": self.device})
        return Bfloat16Support(**found)


@contextmanager
def remote_side(
    name: str,
    data: DataConfig,
    *,
    device: str,
    threads: int | None = None,
    interpreter: str = sys.executable,
) -> Iterator[RemoteSide]:
    """Starts a worker process for one framework; it ends with the block."""
    with open_channel(name, "trainer", interpreter=interpreter) as channel:
        start = {"framework": name, "data": data.to_dict(), "threads": threads}
        imported, _ = channel.ask("start", start)
        yield RemoteSide(name, channel, device, imported)


class RemoteTrainer:
    """The Trainer protocol over a channel; a handle is the number of a step."""

    def __init__(self, channel: Channel) -> None:
        self.ask = channel.ask

    def train_step(self, images: Pixels, labels: Labels, learning_rate: float) -> Any:
        """Takes a step on images (batch, height, width, 3) and labels (batch,); see Trainer."""
        batch: Weights = {"images": images, "labels": labels}
        return self.ask("train_step", {"learning_rate": learning_rate}, batch)[0]

    def read(self, handles: list[Any]) -> list[StepValues]:
        """See Trainer."""
        values, _ = self.ask("read", {"handles": handles})
        return [StepValues(**entry) for entry in values]

    def logits(self, images: Pixels) -> Logits:
        """Computes logits of shape (batch, num_classes); see Trainer."""
        return self.ask("logits", {}, {"images": images})[1]["logits"]

    def activations(self, images: Pixels, *, training: bool = False) -> Activations:
        """Computes every layer's output, in the shapes of Trainer.activations()."""
        order, arrays = self.ask("activations", {"training": training}, {"images": images})
        return {name: arrays[name] for name in order}

    def gradients(self, images: Pixels, labels: Labels) -> tuple[float, Weights]:
        """Computes the loss and its gradients in the canonical layout; see Trainer."""
        loss, arrays = self.ask("gradients", {}, {"images": images, "labels": labels})
        return float(loss), arrays

    def synchronize(self) -> None:
        """See Trainer."""
        self.ask("synchronize")

    def weights(self) -> Weights:
        """Copies the weights, in the canonical layout."""
        return self.ask("weights")[1]

    def state(self) -> Weights:
        """Copies the state, in the canonical layout; see Trainer."""
        return self.ask("state")[1]

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continues from weights() and state(), in the canonical layout; see Trainer."""
        arrays = {f"weights/{name}": array for name, array in weights.items()}
        self.ask("restore", {}, arrays | {f"state/{name}": a for name, a in state.items()})

    def peak_memory_bytes(self) -> int | None:
        """See Trainer."""
        found: int | None = self.ask("peak_memory_bytes")[0]
        return found


class TrainerCalls:
    """Answers calls to a trainer in its worker process."""

    def __init__(self) -> None:
        self.framework = ""
        self.data = DataConfig()
        self.trainer: Trainer | None = None
        self.handles: list[Any] = []

    def answer(self, call: str, values: dict[str, Any], arrays: Weights) -> Answer:
        """Returns the values and arrays of a call, in the shapes of Trainer."""
        match call:
            case "start":
                self.framework = values["framework"]
                self.data = DataConfig.from_dict(values["data"])
                framework, imported = timed_import(self.framework)
                if values["threads"] is not None:
                    framework.set_threads(values["threads"])
                return imported, {}
            case "fingerprint":
                return get_framework(self.framework).fingerprint(values["device"]), {}
            case "bfloat16_support":
                found = get_framework(self.framework).bfloat16_support(values["device"])
                return asdict(found), {}
            case "epoch_digest":
                return self._epoch_digest(Recipe.from_dict(values["recipe"])), {}
            case "make":
                self._make(values, arrays)
                return None, {}
            case _:
                return self._ask_trainer(call, values, arrays)

    def _epoch_digest(self, recipe: Recipe) -> tuple[int, str]:
        return epoch_digest(run_images(self.data, recipe).train, recipe)

    def _make(self, values: dict[str, Any], arrays: Weights) -> None:
        self.trainer, self.handles = None, []  # frees the memory before the next one takes it
        self.trainer = get_framework(self.framework).make_trainer(
            spec_from_dict(values["spec"]),
            Recipe.from_dict(values["recipe"]),
            arrays,
            values["device"],
        )

    def _ask_trainer(self, call: str, values: dict[str, Any], arrays: Weights) -> Answer:
        if self.trainer is None:
            raise FrameworkError(f"{call}: no trainer was made yet.")
        answers: dict[str, Callable[[Trainer], Answer]] = {
            "train_step": lambda trainer: (self._train_step(trainer, values, arrays), {}),
            "read": lambda trainer: (self._read(trainer, values["handles"]), {}),
            "logits": lambda trainer: (None, {"logits": trainer.logits(arrays["images"])}),
            "activations": lambda trainer: _activations(trainer, values, arrays),
            "gradients": lambda t: t.gradients(arrays["images"], arrays["labels"]),
            "synchronize": lambda trainer: _nothing(trainer.synchronize),
            "weights": lambda trainer: (None, trainer.weights()),
            "state": lambda trainer: (None, trainer.state()),
            "restore": lambda trainer: _nothing(trainer.restore, *_two_parts(arrays)),
            "peak_memory_bytes": lambda trainer: (trainer.peak_memory_bytes(), {}),
        }
        if call not in answers:
            raise FrameworkError(
                f"{call}: unknown call; does the other process run another release?"
            )
        return answers[call](self.trainer)

    def _train_step(self, trainer: Trainer, values: dict[str, Any], arrays: Weights) -> int:
        rate = values["learning_rate"]
        self.handles.append(trainer.train_step(arrays["images"], arrays["labels"], rate))
        return len(self.handles) - 1

    def _read(self, trainer: Trainer, numbers: list[int]) -> list[dict[str, Any]]:
        return [asdict(value) for value in trainer.read([self.handles[n] for n in numbers])]


def _activations(trainer: Trainer, values: dict[str, Any], arrays: Weights) -> Answer:
    found = trainer.activations(arrays["images"], training=values["training"])
    return list(found), found  # safetensors keeps no order


def _nothing(call: Callable[..., None], *arguments: Any) -> Answer:
    call(*arguments)
    return None, {}


def _two_parts(arrays: Weights) -> tuple[Weights, Weights]:
    parts: dict[str, Weights] = {"weights": {}, "state": {}}
    for name, array in arrays.items():
        part, _, key = name.partition("/")
        parts[part][key] = array
    return parts["weights"], parts["state"]


def run_trainer_worker() -> int:
    """Answers calls to a trainer on standard input until it ends."""
    keep_freed_memory()
    return answer_calls(TrainerCalls().answer)
