"""One table over releases: what each environment's parity record and benchmark say.

An environment is a folder with the records that `alexnet parity` and `alexnet bench` wrote in it,
under the names `parity` and `bench`; `tox run -m versions` fills one for each of its environments.
Nothing was interleaved across environments, so a speed is told as a share of what the machine's
matrix product reached in the same process, beside images a second.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.machine.changed_facts import machine_differences
from alexnet_impl.measurement.recording import Entry, Recording, read_recording
from alexnet_impl.parity.record import CheckResult, ParityRecord, read_record

PARITY, BENCH = "parity", "bench"
"""Names of an environment's two records."""
ASKED = ("variant", "width", "steps", "recipe")
"""Of a ladder's request: what two must share."""
PACKAGES = (*FRAMEWORKS, "keras", "numpy")
"""Whose releases tell environments apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What was found with one set of releases.

    Attributes:
        name: Of its folder.
        releases: Package to its version.
        parity: The ladder that was climbed.
        bench: What was timed; one entry a framework.
    """

    name: str
    releases: dict[str, str]
    parity: ParityRecord
    bench: Recording

    @property
    def lockstep(self) -> CheckResult | None:
        """The strictest check: a training in float64; None if the ladder did not come so far."""
        found = (check for check in self.parity.checks if check.name == "lockstep")
        return next(found, None)

    @property
    def pair(self) -> dict[str, Any] | None:
        """Ratio, interval, verdict and gate of the two frameworks, which took turns."""
        return self.bench.pairs[0] if self.bench.pairs else None

    @property
    def holds(self) -> bool:
        """Whether both frameworks were shown equal, by the ladder and before they were timed."""
        gate = (self.pair or {}).get("gate") or {}
        return self.parity.holds and bool(gate.get("holds"))

    def entry(self, framework: str) -> Entry | None:
        """What was timed of one framework."""
        found = (entry for entry in self.bench.entries if entry.key["framework"] == framework)
        return next(found, None)


def read_environments(folder: Path) -> tuple[tuple[Environment, ...], tuple[str, ...]]:
    """The environments below a folder, oldest releases first; and what is wrong with the others.

    An environment whose ladder or benchmark broke off has no record: that hides no other.

    Raises:
        RunError: If there is none, or two measured different things or on different machines.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder; `tox run -m versions` writes one.")
    found, troubles = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            found.append(_read(path))
        except RunError as error:
            troubles.append(str(error))
    if not found:
        raise RunError(
            f"{folder}: holds no environment; each is a folder with what `alexnet parity --output "
            f"ENVIRONMENT/{PARITY}` and `alexnet bench --output ENVIRONMENT/{BENCH}` write. "
            + " ".join(troubles)
        )
    first, *others = found
    for other in others:
        _check_alike(first, other)
    found.sort(key=lambda one: [_release(one.releases[name]) for name in PACKAGES])
    return tuple(found), tuple(troubles)


def _read(path: Path) -> Environment:
    parity, bench = read_record(path / PARITY), read_recording(path / BENCH)
    versions = dict(parity.environment.get("packages", {}))
    for facts in parity.environment.get("frameworks", {}).values():
        versions |= {name: facts[name] for name in PACKAGES if name in facts}
    if missing := [name for name in PACKAGES if not isinstance(versions.get(name), str)]:
        raise RunError(
            f"{path / PARITY}: does not say which {missing[0]} it is about; climb the ladder again "
            "with `alexnet parity`, without models of your own."
        )
    releases = {name: versions[name] for name in PACKAGES}
    _check_bench(path / BENCH, bench, releases)
    return Environment(name=path.name, releases=releases, parity=parity, bench=bench)


def _check_bench(path: Path, bench: Recording, releases: dict[str, str]) -> None:
    """Both frameworks in their order, of the releases that the ladder is about."""
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
                f"{path}: timed {name} {timed}, but the ladder beside it climbed {name} "
                f"{releases[name]}; measure both again."
            )


def _check_alike(first: Environment, other: Environment) -> None:
    """A trend over releases must be of one thing on one machine."""
    for framework in FRAMEWORKS:
        keys = [one.entry(framework) for one in (first, other)]
        plain = [None if entry is None else entry.key for entry in keys]
        if plain[0] != plain[1]:
            raise RunError(
                f"{other.name} and {first.name} timed different things in {framework} "
                f"({_title(keys[1])}; {_title(keys[0])}): measure the same case in both."
            )
    for name in ASKED:
        asked = [one.parity.request.get(name) for one in (first, other)]
        if asked[0] != asked[1]:
            raise RunError(
                f"{other.name} and {first.name} climbed different ladders ({name}: {asked[1]}; "
                f"{asked[0]}): climb the same in both."
            )
    if found := machine_differences(first.bench.machine, other.bench.machine):
        raise RunError(
            f"{other.name} and {first.name} were measured on different machines "
            f"({'; '.join(found)}): measure both on one."
        )


def _title(entry: Entry | None) -> str:
    return "nothing" if entry is None else entry.title


def _release(version: str) -> tuple[int, ...]:
    """The release's numbers, for sorting: 2.9 lies below 2.14."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
