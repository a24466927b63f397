"""Regressions between two benchmark files: which cases became slower, matched by their keys.

The two files were not measured in turns: whatever changed on the machine between them looks like a
change of the code. So a case is a regression only if its whole interval lies beyond a threshold,
files of two machines are refused unless the caller insists, and every other difference is named
beside the figures.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.machine.changed_facts import machine_differences, software_differences
from alexnet_impl.measurement.case import FULL_TRAINING
from alexnet_impl.measurement.recording import OTHER_NAME, BenchmarkEntry, Recording
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.stats.speed_ratios import (
    MeasurementError,
    Ratio,
    Summary,
    Verdict,
    checked_times,
    independent_ratio,
    ratio_of_means,
    verdict,
)

Key = tuple[tuple[str, Any], ...]
"""An entry's key in a form that a dict accepts: its fields, sorted by name."""

_MOST_VALUES = 1_000

NORMALISED = (
    "Ratios are of times in machine units: seconds x the median that a calibration kernel reached, "
    "in FLOP/s of the matrix product in the case's precision, or in B/s of the copy for workloads "
    "without a network. The noise of the calibration is not in the intervals; pytest's rows of one "
    "framework, device and precision share a calibration, whose error shifts all of them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionOptions:
    """Thresholds of a regression, and conditions on the files that are compared.

    Attributes:
        threshold: Largest relative increase of the time in NEW: 0.05 for 5 %.
        threshold_for: Thresholds of a group ('training/cifar'), or of a workload ('training') for
            all its groups.
        margin: Smallest relative difference of speed that is called faster or slower; never above
            the threshold, so that a regression is always called slower.
        confidence: Confidence level of each case's interval by itself.
        normalise: Compare times in machine units; machines may then differ.
        allow_other_machine: Compare seconds of different machines nevertheless.

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
        """The threshold of a group: its own, or its workload's, or the general one."""
        by_workload = self.threshold_for.get(_workload_of(group), self.threshold)
        return self.threshold_for.get(group, by_workload)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """One case that both files hold, and the change of its speed.

    Attributes:
        title: NEW's title, with the fields that distinguish cases of one title.
        group: Workload and variant, as 'training/cifar'.
        unit: 'images', 'models' or 'calls'.
        old_s: Median (or mean) seconds per image (or model, or call) in OLD, never normalised.
        new_s: The same in NEW.
        ratio: Speed of NEW over OLD; of times in machine units if `scaled_by` is set.
        verdict: 'faster', 'slower' or 'undecided': NEW, at the margin.
        threshold: Threshold of its group.
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
        """Whether the interval lies wholly above 1 / (1 + threshold)."""
        return self.ratio.low > 1 / (1 + self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionReport:
    """The regression report of two files.

    Attributes:
        old: The file to compare against.
        new: The file to judge.
        options: What counts as a regression.
        cases: Cases that both files hold, in NEW's order.
        only_old: Titles of the cases that only OLD holds.
        only_new: Titles of the cases that only NEW holds.
        out_of_memory: Titles of the cases that ran in OLD and run out of memory in NEW.
        labels: Notes beside the figures, a line each: normalisation, another machine, other
            software, pooled entries, doubtful times.
    """

    old: Path
    new: Path
    options: RegressionOptions
    cases: tuple[CaseChange, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    labels: tuple[str, ...]
    out_of_memory: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[CaseChange, ...]:
        """The cases in which NEW is slower beyond the threshold."""
        return tuple(case for case in self.cases if case.regression)

    @property
    def worse(self) -> bool:
        """Whether a case is a regression or now runs out of memory."""
        return bool(self.regressions or self.out_of_memory)

    @property
    def undecided(self) -> tuple[CaseChange, ...]:
        """The cases whose interval holds the threshold."""
        return tuple(case for case in self.cases if not (case.regression or case.cleared))

    @property
    def doubtful(self) -> bool:
        """Whether a case of OLD is undecided or missing in NEW."""
        return bool(self.undecided or self.only_old)


Cases = dict[Key, list[BenchmarkEntry]]


def find_regressions(
    old: Recording, new: Recording, options: RegressionOptions
) -> RegressionReport:
    """Compare the cases that both files hold: entries whose keys are equal.

    Titles, test names and versions do not matter. Times are compared per image (or model), so that
    the size of a call may differ. Where a file holds a key several times, as when a case was
    compared with itself, its times are pooled in the file's order.

    Raises:
        RunError: If the machines differ and options does not allow it, no key is in both, times, an
            amount or a key is damaged, a case's units differ, or a peak is missing to normalise.
        UnknownNameError: If a threshold is for a group or workload that neither file holds.
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
        _compare(titles[k], _pool(old, before[k], options), _pool(new, after[k], options), options)
        for k in common
    )
    return RegressionReport(
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
            *_interval_labels([(before[key], after[key]) for key in common]),
            *_framework_labels((before[key], after[key]) for key in common),
            *(f"OLD: {warning}" for warning in old.interference.warnings),
            *(f"NEW: {warning}" for warning in new.interference.warnings),
            *_entry_labels(
                "OLD", old, [before[key] for key in common], [titles[k] for k in common]
            ),
            *_entry_labels("NEW", new, [after[key] for key in common], [titles[k] for k in common]),
        ),
    )


def _check_machines(old: Recording, new: Recording, options: RegressionOptions) -> tuple[str, ...]:
    """Differences between the machines, which are refused unless the options allow them."""
    found = machine_differences(old.machine, new.machine)
    if not old.machine and not new.machine:
        found = ("neither file names its machine",)
    if found and not options.normalise and not options.allow_other_machine:
        raise RunError(
            f"{old.path} and {new.path} are of different machines ({'; '.join(found)}): their "
            "times cannot be compared; measure both on one machine, give --normalise to compare in "
            "machine units, or give --other-machine to compare seconds nevertheless."
        )
    return found


def _cases(recording: Recording) -> Cases:
    """A file's entries by their key, in the file's order."""
    found: Cases = {}
    for entry in recording.entries:
        for name in ("workload", "variant", "framework"):
            if OTHER_NAME not in entry.key and not isinstance(entry.key.get(name), str):
                raise RunError(
                    f"{recording.path}: {entry.title}: the key has {name}={entry.key.get(name)!r}, "
                    "which must be a name; the file is damaged: measure again."
                )
        found.setdefault(_identity(entry), []).append(entry)
    return found


def _identity(entry: BenchmarkEntry) -> Key:
    return _key_of(entry.key)


def _key_of(fields: Mapping[str, Any]) -> Key:
    return tuple((name, _hashable(fields[name])) for name in sorted(fields))


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    return value


def _workload_of(group: str) -> str:
    return group.partition("/")[0]


def _check_groups(options: RegressionOptions, *sides: Cases) -> None:
    """Refuse a threshold for a group that is in neither file: it would never fail."""
    groups = {entry.group for side in sides for entries in side.values() for entry in entries}
    known = sorted(groups | {_workload_of(group) for group in groups})
    for name in options.threshold_for:
        if name not in known:
            raise UnknownNameError("group", name, known)


def _titles(before: Cases, after: Cases) -> dict[Key, str]:
    """NEW's title of each key, or OLD's; cases of one title get the fields that differ."""
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
    """Differences between the two cases that share most fields; '' without two cases."""
    pairs = list(itertools.product(before, after))
    if not pairs:
        return ""
    old, new = min(pairs, key=lambda keys: len({*keys[0]} ^ {*keys[1]}))
    first, second = dict(old), dict(new)
    names = [n for n in sorted({*first, *second}) if first.get(n) != second.get(n)]
    told = ", ".join(f"{name}: {first.get(name)} -> {second.get(name)}" for name in names)
    return f"the nearest two cases differ in {told}; "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """The pooled times of one case in one file.

    Attributes:
        entry: The first of its entries.
        typical_s: Median seconds per image (or model, or call); their mean if there are no values.
        values: Times to compare per image (or model), in seconds or machine units; empty if only
            the summary of its entry is known.
        scaled_by: The calibration kernel of the machine units; '' for seconds.
        where: The file and the title, for errors.
        summary: Mean and deviation of its times, for other tests.
    """

    entry: BenchmarkEntry
    typical_s: float
    values: tuple[float, ...]
    scaled_by: str
    where: str
    summary: Summary | None


def _pool(
    recording: Recording, entries: Sequence[BenchmarkEntry], options: RegressionOptions
) -> _Pool:
    first = entries[0]
    where = f"{recording.path}: {first.title}"
    if len(units := {entry.unit for entry in entries}) > 1:
        raise RunError(f"{where}: is counted in {' and in '.join(sorted(units))}; measure again.")
    kernel = _kernel(first) if options.normalise else ""
    if any(not entry.times_s and entry.summary for entry in entries):
        return _pool_of_summary(entries, kernel, where)
    times_s: list[float] = []
    values: list[float] = []
    for entry in entries:
        amount = _positive(entry.amount, where, "amount")
        peak = _positive(entry.peaks.get(kernel), where, f"peak '{kernel}'") if kernel else 1.0
        try:
            checked_times("times_s", entry.times_s)
        except MeasurementError as error:
            raise RunError(f"{where}: {error}") from error
        own_s = [time_s / amount for time_s in entry.times_s]
        times_s += own_s
        values += [time_s * peak for time_s in own_s]
    summary = first.summary
    if summary and len(entries) > 1:
        summary = Summary(mean_s=fmean(times_s), stddev_s=stdev(times_s), rounds=len(times_s))
    return _Pool(
        entry=first,
        typical_s=median(times_s),
        values=_thinned(values),
        scaled_by=kernel,
        where=where,
        summary=summary,
    )


def _pool_of_summary(entries: Sequence[BenchmarkEntry], kernel: str, where: str) -> _Pool:
    """The case of other tests whose times are not in the file."""
    first = entries[0]
    if len(entries) > 1 or first.summary is None:
        raise RunError(
            f"{where}: {len(entries)} benchmarks of this name have no times to pool; give each "
            "a name of its own, or store the times (--benchmark-json, --benchmark-save-data)."
        )
    if kernel:
        _positive(first.peaks.get(kernel), where, f"peak '{kernel}'")
    mean_s = _positive(first.summary.mean_s, where, "mean")
    return _Pool(
        entry=first,
        typical_s=mean_s,
        values=(),
        scaled_by="",
        where=where,
        summary=first.summary,
    )


def _thinned(values: Sequence[float]) -> tuple[float, ...]:
    """The values, or if they are very many the medians of groups of neighbours.

    pytest-benchmark stores 100,000 rounds of a short function, of which a bootstrap takes minutes.
    """
    size = -(-len(values) // _MOST_VALUES)
    if size <= 1:
        return tuple(values)
    return tuple(median(values[start : start + size]) for start in range(0, len(values), size))


def _kernel(entry: BenchmarkEntry) -> str:
    """The calibration kernel that is nearest to the entry's workload."""
    if OTHER_NAME in entry.key:
        return "copy"
    workload = entry.key["workload"]
    products = workload == FULL_TRAINING or get_workload(workload).passes > 0
    return f"matmul {entry.key.get('precision')}" if products else "copy"


def _positive(value: float | None, where: str, what: str) -> float:
    if value is None:
        raise RunError(
            f"{where}: has no {what} to normalise by; measure again, or compare seconds."
        )
    if not 0 < value < math.inf:
        raise RunError(f"{where}: {what}={value:g} must be finite and above 0; measure again.")
    return value


def _compare(title: str, old: _Pool, new: _Pool, options: RegressionOptions) -> CaseChange:
    if old.entry.unit != new.entry.unit:
        raise RunError(
            f"{new.where}: is counted in {new.entry.unit}, but in {old.entry.unit} in "
            f"{old.where}; measure both with one release."
        )
    if new.scaled_by and old.entry.peaks_are_medians != new.entry.peaks_are_medians:
        best, other = sorted((old, new), key=lambda pool: pool.entry.peaks_are_medians)
        raise RunError(
            f"{best.where}: its peaks are the best of three rounds, as earlier releases measured "
            f"them, and those of {other.where} are medians: machine units differ; measure the "
            "first again, or compare seconds."
        )
    group = new.entry.group
    threshold = options.threshold_of(group)
    old, new = _alike(old, new)
    ratio = _ratio(old, new, options.confidence)
    return CaseChange(
        title=title,
        group=group,
        unit=new.entry.unit,
        old_s=old.typical_s,
        new_s=new.typical_s,
        ratio=ratio,
        verdict=verdict(ratio, min(options.margin, threshold)),
        threshold=threshold,
        scaled_by=new.scaled_by,
    )


def _alike(old: _Pool, new: _Pool) -> tuple[_Pool, _Pool]:
    """Both sides with their times, or both with their mean and deviation alone."""
    if bool(old.values) == bool(new.values):
        return old, new
    first, second = (
        replace(pool, values=(), typical_s=_summary(pool).mean_s) for pool in (old, new)
    )
    return first, second


def _ratio(old: _Pool, new: _Pool, confidence: float) -> Ratio:
    """The ratio of the medians; of the means where there are no times."""
    if old.values:
        return independent_ratio(old.values, new.values, confidence=confidence)
    try:
        return ratio_of_means(_summary(old), _summary(new), confidence=confidence)
    except MeasurementError as error:
        raise RunError(f"{new.where}: {error} Measure again.") from error


def _summary(pool: _Pool) -> Summary:
    if pool.summary is None:
        raise RunError(f"{pool.where}: has no mean and deviation; measure again.")
    return pool.summary


def _interval_labels(
    pairs: Sequence[tuple[Sequence[BenchmarkEntry], Sequence[BenchmarkEntry]]],
) -> Iterator[str]:
    """Notes on where the intervals of other tests come from."""
    lacking = [[side for side in pair if not side[0].times_s] for pair in pairs]
    if count := sum(map(bool, lacking)):
        yield (
            f"speeds and intervals of {count} of {len(pairs)} cases are from mean and deviation, "
            "as if rounds were independent: a file has no raw times (pytest --benchmark-json or "
            "--benchmark-save-data stores them)"
        )
    many = sum(
        any(len(entry.times_s) > _MOST_VALUES for side in pair for entry in side) for pair in pairs
    )
    if many:
        yield (
            f"intervals of {many} of {len(pairs)} cases are from the medians of at most "
            f"{_MOST_VALUES} groups of neighbouring rounds"
        )


def _framework_labels(
    pairs: Iterator[tuple[list[BenchmarkEntry], list[BenchmarkEntry]]],
) -> tuple[str, ...]:
    """Differences between the frameworks, each once: 'torch: threads: 2 -> 4'."""
    found: dict[str, None] = {}
    for before, after in pairs:
        old, new = (_dict(entries[0].rest.get("framework")) for entries in (before, after))
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                change = f"{_told(old.get(name))} -> {_told(new.get(name))}"
                found[f"{after[0].key.get('framework', 'environment')}: {name}: {change}"] = None
    return tuple(found)


def _entry_labels(
    side: str,
    file: Recording,
    cases: Sequence[Sequence[BenchmarkEntry]],
    titles: Sequence[str],
) -> Iterator[str]:
    """Notes on pooled entries, on a bench that was stopped, on its gate, and on doubtful times."""
    for title, entries in zip(titles, cases, strict=True):
        if len(entries) > 1:
            versions = [entry.rest.get("framework") for entry in entries]
            mixed = any(version != versions[0] for version in versions)
            among = ", of differing frameworks" if mixed else ""
            yield f"{side}: {title}: {len(entries)} entries of this case are pooled{among}."
        for entry in entries:
            if stopped := file.stopped_after(entry):
                yield f"{side}: {title}: the bench was {stopped}."
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
