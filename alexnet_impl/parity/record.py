"""What a ladder found, check by check, as data and as a file that others can ask."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.files import write_bytes

SCHEMA_VERSION = 1
FILE_NAME = "parity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What may explain a difference.

    Attributes:
        side: The framework that computes otherwise, or 'either' where that cannot be told.
        what: What it does, as the end of 'tensorflow computes as if ...'.
        remedy: What makes it right.
        distance: How far the difference is from what this cause would make of the other side,
            relative: near 0 where the cause explains it all; None where only its kind is known.
    """

    side: str
    what: str
    remedy: str
    distance: float | None = None

    def __str__(self) -> str:
        how = "" if self.distance is None else f" (explains it to {self.distance:.1e})"
        return f"{self.side} computes as if {self.what}{how}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of the ladder.

    Attributes:
        name: What was compared, such as 'logits'.
        precision: It was computed in; '' where nothing was computed.
        measured: The difference, relative unless the check says otherwise.
        tolerance: What it may be.
        reason: Why the tolerance lies there.
        where: The layer, weight or step at which the two part first; '' if they do not.
        causes: Likely causes of a failure, the likeliest first.
        sought: Whether causes were looked for.
    """

    name: str
    precision: str
    measured: float
    tolerance: float
    reason: str
    where: str = ""
    causes: tuple[Cause, ...] = ()
    sought: bool = False

    @property
    def holds(self) -> bool:
        """Whether the difference lies within its tolerance; NaN does not."""
        return self.measured <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Losses step by step of both frameworks from one form of lockstep training.

    Attributes:
        name: 'free float64', 're-synchronised float32', 'free float32', ...
        losses: Framework to its loss at every step.
        controls: What stands beside it: framework to the largest loss difference so far of that
            framework against itself, started from weights that differ by one last bit.
        draws: How often each control was drawn; it is the largest of them.
        allowed: What the largest difference so far may be at every step, where that follows from
            the controls.
    """

    name: str
    losses: dict[str, list[float]]
    controls: dict[str, list[float]]
    draws: int = 0
    allowed: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRecord:
    """What was compared and what came out.

    Attributes:
        request: The variant, width, recipe, data and steps that were asked for.
        environment: Machine and versions, by framework.
        checks: In the order of the ladder.
        series: The loss curves of the lockstep checks.
        complete: Whether the ladder was climbed to its end; not if it failed or was stopped.
    """

    request: dict[str, Any]
    environment: dict[str, Any]
    checks: tuple[CheckResult, ...]
    series: tuple[Series, ...] = ()
    complete: bool = True

    @property
    def holds(self) -> bool:
        """Whether the ladder was climbed to its end and every check held."""
        return self.complete and bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.holds)


def write_record(folder: Path, record: ParityRecord) -> Path:
    """Write parity.json into a folder, whole or not at all."""
    path = folder / FILE_NAME
    plain = {"schema_version": SCHEMA_VERSION, "holds": record.holds, **asdict(record)}
    for check, entry in zip(record.checks, plain["checks"], strict=True):
        entry["holds"] = check.holds
    write_bytes(path, json.dumps(_finite(plain), indent=1).encode())
    return path


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_record(path: Path) -> ParityRecord:
    """What write_record wrote.

    Args:
        path: The file, or the folder that it lies in.

    Raises:
        RunError: If it is missing, damaged or of another release.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        plain = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file; `alexnet parity` writes one.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: is no parity record, or is damaged ({error}).") from error
    if not isinstance(plain, dict) or plain.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{path}: is no parity record of this release; run `alexnet parity` again.")
    try:
        return ParityRecord(
            request=plain["request"],
            environment=plain["environment"],
            checks=tuple(_read_check(entry) for entry in plain.get("checks") or plain["rungs"]),
            series=tuple(_read_series(entry) for entry in plain["series"]),
            complete=plain["complete"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is a damaged parity record ({error!r}).") from error


def _read_check(entry: dict[str, Any]) -> CheckResult:
    # "rung" is the name in files written before 2026-11-29.
    values = {"name" if key == "rung" else key: entry[key] for key in entry if key != "holds"}
    values["measured"] = float(values["measured"])
    values["causes"] = tuple(_read_cause(cause) for cause in values["causes"])
    return CheckResult(**values)


def _read_cause(entry: dict[str, Any]) -> Cause:
    distance = entry["distance"]
    return Cause(**entry | {"distance": None if distance is None else float(distance)})


def _read_series(entry: dict[str, Any]) -> Series:
    curves = {
        part: {name: [float(value) for value in values] for name, values in entry[part].items()}
        for part in ("losses", "controls")
    }
    allowed = [float(value) for value in entry["allowed"]]
    return Series(name=entry["name"], draws=entry["draws"], allowed=allowed, **curves)
