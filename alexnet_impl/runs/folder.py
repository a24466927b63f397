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

import hashlib
import io
import itertools
import json
import math
import os
import platform
import re
import reprlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import numpy as np
import psutil
from numpy.typing import NDArray

from alexnet_impl.data import DataConfig, Dataset
from alexnet_impl.errors import AlexNetError, RunError
from alexnet_impl.machine.linux import TELLING_VARIABLES, hardware_facts
from alexnet_impl.network.spec import Spec
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import OnCollapse, Recipe
from alexnet_impl.training.collapse import CollapseReport
from alexnet_impl.typed_json import from_plain
from alexnet_impl.weights.canonical import (
    Weights,
    WeightsInfo,
    load_weights,
    read_safetensors,
    save_weights,
    write_bytes,
    write_safetensors,
)

SCHEMA_VERSION = 1
NUM_SAMPLE_IMAGES = 24
DEVICES = ("auto", "cpu", "gpu")

Status = Literal["finished", "interrupted", "diverged", "collapsed"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """Which images a run saw."""

    name: str
    source: str
    fingerprint: str
    class_names: tuple[str, ...]
    num_train_images: int
    num_validation_images: int
    num_test_images: int
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.class_names:
            raise ValueError("class_names is empty")
        for name in ("num_train_images", "num_test_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The record of a dataset in memory."""
        return cls(
            name=dataset.name,
            source=dataset.source,
            fingerprint=dataset.fingerprint,
            class_names=dataset.class_names,
            num_train_images=len(dataset.train),
            num_validation_images=len(dataset.validation) if dataset.validation else 0,
            num_test_images=len(dataset.test),
            image_size=dataset.image_size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One pass over the training images.

    Attributes:
        epoch: 1 for the first.
        step: Steps taken in the run so far.
        loss: Mean over the epoch's images of what was trained on, each batch before its update.
        train_top1_accuracy: Of the same forward passes, augmentation and dropout included.
        evaluated_on: 'validation' or 'test'.
        eval_loss: Mean cross-entropy of the evaluated images, without label smoothing.
        eval_top1_accuracy: Of the evaluated images.
        learning_rate: Of the epoch's last step.
        training_time_s: Of the epoch's steps, those in first_step_time_s left out.
        evaluation_time_s: Of the evaluation.
        images_per_second: Of the epoch's steps, those in first_step_time_s left out.
    """

    epoch: int
    step: int
    loss: float
    train_top1_accuracy: float
    evaluated_on: str
    eval_loss: float
    eval_top1_accuracy: float
    learning_rate: float
    training_time_s: float
    evaluation_time_s: float
    images_per_second: float

    def __post_init__(self) -> None:
        _check_share("train_top1_accuracy", self.train_top1_accuracy)
        _check_share("eval_top1_accuracy", self.eval_top1_accuracy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where a run's time went, in seconds; interruptions are not counted.

    Attributes:
        first_step_time_s: The first call of each batch size and number of steps, with tracing,
            compilation and allocation, and the trial step before the first; a resumed run has
            first calls again.
        training_time_s: All other steps.
        evaluation_time_s: All evaluations.
        images_per_second: Training images over training_time_s.
    """

    first_step_time_s: float
    training_time_s: float
    evaluation_time_s: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out of a run.

    Attributes:
        status: Only 'finished' has test figures.
        message: Why a run that is not finished stopped.
        test_loss: Mean cross-entropy over the test images.
        test_top1_accuracy: Share of the test images.
        peak_memory_bytes: Most memory of the process (its resident set).
        peak_device_memory_bytes: Most memory on the accelerator; None on a CPU.
        batches_sha256: Chained over every batch that was trained on: equal, so were all bytes.
        collapse: What the probe and the checks saw; None where nobody looked.
    """

    status: Status
    message: str = ""
    steps: int
    test_loss: float | None = None
    test_top1_accuracy: float | None = None
    timing: Timing
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None
    batches_sha256: str
    collapse: CollapseReport | None = None

    def __post_init__(self) -> None:
        _check_share("test_top1_accuracy", self.test_top1_accuracy)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The result whose asdict() this is.

        Raises:
            TypeError: If fields are missing, unknown or of another type.
        """
        return from_plain(cls, values)


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run's figures by epoch and by step."""

    epochs: list[EpochRecord] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    step_learning_rate: list[float] = field(default_factory=list)

    def trouble(self) -> str:
        """Where epochs and steps contradict each other, in words; empty if nowhere."""
        ends = [record.step for record in self.epochs]
        if [record.epoch for record in self.epochs] != list(range(1, len(ends) + 1)):
            return "its epochs are not numbered from 1"
        if any(end <= begin for begin, end in itertools.pairwise([0, *ends])):
            return f"its epochs end after steps {reprlib.repr(ends)}"
        last = ends[-1] if ends else 0
        if last > len(self.step_loss):
            return f"epoch {len(ends)} ends after step {last}, of {len(self.step_loss)}"
        if not all(map(math.isfinite, self.step_loss[:last])):
            return "an epoch that ended has a step without a loss"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a finished run says of the test images.

    Attributes:
        probabilities: float32 of shape (num_images, num_classes).
        labels: int64 of shape (num_images,).
        sample_indices: int64 of shape (num_samples,), of the images kept for pictures.
        sample_images: uint8 of shape (num_samples, height, width, 3).
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    sample_indices: NDArray[np.int64]
    sample_images: NDArray[np.uint8]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, shape (num_images,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return best

    def trouble(self, dataset: DatasetRecord) -> str:
        """What keeps these from being predictions of a dataset, in words; empty if nothing."""
        expected = (dataset.num_test_images, len(dataset.class_names))
        if self.probabilities.shape != expected:
            return f"probabilities have shape {self.probabilities.shape}, not {expected}"
        if self.probabilities.dtype.kind != "f":
            return f"probabilities are of type {self.probabilities.dtype}"
        if self.labels.shape != expected[:1] or self.labels.dtype.kind != "i":
            return f"labels of type {self.labels.dtype} have shape {self.labels.shape}"
        if not np.isfinite(self.probabilities).all():
            return "a probability is not finite"
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= expected[1]:
            return f"labels go from {low} to {high}, of {expected[1]} classes"
        return ""


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


def weights_sha256(weights: Weights) -> str:
    """One hex digest over names, shapes and bytes of weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def environment_fingerprint() -> dict[str, Any]:
    """Machine, versions and settings that decide speed and numerics; imports no framework."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        **hardware_facts(),
        "packages": dict(_package_versions()),
        "git_commit": _git_commit(),
        "variables": {k: os.environ[k] for k in TELLING_VARIABLES if k in os.environ},
    }


_PACKAGES = ("alexnet_impl", "numpy", "torch", "torchvision", "tensorflow", "keras", "safetensors")


def _package_versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _git_commit() -> str | None:
    """Commit of the checkout this package runs from, '+' behind it if the work tree differs."""
    here = Path(__file__).parents[1]
    if _git(here, "rev-parse", "--show-prefix") != f"{here.name}/":
        return None  # installed somewhere inside another project's checkout
    return _git(here, "describe", "--always", "--dirty=+", "--abbrev=12")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        found = subprocess.run(  # noqa: S603 - our own words and folder
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def process_peak_memory_bytes() -> int:
    """Most memory that this process has held at once (its resident set's high-water mark)."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent's memory as well, where it forked
        match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if match:
            return int(match.group(1)) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
