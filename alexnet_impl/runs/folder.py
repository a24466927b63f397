"""A run as a folder: what was asked, where it ran, what came out.

    run.json               the request and the dataset's fingerprint, written first
    environment.json       machine, versions and flags
    history.json           one record per epoch, and each step's loss and learning rate
    checkpoint.safetensors weights, optimiser, random states and progress; gone once finished
    weights.safetensors    the weights at the end, in the canonical layout
    predictions.npz        probabilities and labels of the test images, and a few of the images
    result.json            status, accuracy, timing and memory, written last

Every file is written under a temporary name and renamed, so a crash at any instant leaves each of
them whole or absent. Whatever is shown anywhere is computed from such folders.
"""

import io
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.network.spec import Spec
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import DatasetRecord, History, Predictions, RunResult
from alexnet_impl.typed_json import from_plain
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights
from alexnet_impl.weights.safetensors_io import read_safetensors, write_safetensors

SCHEMA_VERSION = 1


Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Reads and writes the files of one run."""

    path: Path

    @classmethod
    def create(
        cls,
        path: Path,
        config: RunConfig,
        dataset: Dataset,
        weights_sha256: str,
        *,
        given_sha256: str | None = None,
    ) -> Self:
        """Start a run's folder; what identifies the run is on disk before the first step.

        Args:
            path: An empty folder, or one to be made.
            config: What the run is asked to do.
            dataset: Its images.
            weights_sha256: Of the weights it starts from.
            given_sha256: Of the file that config.weights names.

        Raises:
            RunError: If the folder holds something already or cannot be written.
        """
        make_folder(path)
        folder = cls(path)
        folder.write_json(
            "run.json",
            {
                "schema_version": SCHEMA_VERSION,
                "config": config.to_dict(),
                "dataset": asdict(DatasetRecord.of(dataset)),
                "initial_weights_sha256": weights_sha256,
                "given_weights_sha256": given_sha256,
            },
        )
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder of a run that exists.

        Raises:
            RunError: If it is not a run folder of this release.
        """
        folder = cls(path)
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run folder.")
        if not (path / "run.json").is_file():
            raise RunError(f"{path}: is no run folder: it has no run.json.")
        version = folder.read_json("run.json").get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}."
            )
        return folder

    @property
    def config(self) -> RunConfig:
        """What the run was asked to do."""
        try:
            return RunConfig.from_dict(self.read_json("run.json")["config"])
        except (KeyError, TypeError, ValueError, AttributeError, AlexNetError) as error:
            raise RunError(f"{self.path}: run.json is damaged ({error}).") from error

    @property
    def dataset(self) -> DatasetRecord:
        """Which images it saw."""
        return self._record("run.json", self.read_json("run.json").get("dataset"), DatasetRecord)

    @property
    def initial_weights_sha256(self) -> str:
        """Of the weights it started from."""
        return str(self.read_json("run.json").get("initial_weights_sha256"))

    @property
    def given_weights_sha256(self) -> str | None:
        """Of the file of weights it was given; None without one, or if an older release ran it."""
        digest = self.read_json("run.json").get("given_weights_sha256")
        return None if digest is None else str(digest)

    @property
    def environment(self) -> dict[str, Any]:
        """Machine, versions and flags."""
        return self.read_json("environment.json")

    @property
    def history(self) -> History:
        """Figures by epoch and by step, as far as the run has come."""
        if not (self.path / "history.json").is_file():
            return History()
        values = self.read_json("history.json")
        losses = values.get("step_loss")
        if isinstance(losses, list):
            losses = [math.nan if loss is None else loss for loss in losses]
        history = self._record("history.json", values | {"step_loss": losses}, History)
        if trouble := history.trouble():
            raise RunError(f"{self.path / 'history.json'}: is damaged ({trouble}).")
        return history

    @property
    def result(self) -> RunResult | None:
        """What came out; None while it runs or if it was killed."""
        if not (self.path / "result.json").is_file():
            return None
        return self._record("result.json", self.read_json("result.json"), RunResult)

    def finished_result(self) -> RunResult:
        """The result of a run that came to its end.

        Raises:
            RunError: If it did not; the message says how to go on.
        """
        result = self.result
        if result is None or result.status == "interrupted":
            raise RunError(
                f"{self.path}: this run is not finished; go on with: "
                f"alexnet train --resume {self.path}"
            )
        if result.status != "finished":
            raise RunError(f"{self.path}: this run {result.status}: {result.message}")
        return result

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write one of the folder's JSON files, whole or not at all."""
        write_bytes(self.path / name, json.dumps(values, indent=1, allow_nan=False).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the folder's JSON files.

        Raises:
            RunError: If it is missing or damaged.
        """
        path = self.path / name
        try:
            values = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; the run did not get so far.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read as JSON ({error}).") from error
        if not isinstance(values, dict):
            raise RunError(f"{path}: holds a {type(values).__name__} instead of an object.")
        return values

    def write_history(self, history: History) -> None:
        """Replace history.json; a loss that is not finite becomes null, which JSON can say."""
        values = asdict(history)
        losses = [loss if math.isfinite(loss) else None for loss in history.step_loss]
        self.write_json("history.json", values | {"step_loss": losses})

    def write_result(self, result: RunResult) -> None:
        """Replace result.json."""
        self.write_json("result.json", asdict(result))

    def write_weights(self, weights: Weights, spec: Spec) -> None:
        """Replace weights.safetensors."""
        config = self.config
        info = WeightsInfo(
            variant=config.variant,
            num_classes=len(self.dataset.class_names),
            input_size=spec.input_shape[1],
            width=config.width,
            input_scaling=config.recipe.input_scaling,
            resize_to=config.recipe.resize_to,
            class_names=self.dataset.class_names,
        )
        save_weights(self.path / "weights.safetensors", weights, info)

    def read_weights(self) -> Weights:
        """The weights at the end of the run."""
        weights, _ = load_weights(self.path / "weights.safetensors")
        return weights

    def write_checkpoint(self, arrays: Weights, progress: dict[str, Any]) -> None:
        """Replace checkpoint.safetensors."""
        path = self.path / "checkpoint.safetensors"
        write_safetensors(path, arrays, {"progress": json.dumps(progress)})

    def read_checkpoint(self) -> tuple[Weights, dict[str, Any]] | None:
        """Arrays and progress of the last checkpoint; None if there is none.

        Raises:
            WeightsError: If it is damaged.
            RunError: If it is no checkpoint.
        """
        path = self.path / "checkpoint.safetensors"
        if not path.is_file():
            return None
        arrays, info = read_safetensors(path)
        try:
            return arrays, dict(json.loads(info["progress"]))
        except (KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path}: is no checkpoint of a run ({error}).") from error

    def clean(self) -> None:
        """Remove what writers that were killed have left under temporary names."""
        for path in self.path.glob(".*-*"):
            path.unlink(missing_ok=True)

    def remove_checkpoint(self) -> None:
        """A finished run has no further use for it."""
        (self.path / "checkpoint.safetensors").unlink(missing_ok=True)

    def write_predictions(self, predictions: Predictions) -> None:
        """Replace predictions.npz."""
        buffer = io.BytesIO()
        arrays = {entry.name: getattr(predictions, entry.name) for entry in fields(predictions)}
        np.savez_compressed(buffer, **arrays)
        write_bytes(self.path / "predictions.npz", buffer.getvalue())

    def read_predictions(self) -> Predictions:
        """The test predictions.

        Raises:
            RunError: If they are missing or damaged.
        """
        path = self.path / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                found = Predictions(**{name: file[name] for name in file.files})
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; the run did not get so far.") from error
        except Exception as error:  # a damaged zip raises half a dozen kinds
            raise RunError(f"{path}: is damaged ({error}).") from error
        if trouble := found.trouble(self.dataset):
            raise RunError(f"{path}: is damaged ({trouble}).")
        return found

    def _record(self, name: str, values: Any, kind: type[Record]) -> Record:
        try:
            return from_plain(kind, values)
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.path / name}: is damaged ({error}).") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def check_free(path: Path) -> None:
    """Refuse a folder that holds something, before any work is done for it.

    Raises:
        RunError: If it does, or is no folder.
    """
    if path.is_dir() and any(path.iterdir()):
        raise RunError(f"{path}: holds files already; choose another folder with --output.")
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; choose another folder with --output.")


def make_folder(path: Path) -> None:
    """Make an empty folder, or take one that is empty.

    Raises:
        RunError: If it holds something, or cannot be made or written.
    """
    check_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_bytes(path / "writable", b"")
        (path / "writable").unlink()
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --output."
        ) from error
