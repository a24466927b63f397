"""Installed packages and NVIDIA libraries, and which of these cannot serve both frameworks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = (
    *("alexnet-impl", "numpy", "torch", "torchvision", "tensorflow", "keras", "jax", "jaxlib"),
    *("safetensors", "tensorflow-cpu", "tf-nightly"),
)
"""What a bug report should name."""
CUDA_EXTRAS = {"torch": "", "tensorflow": "and-cuda"}
"""Framework to the extra that installs its CUDA libraries; PyTorch needs none."""

Distributions: TypeAlias = Mapping[str, metadata.Distribution]


def read_distributions(*path: str) -> dict[str, metadata.Distribution]:
    """Read the installed distributions by name, in these folders or those of this interpreter."""
    found = metadata.distributions(path=list(path)) if path else metadata.distributions()
    return {canonicalize_name(one.name): one for one in found if one.metadata["Name"]}


def package_versions(installed: Distributions) -> dict[str, str]:
    """Names and versions of those of PACKAGES that are installed."""
    return {name: installed[name].version for name in PACKAGES if name in installed}


def cuda_libraries(installed: Distributions) -> dict[str, str]:
    """Names and versions of NVIDIA's libraries, such as nvidia-cudnn-cu13."""
    return {
        name: one.version
        for name, one in sorted(installed.items())
        if name.startswith("nvidia-") and name != "nvidia-ml-py"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Clashes:
    """Requirements of CUDA libraries that one environment does not fulfil; one sentence each.

    Attributes:
        broken: Installed libraries that overwrite each other, or are not what a framework needs.
        apart: Libraries of which two frameworks need different ones on a GPU.
    """

    broken: tuple[str, ...]
    apart: tuple[str, ...]


def find_clashes(installed: Distributions) -> Clashes:
    """Compare the CUDA libraries that frameworks require with each other and with the installed."""
    libraries = cuda_libraries(installed)
    needs = {name: _needed(installed, name) for name in CUDA_EXTRAS if name in installed}
    apart = [
        f"{first} needs {needs[first][library]}, {second} {needs[second][library]}"
        for first, second in combinations(needs, 2)
        for library in needs[first].keys() & needs[second].keys()
        if _differ(needs[first][library], needs[second][library])
    ]
    broken = [*_overwritten(installed, libraries), *_unmet(libraries, needs)]
    return Clashes(broken=tuple(broken), apart=tuple(sorted(apart)))


def _needed(installed: Distributions, framework: str) -> dict[str, Requirement]:
    """A framework's requirements of CUDA libraries, by library."""
    found = {}
    for text in installed[framework].requires or ():
        need = Requirement(text)
        if need.name.startswith("nvidia-") and (
            need.marker is None or need.marker.evaluate({"extra": CUDA_EXTRAS[framework]})
        ):
            need.marker = None  # for its text
            found[_library(need.name)] = need
    return found


def _library(name: str) -> str:
    """The library of a distribution: nvidia-cudnn of nvidia-cudnn-cu12 and nvidia-cudnn-cu13."""
    return re.sub(r"-cu\d+$", "", canonicalize_name(name))


def _differ(first: Requirement, second: Requirement) -> bool:
    """Whether no version serves both: of different CUDA releases, or pinned to different ones."""
    pins = [
        (one.version, other)
        for need, other in ((first, second), (second, first))
        for one in need.specifier
        if one.operator == "=="
    ]
    return first.name != second.name or any(
        not other.specifier.contains(version, prereleases=True) for version, other in pins
    )


def _overwritten(installed: Distributions, libraries: Mapping[str, str]) -> Iterator[str]:
    """Libraries of two CUDA releases that have files in common, as cuDNN's 12 and 13 do."""
    for first, second in combinations(libraries, 2):
        if _library(first) == _library(second):
            ours, theirs = (set(map(str, installed[name].files or ())) for name in (first, second))
            if any(".so" in file or file.endswith(".dll") for file in ours & theirs):
                versions = f"{first} {libraries[first]} and {second} {libraries[second]}"
                yield f"{versions} have the same files: the one installed last overwrote the other"


def _unmet(
    libraries: Mapping[str, str], needs: Mapping[str, Mapping[str, Requirement]]
) -> Iterator[str]:
    for framework, wanted in needs.items():
        for need in wanted.values():
            version = libraries.get(canonicalize_name(need.name))
            if version is not None and not need.specifier.contains(version, prereleases=True):
                yield f"{framework} needs {need}; {version} is installed"
