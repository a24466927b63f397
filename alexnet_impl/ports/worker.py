"""Runs a user's model in a worker process, with the protocol of a local model."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import FrameworkName
from alexnet_impl.frameworks.user_model import Edit, UserModel, UserModelFacts
from alexnet_impl.frameworks.user_training import Training, TrainingFacts, TrainingStep
from alexnet_impl.processes.channel import Answer, Channel, answer_calls
from alexnet_impl.processes.framework_import import timed_import
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.canonical import Array, Weights


class RemoteModel:
    """The UserModel protocol over a channel.

    Attributes:
        input_shape: See UserModel.
        environment: Versions and device of its framework, and the facts of timed_import().
    """

    def __init__(self, channel: Channel) -> None:
        self.ask = channel.ask
        self.input_shape: tuple[int, ...] | None = None
        self.environment: dict[str, Any] = {}

    def open(
        self, framework: FrameworkName, place: str, folder: Path, path: Sequence[str] = ()
    ) -> None:
        """Build the model in the worker; the first call.

        Args:
            framework: The model's framework.
            place: 'module:function', or 'file.py:function'.
            folder: Where they are looked for first.
            path: Further folders that the model's modules are imported from.
        """
        request = {"framework": framework, "place": place, "folder": str(folder)}
        values, _ = self.ask("open", request | {"path": list(path)})
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

    def replay(self, images: Array, edits: Sequence[Edit], place: str = "") -> Weights:
        """See UserModel; images (batch, height, width, channels)."""
        arrays = {
            f"{number}.{short}": array
            for number, edit in enumerate(edits)
            for short, array in edit.weights.items()
        }
        said = [to_json(replace(edit, weights={})) for edit in edits]
        values = {"edits": said, "place": place}
        return self.ask("replay", values, {"images": images, **arrays})[1]

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        loss, found = self.ask("gradients", {}, {"images": images, "labels": labels})
        return float(loss), found

    def prepare_training(self, training: Training, folder: Path) -> TrainingFacts:
        """See UserModel."""
        if callable(training):
            raise FrameworkError(
                "a model that runs in a worker process needs its training function as "
                "'module:function'."
            )
        said = {"training": training, "folder": str(folder)}
        return read(TrainingFacts, self.ask("prepare_training", said)[0])

    def training_step(self, images: Array, labels: Array, *, update: bool) -> TrainingStep:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        arrays = {"images": images, "labels": labels}
        values, found = self.ask("training_step", {"update": update}, arrays)
        return TrainingStep(output=found.pop("output"), gradients=found, **values)

    def descend(
        self, images: Array, labels: Array, *, learning_rate: float, steps: int
    ) -> list[float]:
        """See UserModel; images (batch, height, width, channels), labels (batch,)."""
        numbers = {"learning_rate": learning_rate, "steps": steps}
        losses, _ = self.ask("descend", numbers, {"images": images, "labels": labels})
        return list(losses)


class ModelCalls:
    """Answers requests on a user's model or preprocessing, one at a time, in the worker process."""

    def __init__(self) -> None:
        self.model: UserModel | None = None
        self.own_path = tuple(sys.path)
        self.folders: list[str] = []

    def answer(self, call: str, values: dict[str, Any], arrays: Weights) -> Answer:
        """Answer one request with values and arrays; shapes are those of UserModel."""
        if call == "open":
            return self._open(values), {}
        if call == "preprocess":
            return self._preprocess(values)
        if call == "decode":
            return None, _decode(values)
        if self.model is None:
            raise FrameworkError(f"{call}: no model was opened yet.")
        answers: dict[str, Callable[[UserModel], Answer]] = {
            "describe": lambda model: (to_json(model.describe(arrays["images"])), {}),
            "use_precision": lambda model: (model.use_precision(values["precision"]), {}),
            "weights": lambda model: (None, model.weights()),
            "set_weights": lambda model: _set_weights(model, arrays),
            "forward": lambda model: (None, model.forward(arrays["images"])),
            "replay": lambda model: (None, _replay(model, values, arrays)),
            "gradients": lambda model: model.gradients(arrays["images"], arrays["labels"]),
            "prepare_training": lambda model: (
                to_json(model.prepare_training(values["training"], Path(values["folder"]))),
                {},
            ),
            "training_step": lambda model: _training_step(model, values, arrays),
            "descend": lambda model: (
                model.descend(arrays["images"], arrays["labels"], **values),
                {},
            ),
        }
        return answers[call](self.model)

    def _open(self, values: dict[str, Any]) -> dict[str, Any]:
        framework, facts = timed_import(values["framework"])
        self.model = None  # frees its memory before the next one takes it
        self._look_in(values["place"], Path(values["folder"]), values["path"])
        self.model = framework.load_model(values["place"], Path(values["folder"]))
        return {
            "input_shape": self.model.input_shape,
            "environment": framework.fingerprint("cpu") | facts,
        }

    def _preprocess(self, values: dict[str, Any]) -> Answer:
        """Run a user's preprocessing on files: an error or an image (height, width, channels)."""
        framework, facts = timed_import(values["framework"])
        place, folder = values["place"], Path(values["folder"])
        self._look_in(place, folder, values["path"])
        found = framework.run_preprocessing(place, folder, values["files"])
        said = [{"error": one.error, "random": one.random} for one in found]
        images = {str(n): one.image for n, one in enumerate(found) if one.image is not None}
        return {"files": said, "environment": framework.fingerprint("cpu") | facts}, images

    def _look_in(self, place: str, folder: Path, path: list[str]) -> None:
        """Import the next model from its own folders, as if no model had been built before."""
        file = Path(place.rpartition(":")[0])
        folders = [str(folder / file.parent)] if file.suffix == ".py" else []
        folders += [str(folder), *path]
        forget_modules(self.folders, folders)
        self.folders = folders
        sys.path[:] = [*self.own_path, *path]


def forget_modules(before: Sequence[str], now: Sequence[str]) -> None:
    """Forget modules that were imported from some folders and are not what others contain."""
    for name in {name.partition(".")[0] for name in sys.modules}:
        loaded = _origin(getattr(sys.modules.get(name), "__spec__", None))
        if loaded and _found(name, before) == loaded != _found(name, now):
            for part in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
                del sys.modules[part]


def _found(name: str, folders: Sequence[str]) -> tuple[str, ...]:
    return _origin(PathFinder.find_spec(name, folders))


def _origin(spec: ModuleSpec | None) -> tuple[str, ...]:
    """File of a module, or the folders of a package without one."""
    if spec is None:
        return ()
    return (spec.origin,) if spec.origin else tuple(spec.submodule_search_locations or ())


def _decode(values: dict[str, Any]) -> Weights:
    """Pixels (height, width, 3) of JPEG files: '<number>.<name>', see Framework.decode_jpeg()."""
    framework, _ = timed_import(values["framework"])
    return {
        f"{number}.{name}": pixels
        for number, file in enumerate(values["files"])
        if (data := Path(file).read_bytes()).startswith(JPEG)
        for name, pixels in framework.decode_jpeg(data).items()
    }


JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG file."""


def _replay(model: UserModel, values: dict[str, Any], arrays: Weights) -> Weights:
    edits = []
    for number, said in enumerate(values["edits"]):
        start = f"{number}."
        weights = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
        edits.append(replace(read(Edit, said), weights=weights))
    return model.replay(arrays["images"], edits, values["place"])


def _training_step(model: UserModel, values: dict[str, Any], arrays: Weights) -> Answer:
    step = model.training_step(arrays["images"], arrays["labels"], update=values["update"])
    said = {"loss": step.loss, "rate": step.rate}
    return said, {**step.gradients, "output": step.output}


def _set_weights(model: UserModel, weights: Weights) -> Answer:
    model.set_weights(weights)
    return None, {}


def run_model_worker() -> int:
    """Answer calls to a user's model on standard input until it ends; returns exit code 0."""
    return answer_calls(ModelCalls().answer)
