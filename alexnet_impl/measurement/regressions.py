"""Two recordings side by side: what has become slower, matched by what was measured, not by names.

The two were not interleaved: whatever changed on the machine between them looks like a change of
the code. So a regression is only what lies beyond a threshold for all of its interval, recordings
of two machines are refused unless the caller insists, and whatever else differs is put beside the
figures as a label.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.machine.changed_facts import machine_differences, software_differences
from alexnet_impl.measurement.case import FULL_TRAINING
from alexnet_impl.measurement.recording import Entry, Recording
from alexnet_impl.measurement.workloads import get_work
from alexnet_impl.stats.speed_ratios import (
    MeasurementError,
    Ratio,
    Verdict,
    independent_ratio,
    summarize,
    verdict,
)

Key = tuple[tuple[str, Any], ...]
"""An entry's key as something that can be looked up: its fields in the order of their names."""

NORMALISED = (
    "Ratios are of times in machine units: seconds x what the calibration kernels reached, the "
    "matrix product's FLOP/s in the case's precision, or the copy's B/s for works without a "
    "network's products. The calibration's own noise is not in the intervals; pytest's rows of one "
    "framework, device and precision share a calibration, whose error shifts all of them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """What counts as a regression, and what may be compared at all.

    Attributes:
        threshold: NEW may take so much more time, as a share: 0.05 for 5 %.
        threshold_for: Thresholds of their own: of a group ('training/cifar'), or of a work
            ('training') for all its groups.
        margin: NEW is called faster or slower only beyond this share; at most the threshold
            counts, so that a regression is always called slower.
        confidence: Of each case's interval by itself.
        normalise: Compare times in machine units; machines may then differ.
        allow_other_machine: Compare seconds of different machines all the same.

    Raises:
        RunError: If a threshold or the margin is negative or not finite, or the confidence does not
            lie between 0 and 1.
    """

    threshold: float = 0.05
    threshold_for: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.02
    confidence: float = 0.95
    normalise: bool = False
    allow_other_machine: bool = False

    def __post_init__(self) -> None:
        shares = {"threshold": self.threshold, "margin": self.margin}
        shares |= {f"threshold of {group}": share for group, share in self.threshold_for.items()}
        for name, share in shares.items():
            if not 0 <= share < math.inf:
                raise RunError(f"{name}={share:g} must be finite and at least 0; 0.05 is 5 %.")
        if not 0 < self.confidence < 1:
            raise RunError(f"confidence={self.confidence:g} must lie between 0 and 1; take 0.95.")

    def threshold_of(self, group: str) -> float:
        """The group's own threshold, or its work's, or that of all."""
        by_work = self.threshold_for.get(_work_of(group), self.threshold)
        return self.threshold_for.get(group, by_work)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    """One case that both recordings hold.

    Attributes:
        title: NEW's, with what tells apart cases of one title.
        group: Work and variant, as 'training/cifar'.
        unit: 'images' or 'models'.
        old_s: Median seconds per image (or model) in OLD, never normalised.
        new_s: The same in NEW.
        ratio: How many times as fast NEW is as OLD; of times in machine units if `scaled_by`.
        verdict: Of NEW, at the margin.
        threshold: Of its group.
        scaled_by: The calibration kernel that times were multiplied by, such as 'matmul float32';
            '' if they are compared in seconds.
    """

    title: str
    group: str
    unit: str
    old_s: float
    new_s: float
    ratio: Ratio
    verdict: Verdict
    threshold: float
    scaled_by: str = ""

    @property
    def old_per_second(self) -> float:
        """Images (or models) per second in OLD."""
        return 1 / self.old_s

    @property
    def new_per_second(self) -> float:
        """Images (or models) per second in NEW."""
        return 1 / self.new_s

    @property
    def regression(self) -> bool:
        """Whether the interval lies wholly below 1 / (1 + threshold)."""
        return verdict(self.ratio, self.threshold) == "slower"

    @property
    def cleared(self) -> bool:
        """Whether the interval lies wholly above it; if neither, the times cannot tell."""
        return self.ratio.low > 1 / (1 + self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingComparison:
    """What two recordings say of each other.

    Attributes:
        old: The file compared against.
        new: The file judged.
        options: What counted as a regression.
        cases: What both hold, in NEW's order.
        only_old: Titles of what OLD alone holds.
        only_new: Titles of what NEW alone holds.
        out_of_memory: Titles of what ran in OLD and did not fit into memory in NEW.
        labels: What to know beside the figures, a line each: normalisation, another machine, other
            software, pooled entries, doubtful times.
    """

    old: Path
    new: Path
    options: ComparisonOptions
    cases: tuple[ComparedCase, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    labels: tuple[str, ...]
    out_of_memory: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[ComparedCase, ...]:
        """The cases in which NEW is slower beyond the threshold."""
        return tuple(case for case in self.cases if case.regression)

    @property
    def worse(self) -> bool:
        """Whether a case is slower beyond its threshold, or does not fit into memory any more."""
        return bool(self.regressions or self.out_of_memory)

    @property
    def undecided(self) -> tuple[ComparedCase, ...]:
        """The cases of which the times cannot tell whether they are."""
        return tuple(case for case in self.cases if not (case.regression or case.cleared))

    @property
    def doubtful(self) -> bool:
        """Whether a case of OLD is undecided, or was lost: it is not in NEW."""
        return bool(self.undecided or self.only_old)


Cases = dict[Key, list[Entry]]


def compare_recordings(
    old: Recording, new: Recording, options: ComparisonOptions
) -> RecordingComparison:
    """Compare what both hold; entries are the same case if their keys are equal.

    Titles, test names and versions do not matter. Times are taken per image (or model), so that a
    call may do another amount in each. Where a file holds a key several times, as when a case was
    compared with itself, its entries are repetitions: their times are pooled in the file's order.

    Raises:
        RunError: If the machines differ and options does not allow it, no key is in both, times, an
            amount or a key is damaged, a case's units differ, or a peak is missing to normalise.
        UnknownNameError: If a threshold is for a group or work that neither holds.
    """
    machines = _check_machines(old, new, options)
    before, after = _cases(old), _cases(new)
    _check_groups(options, before, after)
    titles = _titles(before, after)
    common = [key for key in after if key in before]
    unfit = {_key_of(key) for key in new.out_of_memory}
    out_of_memory = [key for key in before if key in unfit]
    in_neither = len(unfit & {_key_of(key) for key in old.out_of_memory})
    if not common and not out_of_memory and not in_neither:
        raise RunError(
            f"{old.path} and {new.path} have no case in common: the first holds "
            f"{_some(before, titles)}, the second {_some(after, titles)}; "
            f"{_nearest(before, after)}measure the same cases."
        )
    compared = tuple(
        _compare(
            titles[key],
            _pool(old, before[key], options),
            _pool(new, after[key], options),
            options,
        )
        for key in common
    )
    return RecordingComparison(
        old=old.path,
        new=new.path,
        options=options,
        cases=compared,
        only_old=tuple(titles[k] for k in before if k not in after and k not in out_of_memory),
        only_new=tuple(titles[key] for key in after if key not in before),
        out_of_memory=tuple(titles[key] for key in out_of_memory),
        labels=(
            *([NORMALISED] if options.normalise else []),
            *([f"{in_neither} more fit into memory in neither file"] if in_neither else []),
            *(f"another machine: {difference}" for difference in machines),
            *software_differences(old.machine, new.machine),
            *_framework_labels((before[key], after[key]) for key in common),
            *(f"OLD: {warning}" for warning in old.disturbed.warnings),
            *(f"NEW: {warning}" for warning in new.disturbed.warnings),
            *_entry_labels("OLD", [before[key] for key in common], [titles[k] for k in common]),
            *_entry_labels("NEW", [after[key] for key in common], [titles[k] for k in common]),
        ),
    )


def _check_machines(old: Recording, new: Recording, options: ComparisonOptions) -> tuple[str, ...]:
    """Where the machines differ."""
    found = machine_differences(old.machine, new.machine)
    if not old.machine and not new.machine:
        found = ("neither file tells its machine",)
    if found and not options.normalise and not options.allow_other_machine:
        raise RunError(
            f"{old.path} and {new.path} are of different machines ({'; '.join(found)}): their "
            "times cannot be compared; measure both on one, or give --normalise to compare in "
            "machine units, or --other-machine to compare seconds all the same."
        )
    return found


def _cases(recording: Recording) -> Cases:
    """A file's entries by their key, in the file's order."""
    found: Cases = {}
    for entry in recording.entries:
        for name in ("work", "variant", "framework"):
            if not isinstance(entry.key.get(name), str):
                raise RunError(
                    f"{recording.path}: {entry.title}: the key has {name}={entry.key.get(name)!r}, "
                    "which must be a name; the file is damaged: measure again."
                )
        found.setdefault(_identity(entry), []).append(entry)
    return found


def _identity(entry: Entry) -> Key:
    return _key_of(entry.key)


def _key_of(plain: Mapping[str, Any]) -> Key:
    return tuple((name, _hashable(plain[name])) for name in sorted(plain))


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    return value


def _group_of(entry: Entry) -> str:
    return f"{entry.key['work']}/{entry.key['variant']}"


def _work_of(group: str) -> str:
    return group.partition("/")[0]


def _check_groups(options: ComparisonOptions, *sides: Cases) -> None:
    """A threshold that nothing is held to would be a check that never fails."""
    groups = {_group_of(entry) for side in sides for entries in side.values() for entry in entries}
    known = sorted(groups | {_work_of(group) for group in groups})
    for name in options.threshold_for:
        if name not in known:
            raise UnknownNameError("group", name, known)


def _titles(before: Cases, after: Cases) -> dict[Key, str]:
    """NEW's title of each key, or OLD's; cases of one title say in what they differ."""
    alike: dict[str, list[Key]] = {}
    for key, entries in (before | after).items():
        alike.setdefault(entries[0].title, []).append(key)
    return {key: f"{title}{_apart(key, keys)}" for title, keys in alike.items() for key in keys}


def _apart(key: Key, keys: Sequence[Key]) -> str:
    names = sorted({name for other in keys for name, _ in set(key) ^ set(other)})
    values = dict(key)
    return f" ({', '.join(f'{name}={values.get(name)}' for name in names)})" if names else ""


def _some(cases: Cases, titles: Mapping[Key, str]) -> str:
    """The first few titles."""
    if not cases:
        return "none that fits into memory"
    first = [titles[key] for key in list(cases)[:3]]
    return "; ".join(first) + (f" and {len(cases) - 3} more" if len(cases) > 3 else "")


def _nearest(before: Cases, after: Cases) -> str:
    """In what the two cases differ that share most of their fields; empty if there are no two."""
    pairs = list(itertools.product(before, after))
    if not pairs:
        return ""
    old, new = min(pairs, key=lambda keys: len({*keys[0]} ^ {*keys[1]}))
    first, second = dict(old), dict(new)
    names = [n for n in sorted({*first, *second}) if first.get(n) != second.get(n)]
    told = ", ".join(f"{name}: {first.get(name)} -> {second.get(name)}" for name in names)
    return f"the nearest two differ in {told}; "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """What one file says of one case.

    Attributes:
        entry: The first of its entries.
        median_s: Seconds per image (or model).
        values: What is compared, per image (or model): seconds, or machine units.
        scaled_by: The kernel of the machine units; '' for seconds.
        where: The file and the title, for errors.
    """

    entry: Entry
    median_s: float
    values: tuple[float, ...]
    scaled_by: str
    where: str


def _pool(recording: Recording, entries: Sequence[Entry], options: ComparisonOptions) -> _Pool:
    first = entries[0]
    where = f"{recording.path}: {first.title}"
    if len(units := {entry.unit for entry in entries}) > 1:
        raise RunError(f"{where}: is counted in {' and in '.join(sorted(units))}; measure again.")
    kernel = _kernel(first) if options.normalise else ""
    times_s: list[float] = []
    values: list[float] = []
    for entry in entries:
        amount = _positive(entry.amount, where, "amount")
        peak = _positive(entry.peaks.get(kernel), where, f"peak '{kernel}'") if kernel else 1.0
        own_s = [time_s / amount for time_s in _times(entry, where)]
        times_s += own_s
        values += [time_s * peak for time_s in own_s]
    return _Pool(
        entry=first,
        median_s=summarize(times_s).median_s,
        values=tuple(values),
        scaled_by=kernel,
        where=where,
    )


def _kernel(entry: Entry) -> str:
    """The calibration kernel that bounds the entry's work as nearly as there is one."""
    work = entry.key["work"]
    products = work == FULL_TRAINING or get_work(work).passes > 0
    return f"matmul {entry.key.get('precision')}" if products else "copy"


def _positive(value: float | None, where: str, what: str) -> float:
    if value is None:
        raise RunError(
            f"{where}: has no {what} to normalise by; measure again, or compare seconds."
        )
    if not 0 < value < math.inf:
        raise RunError(f"{where}: {what}={value:g} must be finite and above 0; measure again.")
    return value


def _times(entry: Entry, where: str) -> tuple[float, ...]:
    try:
        summarize(entry.times_s)
    except MeasurementError as error:
        raise RunError(f"{where}: {error}") from error
    return entry.times_s


def _compare(title: str, old: _Pool, new: _Pool, options: ComparisonOptions) -> ComparedCase:
    if old.entry.unit != new.entry.unit:
        raise RunError(
            f"{new.where}: is counted in {new.entry.unit}, but in {old.entry.unit} in "
            f"{old.where}; measure both with one release."
        )
    group = _group_of(new.entry)
    threshold = options.threshold_of(group)
    ratio = independent_ratio(old.values, new.values, confidence=options.confidence)
    return ComparedCase(
        title=title,
        group=group,
        unit=new.entry.unit,
        old_s=old.median_s,
        new_s=new.median_s,
        ratio=ratio,
        verdict=verdict(ratio, min(options.margin, threshold)),
        threshold=threshold,
        scaled_by=new.scaled_by,
    )


def _framework_labels(pairs: Iterator[tuple[list[Entry], list[Entry]]]) -> tuple[str, ...]:
    """In what the frameworks differ, each difference once: 'torch: threads: 2 -> 4'."""
    found: dict[str, None] = {}
    for before, after in pairs:
        old, new = (_dict(entries[0].rest.get("framework")) for entries in (before, after))
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                change = f"{_told(old.get(name))} -> {_told(new.get(name))}"
                found[f"{after[0].key['framework']}: {name}: {change}"] = None
    return tuple(found)


def _entry_labels(
    side: str, cases: Sequence[Sequence[Entry]], titles: Sequence[str]
) -> Iterator[str]:
    """Pooled entries, a gate that did not hold, and what makes times doubtful."""
    for title, entries in zip(titles, cases, strict=True):
        if len(entries) > 1:
            versions = [entry.rest.get("framework") for entry in entries]
            mixed = any(version != versions[0] for version in versions)
            among = ", of differing frameworks" if mixed else ""
            yield f"{side}: {title}: {len(entries)} entries of this case are pooled{among}."
        for entry in entries:
            gate = _dict(entry.rest.get("gate"))
            if gate.get("holds") is False:
                yield f"{side}: {title}: the frameworks were not equal: {gate.get('outcome')}"
            warnings = entry.rest.get("warnings")
            for warning in warnings if isinstance(warnings, list | tuple) else ():
                yield f"{side}: {title}: {warning}"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _told(value: Any) -> str:
    return "unknown" if value is None else str(value)
