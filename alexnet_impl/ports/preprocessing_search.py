"""Finds how two preprocessing functions read image files, by recomputing what they return.

Scaling is not searched for but fitted: whatever it is, each channel of a result is a straight line
of the right pixels.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from alexnet_impl.ports.image_readings import (
    FRAMINGS,
    GREY,
    ORDERS,
    RESAMPLINGS,
    ROUGH,
    SCALINGS,
    Decoding,
    Framing,
    Pixels,
    Resampling,
    Scaling,
    Steps,
    in_order,
    unusual_framing,
)
from alexnet_impl.weights.canonical import Array

KEPT_FRAMINGS, KEPT_PAIRS = 4, 6
"""Numbers of different misfits whose framings, and framings with resamplings, are read on."""
SAMPLED = 64
"""Rows and columns of a result that a misfit is measured on, at least, if it has as many."""
MOST_SEARCHED = 1 << 23
"""Values of all files that framing and resampling are searched on, but for the first."""
MOST_RESIZED = 1 << 21
"""Pixels of a resized image; larger ones are only compared with what is not resized."""
UNUSUAL = 0.1
"""Where every framing of the table has a larger misfit, all lengths of the short side are tried."""
MOST_PLAIN = 4
"""Decodings of an upright JPEG file without alpha."""
TIE = 1e-5
"""Readings whose misfits differ by less are equally good: float32 rounding."""
SAME = 1e-3
"""Largest relative difference of a scaling from a known one."""

Decoded = Mapping[str, Mapping[Decoding, Pixels]]
"""File to its pixels (height, width, 3) by decoding."""
Way = tuple[Framing, Resampling]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a function reads files.

    Attributes:
        framing: How images get their final size.
        resampling: How they are resized.
        decodings: File to the way that it was decoded.
        order: The order of the channels.
        scaling: What becomes of a pixel.
        results: File to what this reading makes of it: (height, width, channels).
    """

    framing: Framing
    resampling: Resampling
    decodings: dict[str, Decoding]
    order: str
    scaling: Scaling
    results: dict[str, Array]

    def text(self, form: str) -> str:
        """A name or remedy of the framing with this reading's sizes."""
        sizes = {result.shape[:2] for result in self.results.values()}
        height, width = min(sizes)
        size = f"{height} x {width}" if len(sizes) == 1 else "several sizes"
        return form.format(size=size, short=self.framing.short(min(height, width)))


def read_both(
    decoded: Decoded, ours: Mapping[str, Array], theirs: Mapping[str, Array]
) -> tuple[Reading, Reading]:
    """The likeliest readings of two functions; of equally likely ones those that differ least.

    Args:
        decoded: The files.
        ours: File to the result of one function: (height, width, channels) of 1 or 3 channels.
        theirs: The same of the other; at least one file each.
    """
    cache: dict[tuple[str, Decoding, Steps, str], Array | None] = {}
    first, second = _Side(decoded, ours, cache), _Side(decoded, theirs, cache)
    one, other = min(itertools.product(first.best(), second.best()), key=_differences)
    ways = {name: first.decodings(name, one) for name in ours}
    others = {name: second.decodings(name, other) for name in theirs}
    return (
        first.reading(one, {name: _common(ways[name], others.get(name, ())) for name in ways}),
        second.reading(other, {name: _common(others[name], ways.get(name, ())) for name in others}),
    )


def _differences(pair: tuple[Way, Way]) -> int:
    return sum(a is not b for a, b in zip(*pair, strict=True))


def _common(ways: tuple[Decoding, ...], others: tuple[Decoding, ...]) -> Decoding:
    return next((way for way in ways if way in others), ways[0])


class _Side:
    """One function's results, and how well each reading fits them."""

    def __init__(
        self,
        decoded: Decoded,
        results: Mapping[str, Array],
        cache: dict[tuple[str, Decoding, Steps, str], Array | None],
    ) -> None:
        self.decoded, self.results, self._pixels = decoded, results, cache
        self._misfits: dict[tuple[str, Decoding, Steps, str], float] = {}
        self._centred = {name: _centred(result) for name, result in results.items()}

    def best(self) -> list[Way]:
        """The framings and resamplings that fit best, in the order of their tables."""
        names = self._searched()
        known = [*FRAMINGS]
        rough = self._ranked(names, itertools.product(known, ROUGH), KEPT_FRAMINGS)
        if min(self._misfit(names, way) for way in rough) > UNUSUAL:
            short = min(self.results[names[0]].shape[:2])
            known += [unusual_framing(length) for length in range(short, 2 * short + 1)]
            best = self._ranked(names[:1], itertools.product(known, ROUGH), KEPT_FRAMINGS)
            rough = self._ranked(names, best, KEPT_FRAMINGS)
        framings = dict.fromkeys(framing for framing, _ in rough)
        plain = [one for one in RESAMPLINGS if not one.whole]
        pairs = self._ranked(names, itertools.product(framings, plain), KEPT_PAIRS)
        pairs = [
            (framing, one)
            for framing, like in pairs
            for one in RESAMPLINGS
            if one.resize == like.resize
        ]
        for files in (names, list(self.results)):  # all files only for what fits some alike
            misfits = {way: self._misfit(files, way, every=True) for way in pairs}
            bound = _bound(misfits.values())
            pairs = [way for way, misfit in misfits.items() if misfit <= bound]
        return sorted(pairs, key=lambda w: (known.index(w[0]), RESAMPLINGS.index(w[1])))

    def _searched(self) -> list[str]:
        """The smallest, a middle and the largest file, of those that leave few choices.

        Large files are few, since each is resized some hundred times.
        """
        few = min(len(self.decoded[name]) for name in self.results)
        names = [name for name in self.results if len(self.decoded[name]) <= max(few, MOST_PLAIN)]
        names.sort(key=lambda name: next(iter(self.decoded[name].values())).size)
        found: dict[str, int] = {}
        for name in (names[0], names[len(names) // 2], names[-1]):
            size = next(iter(self.decoded[name].values())).size
            if not found or sum(found.values()) + size <= MOST_SEARCHED:
                found[name] = size
        return list(found)

    def _ranked(self, names: list[str], ways: Iterable[Way], kept: int) -> list[Way]:
        """The ways that have the lowest misfits, of which `kept` different ones count."""
        found = {way: self._misfit(names, way) for way in ways}
        levels = sorted({round(misfit, 6) for misfit in found.values()})[:kept]
        return [way for way in found if round(found[way], 6) <= levels[-1]]

    def _misfit(self, names: list[str], way: Way, *, every: bool = False) -> float:
        """Mean misfit over files, of the first of their decodings or the best of them."""
        best = []
        for name in names:
            choices = list(self.decoded[name])
            found = (self.misfit(name, one, way) for one in (choices if every else choices[:1]))
            best.append(min(found))
        return float(np.mean(best))

    def misfit(self, name: str, decoding: Decoding, way: Way) -> float:
        """Deviation that a reading leaves of a result, relative to the result's; any scaling."""
        key = self._key(name, decoding, way)
        if key not in self._misfits:
            pixels = self.pixels(name, decoding, way)
            self._misfits[key] = float("inf")
            if pixels is not None:
                orders = _orders(self.results[name])
                some, y = _centred(pixels), self._centred[name]
                self._misfits[key] = min(_unexplained(in_order(some, one), y) for one in orders)
        return self._misfits[key]

    def _key(self, name: str, decoding: Decoding, way: Way) -> tuple[str, Decoding, Steps, str]:
        size = self.decoded[name][decoding].shape[:2]
        height, width = self.results[name].shape[:2]
        steps = way[0].steps(size, (height, width))
        resized = steps.size != (size if steps.before is None else steps.before[2:])
        return name, decoding, steps, way[1].name if resized else ""

    def pixels(self, name: str, decoding: Decoding, way: Way) -> Array | None:
        """Pixels (height, width, 3) of a result before scaling; None if they cannot be computed."""
        key = self._key(name, decoding, way)
        if key not in self._pixels:
            steps = key[2]
            possible = min(*steps.size, *(steps.before or (1, 1))[-2:]) >= 1
            if key[3]:
                possible &= steps.size[0] * steps.size[1] <= MOST_RESIZED
            image = self.decoded[name][decoding]
            self._pixels[key] = steps(image, way[1]) if possible else None
        return self._pixels[key]

    def decodings(self, name: str, way: Way) -> tuple[Decoding, ...]:
        """The decodings of a file that fit best, all of them if several fit alike."""
        misfits = {one: self.misfit(name, one, way) for one in self.decoded[name]}
        bound = _bound(misfits.values())
        return tuple(one for one, misfit in misfits.items() if misfit <= bound)

    def reading(self, way: Way, decodings: dict[str, Decoding]) -> Reading:
        """The reading with the order of channels and the scaling that fit best."""
        found = {name: self.pixels(name, one, way) for name, one in decodings.items()}
        pixels = {name: one for name, one in found.items() if one is not None}
        order, scaling, results = rescaled(pixels, {name: self.results[name] for name in pixels})
        return Reading(
            framing=way[0],
            resampling=way[1],
            decodings=decodings,
            order=order,
            scaling=scaling,
            results=results,
        )


def rescaled(
    pixels: Mapping[str, Array], results: Mapping[str, Array]
) -> tuple[str, Scaling, dict[str, Array]]:
    """The order of channels and the scaling that lead from pixels to results.

    Args:
        pixels: File to its pixels: (height, width, 3), or (height, width, 1) as the result.
        results: File to its result: (height, width, channels), of 1 or 3 channels.

    Returns:
        The order, the scaling, and what they make of each file's pixels.
    """
    targets = list(results.values())
    orders = {o: [in_order(p, o) for p in pixels.values()] for o in _orders(targets[0])}
    order = min(orders, key=lambda one: _left_by(orders[one], targets))
    line = _line(orders[order], targets)
    scaling, lines = _named(*line, order), [line] * len(targets)
    each = [_line([a], [b]) for a, b in zip(orders[order], targets, strict=True)]
    if _left(orders[order], targets, each) < OWN * _left(orders[order], targets, lines) - TIE:
        scaling, lines = OWN_SCALING, each
    scaled = zip(pixels, orders[order], lines, strict=True)
    return order, scaling, {name: one * slope + offset for name, one, (slope, offset) in scaled}


def _bound(misfits: Iterable[float]) -> float:
    """The largest misfit that is as good as the smallest."""
    return 1.02 * min(misfits) + TIE


def _centred(image: Array) -> Array:
    """Some values of an image (height, width, channels), less their mean: (values, channels)."""
    rows, columns = (max(1, length // SAMPLED) for length in image.shape[:2])
    values: Array = image[::rows, ::columns].reshape(-1, image.shape[2]).astype(float)
    centred: Array = values - values.mean(axis=0)
    return centred


def _unexplained(x: Array, y: Array) -> float:
    """Deviation that the best slopes leave of y, relative to y's; both centred."""
    xx, xy, yy = (np.einsum("ij,ij->j", a, b) for a, b in ((x, x), (x, y), (y, y)))
    left = np.maximum(yy - xy**2 / np.where(xx > 0, xx, 1), 0).sum()
    return float(np.sqrt(left / yy.sum())) if yy.any() else 0.0


def _orders(result: Array) -> tuple[str, ...]:
    return (GREY,) if result.shape[2] == 1 else tuple(ORDERS)


Line = tuple[Array, Array]
"""Slope and offset of each channel."""


def _line(pixels: list[Array], results: list[Array]) -> Line:
    """The straight lines from pixels to results, both (height, width, channels), by least squares.

    The slope of a channel that is constant is 0.
    """
    x, y = (
        np.concatenate([one.reshape(-1, one.shape[2]) for one in images]).astype(float)
        for images in (pixels, results)
    )
    centred = x - x.mean(axis=0)
    spread = (centred**2).sum(axis=0)
    slope = (centred * y).sum(axis=0) / np.where(spread > 0, spread, 1)
    return slope, y.mean(axis=0) - slope * x.mean(axis=0)


def _left_by(pixels: list[Array], results: list[Array]) -> float:
    """Deviation of results from their best straight lines; see _left()."""
    return _left(pixels, results, [_line(pixels, results)] * len(results))


def _left(pixels: list[Array], results: list[Array], lines: list[Line]) -> float:
    """Deviation of results from straight lines of pixels, relative to their own deviation."""
    left = total = 0.0
    for x, y, (slope, offset) in zip(pixels, results, lines, strict=True):
        left += float(((y - (x * slope + offset)) ** 2).sum())
        total += float(((y - y.mean(axis=(0, 1))) ** 2).sum())
    return float(np.sqrt(left / total)) if total else 0.0


@np.errstate(all="ignore")  # the slope of a constant channel is 0
def _named(slope: Array, offset: Array, order: str) -> Scaling:
    """The known scaling with this slope and offset, or one that says the two numbers."""
    if order != GREY:  # both for red, green, blue from here on
        slope, offset = (values[list(ORDERS[order])] for values in (slope, offset))
    bound = SAME * np.abs(slope).max()
    for known in SCALINGS:
        for reverse in (False, True):
            values = [np.array(one[:: -1 if reverse else 1]) for one in (known.slope, known.offset)]
            apart = np.abs(slope - values[0]).max(), np.abs(offset - values[1]).max() / 255
            if max(apart) <= bound:
                return known._replace(name=known.name + REVERSED) if reverse else known
    mean, std = -offset / slope / 255, 1 / slope / 255
    statistics = bool(((mean > 0) & (mean < 1) & (std > 0) & (std < 1)).all())
    numbers = (mean, std) if statistics else (slope, offset)
    said = [", ".join(f"{value:.4g}" for value in values) for values in numbers]
    form = "(pixel / 255 - ({})) / ({})" if statistics else "pixel * ({}) + ({})"
    text = form.format(*said)
    return Scaling(text, f"compute {text}", tuple(slope), tuple(offset))


REVERSED = ", those of red and blue exchanged"
OWN = 0.1
"""Scalings of each image's own count if they leave at most this fraction of what one leaves."""
OWN_SCALING = Scaling(
    "(pixel - mean) / deviation with each image's own",
    "use tf.image.per_image_standardization",
    (),
    (),
)
