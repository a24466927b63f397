"""Results of a parity comparison, check by check, and the parity.json file that stores them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.typed_json import parse_json, read

SCHEMA_VERSION = 1
FILE_NAME = "parity.json"
MAX_CAUSES = 3
"""Number of likely causes that a check names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A likely cause of a difference.

    Attributes:
        side: The framework with the mistake, or 'either' if that is not known.
        what: The mistake, as the end of 'tensorflow computes as if ...'.
        remedy: How to correct it.
        distance: Relative difference that remains after the other framework makes the same mistake:
            near 0 if the cause explains everything; None if only its kind is known.
        where: The place, if it is a further one than that of the check.
        also: Further places of the same mistake.
    """

    side: str
    what: str
    remedy: str
    distance: float | None = None
    where: str = ""
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"at {self.where}: " if self.where else ""
        how = "" if self.distance is None else f" (explains it to {self.distance:.1e})"
        also = f"; likewise at {names_text(self.also)}" if self.also else ""
        return f"{place}{self.side} computes as if {self.what}{how}; {self.remedy}{also}"


def names_text(names: Sequence[str]) -> str:
    """Names in a sentence, of many the first two: 'a', 'a and b', 'a, b and 3 more'."""
    if len(names) > MOST_NAMES:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


MOST_NAMES = 3
"""Names that are all said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one parity check.

    Attributes:
        name: What was compared, such as 'logits'.
        precision: Precision of the computation; '' if nothing was computed.
        measured: The difference; relative unless the reason says otherwise.
        tolerance: The largest difference allowed.
        reason: Why the tolerance has this size.
        where: Layer, weight or step of the first mismatch; '' if there is none.
        causes: Likely causes of a failure, the likeliest first.
        sought: Whether causes were looked for.
        notes: Sentences on what the check leaves out or has changed.
    """

    name: str
    precision: str
    measured: float
    tolerance: float
    reason: str
    where: str = ""
    causes: tuple[Cause, ...] = ()
    sought: bool = False
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the difference is within its tolerance; NaN is not."""
        return self.measured <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Loss curves of both frameworks in one form of lockstep training.

    Attributes:
        name: 'free float64', 're-synchronised float32', 'free float32', ...
        losses: Framework to its loss at every step.
        controls: Framework to its divergence, up to each step, from itself started with weights
            that differ in the last bit.
        draws: Number of trainings of each control; the largest divergence is kept.
        allowed: The largest divergence allowed at each step, if controls decide it.
    """

    name: str
    losses: dict[str, list[float]]
    controls: dict[str, list[float]]
    draws: int = 0
    allowed: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestDifference:
    """The element in which two arrays differ most.

    Attributes:
        index: (image, channel, row, column) of a map, (image, feature) of a row.
        values: Framework to the value there.
    """

    index: tuple[int, ...]
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference:
    """How far a user's two models are apart in one layer, or at their output.

    Attributes:
        names: Framework to the layer's name; 'output' for the models' output.
        before: Framework to the names of the operations before it.
        input: Relative difference of the layer's two inputs, infinite if their shapes differ; None
            for the output.
        output: The same of its two outputs.
        largest: Where the first of the two that differs, differs most; None if both agree or the
            shapes differ.
    """

    names: dict[str, str]
    before: dict[str, tuple[str, ...]]
    input: float | None
    output: float
    largest: LargestDifference | None = None

    @property
    def worst(self) -> float:
        """The larger of the two differences; NaN if one is."""
        return max(self.output, self.output if self.input is None else self.input, key=_nan_last)


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalPair:
    """Two Python files that reproduce the first mismatch without the models, if they could be made.

    Attributes:
        where: The place of the mismatch.
        difference: The models' largest absolute difference there; infinite if the shapes differ.
        reproduced: The difference between the outputs of the two files.
        files: Their names in the folder of the record; none if there is a reason.
        command: The shell command that runs them in that folder.
        reason: Why there are no files; '' if there are.
    """

    where: str
    difference: float
    reproduced: float
    files: tuple[str, ...] = ()
    command: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRecord:
    """The request and results of a parity comparison.

    Attributes:
        request: Variant, width, recipe, data and steps that were requested.
        environment: Machine, and versions by framework.
        checks: In the order of the stages.
        series: Loss curves of the lockstep checks.
        files: Of a user's two preprocessing functions, every image file to the relative difference
            of what they return.
        layers: Of a user's two models, every layer in PyTorch's order, and the output.
        minimal_pair: Files that reproduce the first mismatch of a user's two models.
        complete: Whether the last stage was reached and held; not if one failed or was stopped.
    """

    request: dict[str, Any]
    environment: dict[str, Any]
    checks: tuple[CheckResult, ...]
    series: tuple[Series, ...] = ()
    files: dict[str, float] = field(default_factory=dict)
    layers: tuple[LayerDifference, ...] = ()
    minimal_pair: MinimalPair | None = None
    complete: bool = True

    @property
    def holds(self) -> bool:
        """Whether the comparison is complete and every check held."""
        return self.complete and bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.holds)


def write_record(folder: Path, record: ParityRecord) -> Path:
    """Write parity.json into a folder, whole or not at all."""
    path = folder / FILE_NAME
    write_bytes(path, json.dumps(record_values(record), indent=1).encode())
    return path


def record_values(record: ParityRecord) -> dict[str, Any]:
    """The content of parity.json, in which numbers that are not finite are text."""
    values = {"schema_version": SCHEMA_VERSION, "holds": record.holds, **asdict(record)}
    for check, entry in zip(record.checks, values["checks"], strict=True):
        entry["holds"] = check.holds
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as text, which JSON has no numbers for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_record(path: Path) -> ParityRecord:
    """Read a record that write_record() wrote.

    Args:
        path: The file or its folder.

    Raises:
        RunError: If it is missing, damaged or of another release.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        values = parse_json(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file; `alexnet parity` writes it.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is not a parity record, or is damaged ({error}).") from error
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{path}: is not a parity record of this release; run `alexnet parity`.")
    # Before 2026-11-29 a check was called a rung.
    checks = values.pop("checks", None) or values.pop("rungs", None)
    kept = {key: values[key] for key in values if key not in ("schema_version", "holds")}
    try:
        kept["checks"] = [
            {"name" if key == "rung" else key: entry[key] for key in entry if key != "holds"}
            for entry in checks
        ]
        return read(ParityRecord, _with_floats(kept))
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: is a damaged parity record ({error}).") from error


def _with_floats(value: Any) -> Any:
    """The value with the numbers that _finite() wrote as text."""
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
