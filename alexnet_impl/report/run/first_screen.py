"""The first screen of a run page: accuracies, their difference, speeds, versions and machine."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.formatting import framework_label
from alexnet_impl.report.run.differences import other_work_note
from alexnet_impl.report.run.groups import RunGroup, accuracy_difference
from alexnet_impl.report.run.views import RunView
from alexnet_impl.report.templates import BigFigure

SPEED_NOTE = "One run of each, not in turns: `alexnet bench` compares speeds."
_PACKAGES = ("torch", "tensorflow", "keras")
_THREADS = ("threads", "intra_op_threads")
"""Names of the frameworks' number of threads in environment.json."""
_TENSORFLOW_THREADS = "TF_NUM_INTRAOP_THREADS"


def accuracy_side(group: RunGroup) -> BigFigure:
    """Accuracy of a group in large type, with its interval and number of images or seeds."""
    if group.accuracy is None:
        states = tuple(view.state for view in group.views)
        return BigFigure(
            label=group.label, value=numbers.MISSING, details=states, colour=group.colour
        )
    value, details = numbers.percent(group.accuracy), tuple(_accuracy_details(group))
    return BigFigure(label=group.label, value=value, details=details, colour=group.colour)


def _accuracy_details(group: RunGroup) -> Iterator[str]:
    found = [view.accuracy for view in group.views if view.accuracy is not None]
    if len(found) == 1:
        one = found[0]
        right = numbers.count(round(one.value * one.num_images))
        yield f"{right} of {numbers.count(one.num_images)} test images"
        yield f"95% interval {numbers.percent(one.low)} to {numbers.percent(one.high)}"
        return
    values = [one.value for one in found]
    yield f"mean of {len(values)} seeds"
    yield f"lowest {numbers.percent(min(values))}, highest {numbers.percent(max(values))}"


def difference_side(groups: Sequence[RunGroup]) -> BigFigure | None:
    """Paired difference of two groups in large type; None if they cannot be compared."""
    found = accuracy_difference(groups)
    if found is None:
        return None
    interval = "no interval"
    if found.low is not None and found.high is not None:
        interval = f"95% interval {numbers.points(found.low)} to {numbers.points(found.high)}"
    return BigFigure(
        label=f"{groups[0].label} - {groups[1].label}",
        value=numbers.points(found.value),
        unit="points",
        details=(interval, found.method),
    )


def speeds(groups: Sequence[RunGroup]) -> dict[str, Any] | None:
    """Training speed of every group, the ratio of two, and what makes them doubtful.

    None if no run has ended. Where other work used the machine, the speeds are marked and have no
    ratio.
    """
    found = [(group, group.values(_images_per_second)) for group in groups]
    found = [(group, values) for group, values in found if values]
    if not found:
        return None
    means = [fmean(values) for _, values in found]
    busy = other_work_note([view for group in groups for view in group.views])
    return {
        "sides": [
            {
                "label": group.label,
                "colour": group.colour,
                "value": numbers.rate(mean),
                "busy": group.is_beside_other_work,
            }
            for (group, _), mean in zip(found, means, strict=True)
        ],
        "ratio": numbers.ratio(*means) if len(groups) == len(means) == 2 and not busy else "",
        "note": busy or (SPEED_NOTE if len(groups) > 1 else ""),
        "busy": bool(busy),
    }


def _images_per_second(view: RunView) -> float | None:
    return None if view.result is None else view.result.timing.images_per_second


def machine_facts(views: Sequence[RunView]) -> Iterator[tuple[str, str]]:
    """Names and values of versions, processor or GPU, and threads; each different value once."""
    environments = [view.environment for view in views if view.environment]
    versions: dict[str, list[str]] = {name: [] for name in _PACKAGES}
    for view in views:
        own = view.environment.get("packages", {})
        # A worker may have an interpreter of its own: each framework's versions are its runs'.
        names = ("torch",) if view.config.framework == "torch" else ("tensorflow", "keras")
        for name in names:
            if name in own and own[name] not in versions[name]:
                versions[name].append(own[name])
    known = [f"{name} {' / '.join(found)}" for name, found in versions.items() if found]
    if known:
        yield "versions", ", ".join(known)
    yield from _joined("processor", [_processor(one) for one in environments])
    yield from _joined("GPU", [_gpu(one) for one in environments])
    threads = {framework_label(view.config.framework): _threads(view) for view in views}
    if len(set(threads.values())) > 1:
        yield "threads", ", ".join(f"{name} {count or '?'}" for name, count in threads.items())
    else:
        yield from _joined("threads", list(threads.values()))


def _joined(name: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The different texts as one fact; none if all are empty."""
    if found := " / ".join(dict.fromkeys(filter(None, texts))):
        yield name, found


def _processor(environment: dict[str, Any]) -> str:
    cores = environment.get("logical_cpus")
    name = environment.get("cpu") or ""
    return f"{name}, {cores} cores" if name and cores else name


def _gpu(environment: dict[str, Any]) -> str:
    return str(environment.get("framework", {}).get("gpu") or "")


def _threads(view: RunView) -> str:
    """The number of threads of a run's framework; 0 is TensorFlow's word for its own choice."""
    own = view.environment.get("framework", {})
    found = next((own[name] for name in _THREADS if own.get(name) is not None), None)
    if found is None:
        return ""
    variables = view.environment.get("variables", {})
    chosen = variables.get(_TENSORFLOW_THREADS) or view.environment.get("logical_cpus", "all cores")
    return str(found or chosen)
