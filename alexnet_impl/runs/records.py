"""What a run records: its status, its history by step and epoch, its timing and predictions."""

import itertools
import math
import reprlib
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.typed_json import from_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationStatistics:
    """How alive a network is on the check images.

    Attributes:
        step: Steps taken so far.
        dead_share: By ReLU: the share of its units, channels of a map or features, that are 0 for
            every image and position.
        logits_std: Standard deviation over the images, mean over the classes.
    """

    step: int
    dead_share: dict[str, float]
    logits_std: float

    @property
    def worst(self) -> tuple[str, float]:
        """The ReLU with the most dead units, and their share."""
        name = max(self.dead_share, key=lambda name: self.dead_share[name])
        return name, self.dead_share[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapseReport:
    """What the watch over a run has seen; kept in result.json.

    Attributes:
        shift: The probe's, see Probe.
        seen: The statistics by which the network has collapsed; None if it has not.
    """

    shift: dict[str, float] = field(default_factory=dict)
    seen: ActivationStatistics | None = None

    def __post_init__(self) -> None:
        if self.seen is not None and not self.seen.dead_share:
            raise ValueError("the statistics of a collapse have no dead_share")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The report whose asdict() this is.

        Raises:
            TypeError: If fields are missing, unknown or of another type.
        """
        return from_plain(cls, values)


NUM_SAMPLE_IMAGES = 24


Status = Literal["finished", "interrupted", "diverged", "collapsed"]


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
