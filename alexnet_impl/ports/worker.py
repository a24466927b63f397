"""Runs a user's model in a worker process, with the protocol of a local model."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import FrameworkName, get_framework
from alexnet_impl.frameworks.user_model import UserModel, UserModelFacts
from alexnet_impl.processes.channel import Answer, Channel, answer_calls, open_channel
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.canonical import Array, Weights


class RemoteModel:
    """The UserModel protocol over a channel.

    Attributes:
        input_shape: See UserModel.
        environment: Versions and device of its framework.
    """

    def __init__(self, channel: Channel) -> None:
        self.ask = channel.ask
        self.input_shape: tuple[int, int, int] | None = None
        self.environment: dict[str, Any] = {}

    def open(self, framework: FrameworkName, place: str, folder: Path) -> None:
        """Build the model in the worker; the first call."""
        request = {"framework": framework, "place": place, "folder": str(folder)}
        values, _ = self.ask("open", request)
        self.input_shape = None if values["input_shape"] is None else tuple(values["input_shape"])
        self.environment = values["environment"]

    def describe(self, images: Array) -> UserModelFacts:
        """See UserModel; images (batch, height, width, channels)."""
        values, _ = self.ask("describe", {}, {"images": images})
        return read(UserModelFacts, values)

    def use_precision(self, precision: str) -> str:
        """See UserModel."""
        return str(self.ask("use_precision", {"precision": precision})[0])

    def weights(self) -> Weights:
        """See UserModel; shapes in PyTorch's layout."""
        return self.ask("weights")[1]

    def set_weights(self, weights: Weights) -> None:
        """See UserModel; shapes in PyTorch's layout."""
        self.ask("set_weights", {}, weights)

    def forward(self, images: Array) -> Weights:
        """See UserModel; images (batch, height, width, channels)."""
        return self.ask("forward", {}, {"images": images})[1]

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        loss, found = self.ask("gradients", {}, {"images": images, "labels": labels})
        return float(loss), found

    def descend(
        self, images: Array, labels: Array, *, learning_rate: float, steps: int
    ) -> list[float]:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        numbers = {"learning_rate": learning_rate, "steps": steps}
        losses, _ = self.ask("descend", numbers, {"images": images, "labels": labels})
        return list(losses)


@contextmanager
def remote_model(
    framework: FrameworkName, *, interpreter: str = sys.executable
) -> Iterator[RemoteModel]:
    """Start a worker for one framework on the CPU; it ends with the block.

    The interpreter's environment needs this package and the framework.

    Raises:
        RunError: If it cannot be started, or ends too early.
    """
    # The tolerances were measured with the CPU's rounding.
    cpu = {"CUDA_VISIBLE_DEVICES": "-1"}
    with open_channel(framework, "model", interpreter=interpreter, variables=cpu) as channel:
        yield RemoteModel(channel)


class ModelCalls:
    """Answers the requests of a RemoteModel in the worker process."""

    def __init__(self) -> None:
        self.model: UserModel | None = None

    def answer(self, call: str, values: dict[str, Any], arrays: Weights) -> Answer:
        """Answer one request with values and arrays; shapes are those of UserModel."""
        if call == "open":
            return self._open(values), {}
        if self.model is None:
            raise FrameworkError(f"{call}: no model was opened yet.")
        answers: dict[str, Callable[[UserModel], Answer]] = {
            "describe": lambda model: (to_json(model.describe(arrays["images"])), {}),
            "use_precision": lambda model: (model.use_precision(values["precision"]), {}),
            "weights": lambda model: (None, model.weights()),
            "set_weights": lambda model: _set_weights(model, arrays),
            "forward": lambda model: (None, model.forward(arrays["images"])),
            "gradients": lambda model: model.gradients(arrays["images"], arrays["labels"]),
            "descend": lambda model: (
                model.descend(arrays["images"], arrays["labels"], **values),
                {},
            ),
        }
        return answers[call](self.model)

    def _open(self, values: dict[str, Any]) -> dict[str, Any]:
        framework = get_framework(values["framework"])
        self.model = framework.load_model(values["place"], Path(values["folder"]))
        return {
            "input_shape": self.model.input_shape,
            "environment": framework.fingerprint("cpu"),
        }


def _set_weights(model: UserModel, weights: Weights) -> Answer:
    model.set_weights(weights)
    return None, {}


def run_model_worker() -> int:
    """Answer calls to a user's model on standard input until it ends; returns exit code 0."""
    return answer_calls(ModelCalls().answer)
