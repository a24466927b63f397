"""A run folder: the configuration, environment, history, weights and result of one training run.

    run.json               the configuration and the dataset's fingerprint, written first
    environment.json       machine, versions and flags
    history.json           one record per epoch, and each step's loss and learning rate
    checkpoint.safetensors weights, optimizer, random states and progress; removed when finished
    weights.safetensors    the weights at the end, in the canonical layout
    predictions.npz        probabilities and labels of the test images, and a few of the images
    result.json            status, accuracy, timing and memory, written last

Each file is written under a temporary name and then renamed, so that a crash at any instant leaves
it whole or absent. One process at a time writes to a folder: it holds a lock in it. All reports are
computed from run folders.
"""

import io
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.files import hold_lock, is_temporary, remove_abandoned, write_bytes
from alexnet_impl.network.spec import Spec
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.records import DatasetRecord, History, Predictions, RunResult
from alexnet_impl.typed_json import parse_json, read, to_json
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights
from alexnet_impl.weights.safetensors_io import read_safetensors, write_safetensors

SCHEMA_VERSION = 1
LOCK = ".lock"
LOCK_WAIT_S = 5.0
"""How long to wait for a lock: a worker whose parent has died still saves its state."""

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
        """Creates the folder of a new run and writes run.json.

        `given_sha256` is the digest of the file that config.weights names, if it names one.

        Raises:
            RunError: See hold_new_folder().
        """
        folder = cls(path)
        with hold_new_folder(path):
            folder.write_json(
                "run.json",
                {
                    "schema_version": SCHEMA_VERSION,
                    "config": to_json(config),
                    "dataset": to_json(DatasetRecord.of(dataset)),
                    "initial_weights_sha256": weights_sha256,
                    "given_weights_sha256": given_sha256,
                },
            )
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the folder of an existing run.

        Raises:
            RunError: If it is no run folder, or was written with another schema version.
        """
        folder = cls(path)
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run folder.")
        if not (path / "run.json").is_file():
            remedy = "" if _holds_files(path) else " It is empty: start the run anew."
            raise RunError(f"{path}: is no run folder: it has no run.json.{remedy}")
        version = folder.read_json("run.json").get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{path}: has schema_version={version!r}; this release reads {SCHEMA_VERSION}."
            )
        return folder

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self._record("run.json", self.read_json("run.json").get("config"), RunConfig)

    @property
    def dataset(self) -> DatasetRecord:
        """Identity of the dataset the run was trained on."""
        return self._record("run.json", self.read_json("run.json").get("dataset"), DatasetRecord)

    @property
    def initial_weights_sha256(self) -> str:
        """Digest of the initial weights."""
        return str(self.read_json("run.json").get("initial_weights_sha256"))

    @property
    def given_weights_sha256(self) -> str | None:
        """Digest of the weight file the run was given; None without one, or in an older folder."""
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
        if isinstance(losses, list):  # see write_history()
            losses = [math.nan if loss is None else loss for loss in losses]
        history = self._record("history.json", values | {"step_loss": losses}, History)
        try:
            history.validate()
        except ValueError as error:
            raise self._damaged("history.json", error) from None
        return history

    @property
    def result(self) -> RunResult | None:
        """The run's result; None while it runs, or if it was killed."""
        if not (self.path / "result.json").is_file():
            return None
        return self._record("result.json", self.read_json("result.json"), RunResult)

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to train, whatever the result is."""
        result = self.result
        return result is not None and result.status != "interrupted"

    def finished_result(self) -> RunResult:
        """Returns the result of a finished run.

        Raises:
            RunError: If the run is not finished; the message says how to continue.
        """
        result = self.result
        if result is None or result.status == "interrupted":
            raise RunError(
                f"{self.path}: this run is not finished; continue with: "
                f"alexnet train --resume {self.path}"
            )
        if result.status != "finished":
            raise RunError(f"{self.path}: this run {result.status}: {result.message}")
        return result

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Writes one of the folder's JSON files, whole or not at all."""
        write_bytes(self.path / name, json.dumps(values, indent=1, allow_nan=False).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the folder's JSON files.

        Raises:
            RunError: If it is missing or damaged.
        """
        path = self.path / name
        try:
            values = parse_json(path.read_bytes(), _refuse_constant)
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; the run stopped before it was written.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read as JSON ({error}).") from error
        if not isinstance(values, dict):
            raise RunError(f"{path}: holds a {type(values).__name__} instead of an object.")
        return values

    def write_history(self, history: History) -> None:
        """Replaces history.json; a loss that is not finite becomes null, as JSON has no NaN."""
        losses = [loss if math.isfinite(loss) else None for loss in history.step_loss]
        self.write_json("history.json", to_json(history) | {"step_loss": losses})

    def write_result(self, result: RunResult) -> None:
        """Replaces result.json."""
        self.write_json("result.json", to_json(result))

    def write_weights(self, weights: Weights, spec: Spec) -> None:
        """Replaces weights.safetensors.

        They are the whole network's, in the canonical layout.
        """
        config = self.config
        info = WeightsInfo(
            variant=config.variant,
            num_classes=len(self.dataset.class_names),
            input_size=spec.input_shape[1],
            width=config.width,
            input_scaling=config.recipe.input_scaling,
            resize_to=config.recipe.resize_to,
            class_names=self.dataset.class_names,
            network=config.network,
        )
        save_weights(self.path / "weights.safetensors", weights, info)

    def read_weights(self) -> Weights:
        """Returns the weights at the end of the run, in the canonical layout."""
        weights, _ = load_weights(self.path / "weights.safetensors")
        return weights

    def write_checkpoint(self, arrays: Weights, progress: dict[str, Any]) -> None:
        """Replaces checkpoint.safetensors.

        The arrays, of any shape, are weights and training state by name.
        """
        path = self.path / "checkpoint.safetensors"
        write_safetensors(path, arrays, {"progress": json.dumps(progress)})

    def read_checkpoint(self) -> tuple[Weights, dict[str, Any]] | None:
        """Returns arrays (of any shape) and progress of the last checkpoint, or None without one.

        Raises:
            WeightsError: If the file is damaged.
            RunError: If the file is no checkpoint.
        """
        path = self.path / "checkpoint.safetensors"
        if not path.is_file():
            return None
        arrays, info = read_safetensors(path)
        try:
            return arrays, dict(parse_json(info["progress"]))
        except (KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path}: is no checkpoint of a run ({error}).") from error

    def remove_checkpoint(self) -> None:
        """Removes the checkpoint, if there is one."""
        (self.path / "checkpoint.safetensors").unlink(missing_ok=True)

    def write_predictions(self, predictions: Predictions) -> None:
        """Replaces predictions.npz."""
        buffer = io.BytesIO()
        arrays = {entry.name: getattr(predictions, entry.name) for entry in fields(predictions)}
        np.savez_compressed(buffer, **arrays)
        write_bytes(self.path / "predictions.npz", buffer.getvalue())

    def read_predictions(self) -> Predictions:
        """Reads the predictions on the test images.

        Raises:
            RunError: If the file is missing or damaged.
        """
        path = self.path / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                found = Predictions.of_file(file, self.dataset)
        except FileNotFoundError as error:
            raise RunError(f"{path}: is missing; the run stopped before it was written.") from error
        except Exception as error:  # a damaged zip raises half a dozen kinds
            raise self._damaged("predictions.npz", error) from error
        try:
            found.validate(self.dataset)
        except ValueError as error:
            raise self._damaged("predictions.npz", error) from None
        return found

    def _record(self, name: str, values: Any, kind: type[Record]) -> Record:
        try:
            return read(kind, values)
        except AlexNetError as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> RunError:
        return RunError(f"{self.path / name}: is damaged ({error}).")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def stamped_folder(what: str, variant: str) -> Path:
    """The folder that a job writes unless it is told another one: runs/TIME-WHAT-VARIANT."""
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}-{variant}"


def check_free(path: Path) -> None:
    """Checks that a run can be written to a path, before any work is done for it.

    Raises:
        RunError: If it is a file, or a folder with anything else than a killed process left.
    """
    if path.is_dir() and _holds_files(path):
        raise RunError(f"{path}: holds files already; choose another folder with --output.")
    if path.exists() and not path.is_dir():
        raise RunError(f"{path}: is a file; choose another folder with --output.")


def _holds_files(path: Path) -> bool:
    """Whether a folder holds anything else than a killed process left."""
    return any(entry.name != LOCK and not is_temporary(entry) for entry in path.iterdir())


@contextmanager
def hold_new_folder(path: Path) -> Iterator[None]:
    """Makes a folder, or takes an empty one, and holds it; see hold_folder().

    Raises:
        RunError: See check_free() and hold_folder().
    """
    check_free(path)
    with hold_folder(path):
        check_free(path)
        yield


@contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Makes a folder if there is none, and keeps other processes from writing to it.

    What killed writers left there is removed, and a folder made for this that is empty at the end.

    The system releases the lock when this process ends, however it does. This process may hold a
    folder several times. On a network drive without locks, nothing is kept away.

    Raises:
        RunError: If another process holds it, or it cannot be made or written.
    """
    with ExitStack() as stack:
        if not path.exists():
            stack.callback(_remove_empty, path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(path / LOCK, LOCK_WAIT_S))
            remove_abandoned(path, is_held=True)
        except TimeoutError:
            raise RunError(
                f"{path}: another process is writing to this folder; wait until it has ended, or "
                "choose another folder."
            ) from None
        except OSError as error:
            raise RunError(
                f"{path}: cannot be written ({error.strerror}); choose another folder with "
                "--output."
            ) from error
        yield


def _remove_empty(path: Path) -> None:
    with suppress(OSError):  # it holds files
        path.rmdir()
