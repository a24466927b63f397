"""Parity and speed over releases: the records of several environments, checked for one table.

An environment is a folder with the records that `alexnet parity` and `alexnet bench` wrote in it,
under the names `parity` and `bench`; `tox run -m versions` fills one for each of its environments.
Environments were measured one after another, so a speed is shown as % of peak FLOP/s, with the peak
of the same process, beside images per second.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.machine.changed_facts import machine_differences
from alexnet_impl.measurement.recording import BenchmarkEntry, Recording, read_recording
from alexnet_impl.network.own_network import OwnNetwork
from alexnet_impl.parity.record import CheckResult, ParityRecord, read_record

PARITY, BENCH = "parity", "bench"
"""Names of an environment's two records."""
ASKED = ("variant", "network", "width", "steps", "recipe")
"""Fields of a parity request that must be equal in all environments."""
PACKAGES = (*FRAMEWORKS, "keras", "numpy")
"""Packages whose releases identify an environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One set of releases with its parity record and its benchmark.

    Attributes:
        name: Name of its folder.
        releases: Package to its version.
        parity: The parity record.
        bench: The benchmark, with one entry for each framework.
    """

    name: str
    releases: dict[str, str]
    parity: ParityRecord
    bench: Recording

    @property
    def lockstep(self) -> CheckResult | None:
        """The strictest check, a training in float64; None if the parity run did not reach it."""
        found = (check for check in self.parity.checks if check.name == "lockstep")
        return next(found, None)

    @property
    def pair(self) -> dict[str, Any] | None:
        """Ratio, interval, verdict and gate of the two frameworks."""
        return self.bench.pairs[0] if self.bench.pairs else None

    @property
    def holds(self) -> bool:
        """Whether both frameworks were shown equal, by the parity run and by the gate."""
        gate = (self.pair or {}).get("gate") or {}
        return self.parity.holds and bool(gate.get("holds"))

    def entry(self, framework: str) -> BenchmarkEntry | None:
        """The benchmark entry of one framework."""
        found = (entry for entry in self.bench.entries if entry.key["framework"] == framework)
        return next(found, None)


def read_environments(folder: Path) -> tuple[tuple[Environment, ...], tuple[str, ...]]:
    """Read the environments below a folder, oldest releases first, and the problems of the others.

    An environment whose parity run or benchmark failed has no record; the others are still read.

    Raises:
        RunError: If there is none, or two measured different cases or on different machines.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; `tox run -m versions` writes one.")
    found, problems = [], dict[Path, str]()
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            found.append(_read(path))
        except RunError as error:
            problems[path] = str(error)
    if not found:
        written = [p for p in problems if (p / PARITY).exists() or (p / BENCH).exists()]
        raise RunError(
            f"{folder}: holds no environment with the records of `alexnet parity` ({PARITY}) and "
            f"`alexnet bench` ({BENCH}); `tox run -m versions` writes them. "
            + " ".join(problems[path] for path in written)
        )
    first, *others = found
    for other in others:
        _check_alike(first, other)
    found.sort(key=lambda one: [_release(one.releases[name]) for name in PACKAGES])
    return tuple(found), tuple(problems.values())


def _read(path: Path) -> Environment:
    parity, bench = read_record(path / PARITY), read_recording(path / BENCH)
    versions = dict(parity.environment.get("packages", {}))
    for facts in parity.environment.get("frameworks", {}).values():
        versions |= {name: facts[name] for name in PACKAGES if name in facts}
    if missing := [name for name in PACKAGES if not isinstance(versions.get(name), str)]:
        raise RunError(
            f"{path / PARITY}: has no version of {missing[0]}; run `alexnet parity` again, without "
            "models of your own."
        )
    releases = {name: versions[name] for name in PACKAGES}
    _check_bench(path / BENCH, bench, releases)
    return Environment(name=path.name, releases=releases, parity=parity, bench=bench)


def _check_bench(path: Path, bench: Recording, releases: dict[str, str]) -> None:
    """Refuse a benchmark of other frameworks or releases than those of the parity record."""
    names = [entry.key.get("framework") for entry in bench.entries]
    if names != list(FRAMEWORKS) or len(bench.pairs) != 1:
        raise RunError(
            f"{path}: compares {' and '.join(map(str, names)) or 'nothing'}; `alexnet bench "
            f"{' '.join(FRAMEWORKS)}` lets both take turns."
        )
    for name, entry in zip(FRAMEWORKS, bench.entries, strict=True):
        timed = (entry.rest.get("framework") or {}).get(name)
        if timed != releases[name]:
            raise RunError(
                f"{path}: timed {name} {timed}, but the parity record beside it is of {name} "
                f"{releases[name]}; measure both again."
            )


def _check_alike(first: Environment, other: Environment) -> None:
    """Refuse environments of different cases, parity requests or machines."""
    for framework in FRAMEWORKS:
        entries = [one.entry(framework) for one in (first, other)]
        keys = [None if entry is None else entry.key for entry in entries]
        if keys[0] != keys[1]:
            raise RunError(
                f"{other.name} and {first.name} timed different cases in {framework} "
                f"({_differing(entries[1], entries[0])}): measure the same case in both."
            )
    for name in ASKED:
        asked = [one.parity.request.get(name) for one in (first, other)]
        if asked[0] != asked[1]:
            raise RunError(
                f"{other.name} and {first.name} have different parity requests ({name}: "
                f"{_short(asked[1])}; {_short(asked[0])}): make the same request in both."
            )
    if found := machine_differences(first.bench.machine, other.bench.machine):
        raise RunError(
            f"{other.name} and {first.name} were measured on different machines "
            f"({'; '.join(found)}): measure both on one machine."
        )


def _differing(entry: BenchmarkEntry | None, other: BenchmarkEntry | None) -> str:
    """The titles of two cases, or if these are equal the first field that differs."""
    titles = ["nothing" if one is None else one.title for one in (entry, other)]
    if entry is None or other is None or titles[0] != titles[1]:
        return "; ".join(titles)
    names = sorted({*entry.key, *other.key})
    name = next(name for name in names if entry.key.get(name) != other.key.get(name))
    values = "; ".join(_short(one.key.get(name)) for one in (entry, other))
    return f"{entry.title}, {name}: {values}"


def _short(value: Any) -> str:
    """A value of a request as text; the layers of a user's own network as a short digest."""
    if isinstance(value, dict) and "layers" in value:
        return OwnNetwork.from_json(value).digest
    return str(value)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a release, for sorting: 2.9 comes before 2.14."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
