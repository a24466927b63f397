"""Compares a user's two preprocessing functions on image files, and names what differs."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.data.decoding import image_dimensions
from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks import FRAMEWORKS, FrameworkName
from alexnet_impl.frameworks.user_preprocessing import PreprocessedFile
from alexnet_impl.parity.record import Cause, CheckResult, ParityRecord, names_text
from alexnet_impl.parity.tolerances import judged
from alexnet_impl.ports.hypotheses import EXPLAINED, rows_apart, worst_of
from alexnet_impl.ports.image_readings import (
    ACCURATE,
    BLOCKY,
    DECODING_REMEDIES,
    FAST,
    decodings,
)
from alexnet_impl.ports.model_workers import ModelWorkers
from alexnet_impl.ports.preprocessing_search import Decoded, Reading, read_both, rescaled
from alexnet_impl.ports.request import PreprocessingRequest
from alexnet_impl.ports.sample_images import sample_files
from alexnet_impl.processes.channel import Channel
from alexnet_impl.weights.canonical import Array

TITLES: dict[FrameworkName, str] = {"torch": "PyTorch", "tensorflow": "Keras"}
_JPEG_NAMES = {
    "fast": FAST,
    "fast repeated": FAST + BLOCKY,
    "accurate repeated": ACCURATE + BLOCKY,
}


@dataclass(frozen=True, kw_only=True)
class PreprocessingResult:
    """The check of two preprocessing functions.

    Attributes:
        check: The stage 'preprocessing'.
        files: Every image file to the relative difference of its two results.
        environment: Versions by framework.
    """

    check: CheckResult
    files: dict[str, float]
    environment: dict[str, Any]


def compare_preprocessing_alone(
    request: PreprocessingRequest,
    interpreters: Mapping[str, str] | None = None,
    announce: Callable[[CheckResult], None] = lambda _: None,
) -> ParityRecord:
    """Compare two preprocessing functions without models, each in its own process.

    Args:
        request: The two functions.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Called with the check.

    Raises:
        DataError: If there is no image.
        ParityError: If there is no file that both functions accept.
        RunError: If a function is missing or accepts no image.
    """
    with ModelWorkers(interpreters) as workers:
        result = compare_preprocessing(request, workers)
    announce(result.check)
    return ParityRecord(
        request={"preprocessing": asdict(request)},
        environment=result.environment,
        checks=(result.check,),
        files=result.files,
    )


def compare_preprocessing(
    request: PreprocessingRequest, workers: ModelWorkers, path: Sequence[str] = ()
) -> PreprocessingResult:
    """Compare two preprocessing functions in worker processes.

    Args:
        request: The two functions.
        workers: Where they run.
        path: Folders beside the current one that their modules are imported from.

    Raises:
        DataError: If there is no image.
        ParityError: If there is no file that both functions accept.
        RunError: If a function is missing or accepts no image.
    """
    with (
        sample_files(request.images, request.seed) as files,
        ThreadPoolExecutor(len(FRAMEWORKS)) as pool,
    ):
        channels = {name: workers.start(name) for name in FRAMEWORKS}
        places: dict[FrameworkName, str] = {
            "torch": request.torch,
            "tensorflow": request.tensorflow,
        }
        both = {
            name: pool.submit(_preprocessed, channels[name], name, place, files, path)
            for name, place in places.items()
        }
        found = {name: one.result() for name, one in both.items()}
        sides = {name: one[0] for name, one in found.items()}
        check, apart = judge_results(sides, generated=request.images is None)
        if not check.holds and not check.causes:
            some = _first_pixels(files, check.where)
            decoded = _decoded(channels["tensorflow"], some)
            sides = {name: {file: side[file] for file in some} for name, side in sides.items()}
            check = explained(check, sides, decoded)
    environment: dict[str, Any] = {name: one[1] for name, one in found.items()}
    return PreprocessingResult(check=check, files=apart, environment=environment)


Side = Mapping[str, PreprocessedFile]
"""File to what one function made of it."""


def _preprocessed(
    channel: Channel,
    framework: FrameworkName,
    place: str,
    files: Mapping[str, Path],
    path: Sequence[str],
) -> tuple[Side, dict[str, Any]]:
    """Results of a worker's function for the files, and the worker's environment."""
    values, arrays = channel.ask(
        "preprocess",
        {
            "framework": framework,
            "place": place,
            "folder": str(Path.cwd()),
            "path": list(path),
            "files": [str(file) for file in files.values()],
        },
    )
    results = {
        name: PreprocessedFile(image=arrays.get(str(number)), **said)
        for number, (name, said) in enumerate(zip(files, values["files"], strict=True))
    }
    return results, values["environment"]


def _first_pixels(files: Mapping[str, Path], worst: str) -> dict[str, Path]:
    """The files that the cause is sought on: the worst, and more while they fit into memory."""
    chosen, pixels = {worst: files[worst]}, 0
    for name, path in files.items():
        height, width = image_dimensions(path, where=name)
        pixels += height * width
        if pixels <= MOST_PIXELS:
            chosen[name] = path
    return chosen


MOST_PIXELS = 1 << 24
"""Pixels of all files that the cause is sought on, but for the worst file."""


def _decoded(channel: Channel, files: Mapping[str, Path]) -> Decoded:
    """The files as every decoder reads them."""
    _, arrays = channel.ask(
        "decode", {"framework": "tensorflow", "files": [str(file) for file in files.values()]}
    )
    found = {}
    for number, (name, file) in enumerate(files.items()):
        others = {said: arrays.get(f"{number}.{key}") for key, said in _JPEG_NAMES.items()}
        known = {said: pixels for said, pixels in others.items() if pixels is not None}
        found[name] = decodings(file, known)
    return found


def judge_results(
    sides: Mapping[FrameworkName, Side], *, generated: bool
) -> tuple[CheckResult, dict[str, float]]:
    """The check, with the causes that need no search, and the relative difference of each file.

    Args:
        sides: Framework to its results.
        generated: Whether the files are not the user's; one that a function refuses does not count
            then.

    Raises:
        ParityError: If there is no file that both functions accept.
    """
    refused = {
        name: {framework: side[name].error for framework, side in sides.items() if side[name].error}
        for name in sides["torch"]
    }
    apart: dict[str, float] = {}
    for name in sides["torch"]:
        ours, theirs = (sides[framework][name].image for framework in FRAMEWORKS)
        if ours is not None and theirs is not None:
            apart[name] = rows_apart(ours[None], theirs[None])
        elif not generated and (ours is not None or theirs is not None):
            apart[name] = float("inf")
    if not apart:
        raise ParityError(
            "there is no file that both preprocessing functions accept; give some with --images. "
            + "; ".join(f"{name}: {said}" for name, said in refused[next(iter(refused))].items())
        )
    worst, measured = worst_of(apart)
    check = judged("preprocessing", "float32", measured, where=worst)
    notes = tuple(
        f"{name} is left out: {TITLES[framework]}'s preprocessing refuses it: {error}"
        for name, errors in refused.items()
        if name not in apart
        for framework, error in errors.items()
    )
    causes = () if check.holds else tuple(_plain_causes(sides, apart))
    return replace(check, causes=causes, notes=notes, sought=not check.holds), apart


def _plain_causes(
    sides: Mapping[FrameworkName, Side], apart: Mapping[str, float]
) -> Iterator[Cause]:
    """A function that is random, or refuses a file that the other accepts."""
    for framework, side in sides.items():
        if any(one.random for one in side.values()):
            yield Cause(
                side=framework,
                what="its preprocessing were random: two calls on one file differ",
                remedy="compare the preprocessing of evaluation, without random transforms",
            )
        for name in apart:
            image = side[name].image
            if image is not None and not np.isfinite(image).all():
                yield Cause(
                    side=framework,
                    what="values were infinite or NaN",
                    remedy="find the division by 0 in it",
                    where=name,
                )
            if side[name].error:
                yield Cause(
                    side=framework,
                    what="the file could not be read",
                    remedy=f"make it accept the file: {side[name].error}",
                    where=name,
                )


def explained(
    check: CheckResult, sides: Mapping[FrameworkName, Side], decoded: Decoded
) -> CheckResult:
    """A check that failed, with its causes and a note on how each function reads files."""
    images = {
        framework: {name: one.image for name, one in side.items() if one.image is not None}
        for framework, side in sides.items()
    }
    channels = [image.shape[2] for side in images.values() for image in side.values()]
    usable = 3 if 3 in channels else 1
    ours, theirs = (
        {name: image for name, image in images[framework].items() if image.shape[2] == usable}
        for framework in FRAMEWORKS
    )
    if not ours or not theirs:
        return replace(check, causes=tuple(_channel_causes(**images)))
    readings = read_both(decoded, ours, theirs)
    left = [_left(side, one.results) for one, side in zip(readings, (ours, theirs), strict=True)]
    bound = EXPLAINED * min(_left(ours, theirs), MOST)
    known = [one <= bound for one in left]
    causes = tuple(_channel_causes(**images))
    if all(known):
        causes += tuple(_causes(*readings, left[1]))
    else:
        causes += tuple(_line_cause(ours, theirs, bound))
    notes = tuple(
        f"{title}'s preprocessing: {_said(reading) if recognised else UNKNOWN}"
        for title, reading, recognised in zip(TITLES.values(), readings, known, strict=True)
    )
    return replace(check, causes=causes, notes=check.notes + notes)


UNKNOWN = "none that this release recognises"


def _channel_causes(torch: Mapping[str, Array], tensorflow: Mapping[str, Array]) -> Iterator[Cause]:
    """Files of which the two functions return other numbers of channels."""
    files: dict[tuple[int, int], list[str]] = {}
    for name in torch.keys() & tensorflow.keys():
        both = tensorflow[name].shape[2], torch[name].shape[2]
        if both[0] != both[1]:
            files.setdefault(both, []).append(name)
    for (their, our), names in sorted(files.items()):
        yield Cause(
            side="tensorflow",
            what=f"images had {their} channels, where PyTorch's have {our}",
            remedy=f"return {our} channels, as with keras.utils.load_img(path, color_mode=...)",
            where=names_text(sorted(names)),
        )


def _left(images: Mapping[str, Array], others: Mapping[str, Array]) -> float:
    """Mean deviation of others from images, relative to each one's largest value, of the worst.

    Not the largest difference: where a value lies between two levels, rounding may take either.
    """
    return worst_of({n: _deviation(images[n], others[n]) for n in images if n in others})[1]


def _deviation(image: Array, other: Array) -> float:
    if image.shape != other.shape:
        return float("inf")
    return float(np.sqrt(((image - other) ** 2).mean()) / (np.abs(image).max() or 1))


MOST = 0.1
"""A reading explains a difference from here on as well as one of this size."""


def _causes(ours: Reading, theirs: Reading, distance: float) -> Iterator[Cause]:
    """Everything in which two readings differ, in the order of the work."""
    yield from (
        replace(one, distance=distance)
        for one in itertools.chain(_decoding_causes(ours, theirs), _common_causes(ours, theirs))
    )


def _decoding_causes(ours: Reading, theirs: Reading) -> Iterator[Cause]:
    """Other decodings of some files: of all JPEG files, or of those that are named."""
    files: dict[tuple[str, str], list[str]] = {}
    for name in ours.decodings.keys() & theirs.decodings.keys():
        for their, our in zip(theirs.decodings[name], ours.decodings[name], strict=True):
            if their != our:
                files.setdefault((their, our), []).append(name)
    for (their, our), names in sorted(files.items()):
        jpeg = any(way.jpeg == our for way in ours.decodings.values())
        yield Cause(
            side="tensorflow",
            what=f"{'JPEG files' if jpeg else 'images'} were decoded {their}, where PyTorch's are "
            f"decoded {our}",
            remedy=DECODING_REMEDIES[our],
            where="" if jpeg else names_text(sorted(names)),
        )


def _common_causes(ours: Reading, theirs: Reading) -> Iterator[Cause]:
    """Another framing, resampling, order of channels or scaling."""
    rows = (
        (
            "images were {}, where PyTorch's are {}",
            theirs.text(theirs.framing.name),
            ours.text(ours.framing.name),
            ours.text(ours.framing.remedy),
        ),
        (
            "images were resized by {}, where PyTorch's are by {}",
            theirs.resampling.name,
            ours.resampling.name,
            ours.resampling.remedy,
        ),
        (
            "channels were {}, where PyTorch's are {}",
            theirs.order,
            ours.order,
            f"put the channels in the order {ours.order}",
        ),
        (
            "a pixel became {}, where PyTorch's becomes {}",
            theirs.scaling.name,
            ours.scaling.name,
            ours.scaling.remedy,
        ),
    )
    for form, their, our, remedy in rows:
        if their != our:
            yield Cause(side="tensorflow", what=form.format(their, our), remedy=remedy)


def _line_cause(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], bound: float
) -> Iterator[Cause]:
    """Values that are a straight line of PyTorch's, whatever the files are."""
    both = [name for name in ours if name in theirs and ours[name].shape == theirs[name].shape]
    if both:
        given = {name: theirs[name] for name in both}
        order, scaling, results = rescaled({name: ours[name] for name in both}, given)
        distance = _left(given, results)
        if distance <= bound:
            yield Cause(
                side="tensorflow",
                what=f"each value were {scaling.name} of PyTorch's, its channels as if {order}",
                remedy="scale both in the same way",
                distance=distance,
            )


def _said(reading: Reading) -> str:
    """A reading as a list."""
    ways = {part for way in reading.decodings.values() for part in way if part}
    return "; ".join(
        (
            *([f"decoded {', '.join(sorted(ways))}"] if ways else []),
            reading.text(reading.framing.name),
            *([f"resized by {reading.resampling.name}"] if reading.framing.resizes else []),
            f"channels {reading.order}",
            reading.scaling.name,
        )
    )
