"""Records of a run: status, history by step and epoch, timing, predictions, collapse."""

import itertools
import math
import reprlib
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.machine.interference import MAX_INTERFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationStatistics:
    """Dead units and spread of the logits, measured on the check images after a step.

    Attributes:
        step: Steps taken so far.
        dead_share: The name of each ReLU to its share of dead units (channels of a feature map, or
            features): those that are 0 for every image and position.
        logits_std: Standard deviation over the images, mean over the classes.
    """

    step: int
    dead_share: dict[str, float]
    logits_std: float

    @property
    def worst(self) -> tuple[str, float]:
        """Name of the ReLU with the largest share of dead units, and that share."""
        name = max(self.dead_share, key=lambda name: self.dead_share[name])
        return name, self.dead_share[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapseReport:
    """Results of the first-step probe and the collapse checks; kept in result.json.

    Attributes:
        shift: The name of each layer to how far the probe's step moved its outputs (see Probe).
        seen: Activation statistics at the check that detected the collapse, or None.
    """

    shift: dict[str, float] = field(default_factory=dict)
    seen: ActivationStatistics | None = None

    def __post_init__(self) -> None:
        if self.seen is not None and not self.seen.dead_share:
            raise ValueError("the statistics of a collapse have no dead_share")


NUM_SAMPLE_IMAGES = 24
"""Test images kept with the predictions, for pictures."""
NUM_WRONG_IMAGES = 48
"""Most wrongly classified test images kept with the predictions, for pictures."""

Status = Literal["finished", "interrupted", "diverged", "collapsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """Identity of the dataset that a run was trained and tested on."""

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
        """Returns the record of a dataset in memory."""
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
    """Figures of one epoch.

    Attributes:
        epoch: Counted from 1.
        step: Steps taken in the run so far.
        loss: Training loss, mean over the epoch's images, each batch before its update.
        train_top1_accuracy: Accuracy of the same forward passes, with augmentation and dropout.
        evaluated_on: 'validation' or 'test'.
        eval_loss: Mean cross-entropy of the evaluated images, without label smoothing.
        eval_top1_accuracy: Accuracy on the evaluated images.
        learning_rate: Learning rate of the epoch's last step.
        training_time_s: Seconds of the epoch's steps, without those in first_step_time_s.
        evaluation_time_s: Seconds of the evaluation.
        images_per_second: Images of the same steps over training_time_s.
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
    """Seconds that a run spent; the time between an interruption and its resumption is left out.

    Attributes:
        first_step_time_s: The first call of each batch size and number of steps, with tracing,
            compilation and allocation, and the step of the first-step probe; a resumed run has
            first calls again.
        training_time_s: All other steps.
        evaluation_time_s: All evaluations.
        images_per_second: Images of those other steps over training_time_s.
        interference: Share of all cores' time that other processes used meanwhile, 0 to 1; None if
            it was not measured, as by releases before 2026-12.
        other_work: Signs of other work before and meanwhile, one sentence each; of `alexnet
            compare` only.
    """

    first_step_time_s: float
    training_time_s: float
    evaluation_time_s: float
    images_per_second: float
    interference: float | None = None
    other_work: tuple[str, ...] = ()

    @property
    def beside_other_work(self) -> bool:
        """Whether other work used the machine meanwhile, so that the times show no speed."""
        return bool(self.other_work) or (self.interference or 0.0) > MAX_INTERFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Result of a run.

    Attributes:
        status: Only a 'finished' run has test figures.
        message: Why a run that is not finished stopped.
        steps: Steps taken.
        test_loss: Mean cross-entropy over the test images.
        test_top1_accuracy: Share of test images that are classified correctly.
        timing: Where the time went.
        peak_memory_bytes: Most memory of the process (its resident set).
        peak_device_memory_bytes: Most memory on the accelerator; None on a CPU.
        batches_sha256: Digest of every batch that was trained on, in order: if two runs have the
            same digest, they were fed the same bytes.
        collapse: Results of the probe and the checks; None if the network was not checked.
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


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run's figures by epoch and by step.

    Attributes:
        epochs: One record per finished epoch.
        step_loss: Training loss of each step, before its update.
        step_learning_rate: Learning rate of each step.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    step_learning_rate: list[float] = field(default_factory=list)

    def validate(self) -> None:
        """Checks that epochs and steps agree.

        Raises:
            ValueError: If they do not.
        """
        ends = [record.step for record in self.epochs]
        if [record.epoch for record in self.epochs] != list(range(1, len(ends) + 1)):
            raise ValueError("its epochs are not numbered from 1")
        if any(end <= begin for begin, end in itertools.pairwise([0, *ends])):
            raise ValueError(f"its epochs end after steps {reprlib.repr(ends)}")
        last = ends[-1] if ends else 0
        if last > len(self.step_loss):
            raise ValueError(
                f"epoch {len(ends)} ends after step {last}, but only {len(self.step_loss)} steps "
                "have a loss"
            )
        if not all(map(math.isfinite, self.step_loss[:last])):
            raise ValueError("a step of a finished epoch has no loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Class probabilities of the test images, from a finished run.

    Attributes:
        probabilities: float32 of shape (num_images, num_classes).
        labels: int64 of shape (num_images,).
        sample_indices: int64 of shape (num_samples,): which test images are kept for pictures.
        sample_images: uint8 of shape (num_samples, height, width, 3).
        wrong_indices: int64 of shape (num_wrong,): wrongly classified test images that are kept,
            the first ones in an order that all runs share. Two runs disagree on an image only if
            one of them is wrong. Empty in runs that were written before 2026-12-01.
        wrong_images: uint8 of shape (num_wrong, height, width, 3).
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    sample_indices: NDArray[np.int64]
    sample_images: NDArray[np.uint8]
    wrong_indices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    wrong_images: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8)
    )

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, int64 of shape (num_images,)."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return best

    @classmethod
    def of_file(cls, file: Any, dataset: DatasetRecord) -> Self:
        """Reads the arrays of an open .npz file, which are compressed.

        Raises:
            ValueError: If they declare more than the predictions for a dataset need.
            TypeError: If one is missing or superfluous.
        """
        height, width = dataset.image_size
        of_images = dataset.num_test_images * 8 * (len(dataset.class_names) + 1)
        num_kept = NUM_SAMPLE_IMAGES + NUM_WRONG_IMAGES
        most = of_images + num_kept * (3 * height * width + 8) + 10_000
        declared = sum(entry.file_size for entry in file.zip.infolist())
        if declared > most:
            raise ValueError(f"{declared:,} bytes of arrays, where at most {most:,} are needed")
        return cls(**{name: np.asarray(file[name]) for name in file.files})

    def validate(self, dataset: DatasetRecord) -> None:
        """Checks that these can be predictions for a dataset's test images.

        Raises:
            ValueError: If they cannot.
        """
        expected = (dataset.num_test_images, len(dataset.class_names))
        if self.probabilities.shape != expected:
            raise ValueError(f"probabilities have shape {self.probabilities.shape}, not {expected}")
        if self.probabilities.dtype.kind != "f":
            raise ValueError(f"probabilities are of type {self.probabilities.dtype}, not float")
        if self.labels.shape != expected[:1] or self.labels.dtype.kind != "i":
            raise ValueError(f"labels of type {self.labels.dtype} have shape {self.labels.shape}")
        if not np.isfinite(self.probabilities).all():
            raise ValueError("a probability is not finite")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= expected[1]:
            raise ValueError(f"labels go from {low} to {high}, but there are {expected[1]} classes")
        for kind in ("sample", "wrong"):
            self._validate_images(kind, expected[0])

    def _validate_images(self, kind: str, num_images: int) -> None:
        indices, images = (getattr(self, f"{kind}_{name}") for name in ("indices", "images"))
        if indices.ndim != 1 or indices.dtype.kind != "i":
            raise ValueError(f"{kind}_indices of type {indices.dtype} have shape {indices.shape}")
        if indices.size and not 0 <= indices.min() <= indices.max() < num_images:
            raise ValueError(f"{kind}_indices are not below {num_images}")
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(indices):
            raise ValueError(f"{kind}_images of type {images.dtype} have shape {images.shape}")
