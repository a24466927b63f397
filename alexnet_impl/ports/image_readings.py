"""The usual ways to decode, frame, resize and scale an image file, computed in NumPy and Pillow.

Each is a row of a table: its name in a sentence, what gives it in Keras, and its arithmetic.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alexnet_impl.data.decoding import image_formats
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.weights.canonical import Array

Pixels = NDArray[np.uint8]
"""A decoded image: (height, width, 3), RGB."""
Size = tuple[int, int]
"""Height and width in pixels."""


class Decoding(NamedTuple):
    """How a file was decoded; '' where its kind leaves no choice.

    Attributes:
        jpeg: Arithmetic of the JPEG decoder.
        turned: Whether the orientation in the EXIF data was applied.
        alpha: What became of transparency.
    """

    jpeg: str = ""
    turned: str = ""
    alpha: str = ""


ACCURATE = "with the accurate DCT, as by Pillow"
FAST = "with the fast DCT, TensorFlow's default"
BLOCKY = " and repeated chroma"
STORED = "as stored"
UPRIGHT = "turned by their EXIF orientation"
DECODING_REMEDIES = {
    ACCURATE: "give tf.io.decode_jpeg dct_method='INTEGER_ACCURATE'",
    FAST: "give tf.io.decode_jpeg dct_method='INTEGER_FAST'",
    ACCURATE + BLOCKY: "give it dct_method='INTEGER_ACCURATE' and fancy_upscaling=False",
    FAST + BLOCKY: "give tf.io.decode_jpeg fancy_upscaling=False",
    STORED: "ignore the EXIF orientation",
    UPRIGHT: "decode by PIL.ImageOps.exif_transpose(PIL.Image.open(path))",
    "with their alpha left out": "leave alpha out: image[..., :3]",
    "over white": "draw the image over white by PIL.Image.alpha_composite",
    "over black": "draw the image over black by PIL.Image.alpha_composite",
}
"""A way of decoding, and what gives it in Keras's preprocessing."""


def decodings(path: Path, others: Mapping[str, Pixels]) -> dict[Decoding, Pixels]:
    """Everything that a decoder may make of a file, Pillow's usual first: (height, width, 3).

    Args:
        path: The file.
        others: Of a JPEG file its pixels (height, width, 3), as stored, by other keys of
            DECODING_REMEDIES.
    """
    found: dict[Decoding, Pixels] = {}
    with Image.open(path, formats=image_formats()) as file:
        orientation = file.getexif().get(ORIENTATION, 1)
        file.load()
        decoded: dict[str, Image.Image] = {ACCURATE if others else "": file}
        decoded |= {name: Image.fromarray(pixels) for name, pixels in others.items()}
        for jpeg, image in decoded.items():
            image.getexif()[ORIENTATION] = orientation
            turns = {STORED: image, UPRIGHT: ImageOps.exif_transpose(image)}
            for turned, one in turns.items() if orientation != 1 else [("", image)]:
                for alpha, rgb in _without_alpha(one):
                    found[Decoding(jpeg, turned, alpha)] = np.asarray(rgb)
    return found


ORIENTATION = 0x0112
"""The EXIF tag of the orientation; 1 is upright."""


def _without_alpha(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    if not image.has_transparency_data:
        yield "", image.convert("RGB")
        return
    yield "with their alpha left out", image.convert("RGB")
    for colour in ("white", "black"):
        ground = Image.new("RGBA", image.size, colour)
        drawn = Image.alpha_composite(ground, image.convert("RGBA"))
        yield f"over {colour}", drawn.convert("RGB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """A way to resize an image.

    Attributes:
        name: Noun phrase after 'resized by'.
        remedy: What gives it in Keras's preprocessing.
        resize: From pixels (height, width, 3) and a size to an array (*size, 3).
        whole: How values become whole levels from 0 to 255: 'round', 'cut', or '' for not at all.
    """

    name: str
    remedy: str
    resize: Callable[[Pixels, Size], Array]
    whole: str = ""

    def __call__(self, pixels: Pixels, size: Size) -> Array:
        """Resizes pixels (height, width, 3) to an array (*size, 3)."""
        values = self.resize(pixels, size) if pixels.shape[:2] != size else pixels
        if not self.whole:
            return values
        levels: Array = np.clip(values, 0, 255)
        return levels.round() if self.whole == "round" else np.floor(levels)


def _by_pillow(filter_name: str, pixels: Pixels, size: Size) -> Array:
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling[filter_name])
    return np.asarray(resized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """An interpolation kernel along one axis.

    Attributes:
        weight: The weight of a source pixel at a distance, in pixels.
        radius: The distance from which it is 0.
        antialias: Whether it is widened when shrinking.
        clamp: Whether pixels beyond the edge count as those at the edge; otherwise they do not
            count.
        place: Where target pixel i lies: 'centres' (i + 0.5) * scale, 'corners' where the first and
            last pixels of both images meet, 'legacy' i * scale.
        steps: Number of steps per pixel in which the place is tabulated; 0 for exact places.
    """

    weight: Callable[[Array], Array]
    radius: float
    antialias: bool = False
    clamp: bool = False
    place: str = "centres"
    steps: int = 0

    def axis(self, source: int, target: int) -> tuple[NDArray[np.intp], Array]:
        """Source pixels and their weights for each target pixel: two arrays (target, taps)."""
        scale = source / target
        wide = max(scale, 1.0) if self.antialias else 1.0
        places = np.arange(target) * scale
        if self.place == "centres":
            places = (np.arange(target) + 0.5) * scale - 0.5
        elif self.place == "corners":
            places = np.arange(target) * ((source - 1) / max(target - 1, 1))
        if self.steps:
            places = np.rint(places * self.steps) / self.steps
        first = np.floor(places - self.radius * wide).astype(int)
        taps = first[:, None] + np.arange(int(np.ceil(2 * self.radius * wide)) + 2)
        weights = self.weight((taps - places[:, None]) / wide)
        if not self.clamp:
            weights = weights * ((taps >= 0) & (taps < source))
        return taps.clip(0, source - 1), weights / weights.sum(axis=1, keepdims=True)

    def resize(self, pixels: Pixels, size: Size) -> Array:
        """Resizes pixels (height, width, 3) to float32 values (*size, 3)."""
        values: Array = pixels
        for length in size:  # columns follow once rows and columns are exchanged
            taps, weights = self.axis(values.shape[0], length)
            values = _weighted(values, taps, weights.astype(np.float32)).transpose(1, 0, 2)
        return values

    def resize_whole(self, pixels: Pixels, size: Size) -> Array:
        """Resizes pixels (height, width, 3) as PyTorch does uint8 tensors, to whole levels.

        Weights are whole numbers of 16 bits, and the columns are rounded before the rows.
        """
        values: Array = pixels.transpose(1, 0, 2)
        for length in reversed(size):
            if length != len(values):
                taps, weights = self.axis(len(values), length)
                bits = 14 - int(np.floor(np.log2(weights.max())))
                bits -= int(0.5 + weights.max() * 2**bits) >= 2**15
                whole = np.trunc(weights * 2**bits + np.copysign(0.5, weights)).astype(np.int64)
                values = (_weighted(values, taps, whole) + 2 ** (bits - 1)) >> bits
            values = values.clip(0, 255).transpose(1, 0, 2)
        return values.transpose(1, 0, 2)


def _weighted(values: Array, taps: NDArray[np.intp], weights: Array) -> Array:
    """Sums of weighted rows: values (rows, columns, 3), taps and weights (targets, taps)."""
    total = np.zeros((len(taps), *values.shape[1:]), weights.dtype)
    for number in np.flatnonzero(weights.any(axis=0)):
        total += weights[:, number, None, None] * values[taps[:, number]]
    return total


def _triangle(x: Array) -> Array:
    weight: Array = np.maximum(1 - np.abs(x), 0)
    return weight


def _cubic(a: float, x: Array) -> Array:
    x = np.abs(x)
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


def _lanczos3(x: Array) -> Array:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _nearest(shift: float, pixels: Pixels, size: Size) -> Array:
    rows, columns = (
        np.floor((np.arange(target) + shift) * (source / target)).astype(int)
        for source, target in zip(pixels.shape[:2], size, strict=True)
    )
    picked: Array = pixels[rows][:, columns]
    return picked


def _area(pixels: Pixels, size: Size) -> Array:
    """Each target pixel is the mean over the rectangle that it covers."""
    values: Array = pixels
    for length in size:
        source = len(values)
        edges = np.linspace(0, source, length + 1)
        taps = edges[:-1, None].astype(int) + np.arange(math.ceil(source / length) + 1)
        ends = np.minimum(taps + 1, edges[1:, None])
        covered = np.maximum(ends - np.maximum(taps, edges[:-1, None]), 0)
        weights = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
        values = _weighted(values, taps.clip(0, source - 1), weights).transpose(1, 0, 2)
    return values


_CUBIC = partial(_cubic, -0.5)
_TF = "tf.image.resize(image, size{})"
_BICUBIC = _TF.format(", 'bicubic', antialias=True")
_EXACT = (
    ("bilinear interpolation without antialias", "", Kernel(weight=_triangle, radius=1)),
    (
        "bilinear interpolation with antialias",
        ", antialias=True",
        Kernel(weight=_triangle, radius=1, antialias=True),
    ),
    (
        "bicubic interpolation without antialias",
        ", 'bicubic'",
        Kernel(weight=_CUBIC, radius=2, steps=1024),  # TensorFlow tabulates it
    ),
    (
        "bicubic interpolation with antialias",
        ", 'bicubic', antialias=True",
        Kernel(weight=_CUBIC, radius=2, antialias=True),
    ),
    ("Lanczos interpolation without antialias", ", 'lanczos3'", Kernel(weight=_lanczos3, radius=3)),
    (
        "Lanczos interpolation with antialias",
        ", 'lanczos3', antialias=True",
        Kernel(weight=_lanczos3, radius=3, antialias=True),
    ),
)
_OTHER = (
    (
        "bicubic interpolation of PyTorch's and OpenCV's kernel without antialias",
        f"take antialias=True in PyTorch, and use {_BICUBIC}",
        Kernel(weight=partial(_cubic, -0.75), radius=2, clamp=True),
    ),
    (
        "bilinear interpolation with aligned corners",
        "use tf.compat.v1.image.resize(image, size, align_corners=True)",
        Kernel(weight=_triangle, radius=1, clamp=True, place="corners"),
    ),
    (
        "bilinear interpolation without half-pixel centres",
        "use tf.compat.v1.image.resize(image, size)",
        Kernel(weight=_triangle, radius=1, clamp=True, place="legacy"),
    ),
)
_FLOATS = (
    *((name, f"use {_TF.format(how)}", kernel.resize) for name, how, kernel in _EXACT),
    *((name, how, kernel.resize) for name, how, kernel in _OTHER),
    ("averages over areas", f"use {_TF.format(', ' + repr('area'))}", _area),
)
_WHOLE = {
    "": ("", ""),
    "round": (", rounded to whole levels", " and round it by tf.round"),
    "cut": (", cut to whole levels", " and cut it by tf.floor"),
}


def _pillow(name: str, adjective: str) -> Resampling:
    resize = partial(_by_pillow, name)
    how = f"keras.utils.load_img(path).resize((width, height), PIL.Image.Resampling.{name})"
    return Resampling(name=f"Pillow's {adjective} filter", remedy=f"use {how}", resize=resize)


RESAMPLINGS = (
    _pillow("BILINEAR", "bilinear"),
    _pillow("BICUBIC", "bicubic"),
    _pillow("LANCZOS", "Lanczos"),
    _pillow("NEAREST", "nearest-neighbour"),
    *(
        Resampling(
            name=f"torchvision's {adjective} filter for uint8 tensors",
            remedy="resize Pillow's image in PyTorch, and "
            f"keras.utils.load_img(path).resize((width, height), PIL.Image.Resampling.{name})",
            resize=kernel.resize_whole,
        )
        for name, adjective, kernel in (
            ("BILINEAR", "bilinear", _EXACT[1][2]),
            ("BICUBIC", "bicubic", _EXACT[3][2]),
        )
    ),
    Resampling(
        name="the nearest pixel",
        remedy=f"use {_TF.format(', ' + repr('nearest'))}",
        resize=partial(_nearest, 0.5),
    ),
    Resampling(
        name="the pixel above and to the left (torch.nn.functional.interpolate's 'nearest')",
        remedy="take mode='nearest-exact' in PyTorch, and tf.image.resize(image, size, 'nearest')",
        resize=partial(_nearest, 0.0),
    ),
    *(
        Resampling(name=name + after, remedy=remedy + then, resize=resize, whole=whole)
        for name, remedy, resize in _FLOATS
        for whole, (after, then) in _WHOLE.items()
    ),
    _pillow("BOX", "box"),
    _pillow("HAMMING", "Hamming"),
)
"""Ways to resize. Pillow widens its filters when shrinking and rounds to whole levels."""
ROUGH = tuple(
    next(one for one in RESAMPLINGS if one.name.startswith(name))
    for name in ("Pillow's bilinear", "bilinear interpolation without antialias", "the pixel above")
)
"""Three that lie far apart, enough to recognise the framing: the last moves by half a pixel."""


class Window(NamedTuple):
    """A rectangle of an image in pixels, which may reach beyond its edges."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Array) -> Array:
        """Cuts it out of an image (height, width, 3); zeros lie beyond the edges."""
        rows = np.arange(self.top, self.top + self.height)
        columns = np.arange(self.left, self.left + self.width)
        inside = [
            (places >= 0) & (places < length)
            for places, length in zip((rows, columns), image.shape, strict=False)
        ]
        if all(one.all() for one in inside):
            return image[self.top : self.top + self.height, self.left : self.left + self.width]
        found = np.zeros((self.height, self.width, 3), image.dtype)
        found[np.ix_(*inside)] = image[rows[inside[0]]][:, columns[inside[1]]]
        return found


class Steps(NamedTuple):
    """Parts of a framing: a window cut out first, the size, and a window cut out afterwards.

    A window of None cuts nothing.
    """

    before: Window | None
    size: Size
    after: Window | None

    def __call__(self, pixels: Pixels, resampling: Resampling) -> Array:
        """The image (height, width, 3) after these steps."""
        first = pixels if self.before is None else self.before.cut(pixels)
        resized = resampling(first, self.size)
        return resized if self.after is None else self.after.cut(resized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """A way to bring images of any size to one size.

    Attributes:
        name: The end of 'images were'; '{size}' stands for the final size, '{short}' for the length
            of the short side before the middle is cut out.
        remedy: What gives it in Keras's preprocessing, likewise.
        steps: From the size of the image and the final size to the steps.
        resizes: Whether it resizes at all.
        short: From the short side of the final size to that before the middle is cut out.
    """

    name: str
    remedy: str
    steps: Callable[[Size, Size], Steps]
    resizes: bool = True
    short: Callable[[int], int] = int


def _centre(size: Size, inner: Size, place: Callable[[float], float] = round) -> Window:
    """The middle of an image; `place` makes half pixels whole."""
    top, left = (int(place((a - b) / 2)) for a, b in zip(size, inner, strict=True))
    return Window(top, left, *inner)


def _short_side(
    side: Callable[[int], int], whole: Callable[[float], float], place: Callable[[float], float]
) -> Callable[[Size, Size], Steps]:
    """Steps that resize the short side to side(final), and cut out the middle."""

    def steps(size: Size, final: Size) -> Steps:
        short = side(min(final))
        height, width = (
            short if length == min(size) else int(whole(short * length / min(size)))
            for length in size
        )
        return Steps(None, (height, width), _centre((height, width), final, place))

    return steps


def _aspect_cut(size: Size, final: Size) -> Steps:
    """Cuts out the middle with the final aspect, then resizes it."""
    height = min(size[0], int(size[1] * final[0] / final[1]))
    width = min(size[1], int(size[0] * final[1] / final[0]))
    return Steps(_centre(size, (height, width), int), final, None)


def _aspect_padded(size: Size, final: Size) -> Steps:
    """Pads with equal zeros on both sides towards the final aspect, then resizes."""
    top = max(int(size[1] * final[0] / final[1]) - size[0], 0) // 2
    left = max(int(size[0] * final[1] / final[0]) - size[1], 0) // 2
    padded = Window(-top, -left, size[0] + 2 * top, size[1] + 2 * left)
    return Steps(padded, final, None)


def _fraction_first(fraction: float, size: Size, final: Size) -> Steps:
    """Cuts out a central fraction, as tf.image.central_crop, then resizes it."""
    top, left = (int((length - length * fraction) / 2) for length in size)
    return Steps(Window(top, left, size[0] - 2 * top, size[1] - 2 * left), final, None)


def _letterbox(size: Size, final: Size) -> Steps:
    """Resizes the image to fit inside, and pads it with zeros, as tf.image.resize_with_pad.

    It computes in float32, so that a side may be one pixel shorter than the final one.
    """
    sides, ends = np.array(size, np.float32), np.array(final, np.float32)
    inner = sides / (sides / ends).max()
    top, left = np.maximum((ends - inner) // 2, 0).astype(int)
    height, width = np.floor(inner).astype(int)
    return Steps(None, (int(height), int(width)), Window(int(-top), int(-left), *final))


_SHORT: tuple[Callable[[int], int], ...] = (
    int,
    lambda final: round(final * 256 / 224),
    lambda final: final + 32,
    lambda final: round(final * 232 / 224),
    lambda final: int(final / 0.875),
    lambda final: int(final / 0.9),
    lambda final: int(final * 1.15),
    lambda final: 256 if 128 <= final < 256 else 0,
)
"""Usual lengths of the short side before the middle is cut out, from that of the final size; 0 if
there is none."""
_LONG: dict[str, Callable[[float], float]] = {"": int, " (the long side rounded)": round}
_PLACES: dict[str, Callable[[float], float]] = {
    "": round,
    " (half pixels rounded down)": int,
    " (half pixels rounded up)": math.ceil,
}


def _side_framing(short: Callable[[int], int], long: str = "", half: str = "") -> Framing:
    side = f"a short side of {{short}}{long}"
    return Framing(
        name=f"resized to {side} and cut to the middle{half}, {{size}}",
        remedy=f"resize to {side} and cut out the middle{half}",
        steps=_short_side(short, _LONG[long], _PLACES[half]),
        short=short,
    )


@cache
def unusual_framing(length: int) -> Framing:
    """A framing whose short side has any length before the middle is cut out."""
    return _side_framing(lambda _: length)


def _as_stored(size: Size, final: Size) -> Steps:
    """Nothing; a size of 0 where the final size is another."""
    return Steps(None, final if size == final else (0, 0), None)


FRAMINGS = (
    Framing(name="left in their own size", remedy="do not resize", steps=_as_stored, resizes=False),
    Framing(
        name="squashed to {size}",
        remedy="resize the whole image to the final size",
        steps=lambda _, final: Steps(None, final, None),
    ),
    *itertools.starmap(_side_framing, itertools.product(_SHORT, _LONG, _PLACES)),
    Framing(
        name="cut to the final aspect and then resized to {size}",
        remedy="use keras.layers.Resizing(height, width, crop_to_aspect_ratio=True)",
        steps=_aspect_cut,
    ),
    Framing(
        name="padded with zeros to the final aspect and then resized to {size}",
        remedy="use keras.layers.Resizing(height, width, pad_to_aspect_ratio=True)",
        steps=_aspect_padded,
    ),
    Framing(
        name="cut to their central 87.5 % and then resized to {size}",
        remedy="use tf.image.central_crop(image, 0.875) before resizing",
        steps=partial(_fraction_first, 0.875),
    ),
    Framing(
        name="resized to fit into {size} and padded with zeros",
        remedy="use tf.image.resize_with_pad(image, height, width)",
        steps=_letterbox,
    ),
    Framing(
        name="cut or padded to {size} and not resized",
        remedy="use tf.image.resize_with_crop_or_pad(image, height, width)",
        steps=lambda size, final: Steps(None, size, _centre(size, final, int)),
        resizes=False,
    ),
    Framing(
        name="cut or padded to {size} (half pixels rounded) and not resized",
        remedy="cut out the middle from round((height - final) / 2)",
        steps=lambda size, final: Steps(None, size, _centre(size, final)),
        resizes=False,
    ),
)
"""Ways to frame an image."""

ORDERS: dict[str, tuple[int, ...]] = {
    "red, green, blue": (0, 1, 2),
    "blue, green, red": (2, 1, 0),
}
"""The order of the channels, and each one's place in RGB."""
GREY = "grey"
"""The order of one channel that is the colours' luminance."""
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)


def in_order(pixels: Array, order: str) -> Array:
    """Pixels (height, width, 3) with their channels in an order; (height, width, 1) if grey."""
    if order == GREY:
        return pixels if pixels.shape[-1] == 1 else (pixels @ LUMINANCE)[..., None]
    return pixels[..., ORDERS[order]]


class Scaling(NamedTuple):
    """Scaling of pixels from 0 to 255: pixel * slope + offset, for red, green and blue.

    `name` is a formula, `remedy` what gives it in Keras's preprocessing.
    """

    name: str
    remedy: str
    slope: tuple[float, ...]
    offset: tuple[float, ...]


def _plain(name: str, remedy: str, slope: float, offset: float = 0.0) -> Scaling:
    return Scaling(name, remedy, (slope,) * 3, (offset,) * 3)


_MEAN = np.array(INPUT_SCALINGS["imagenet"].mean)
_STD = np.array(INPUT_SCALINGS["imagenet"].std)
_MODE = "use keras.applications.imagenet_utils.preprocess_input(image, mode='{}')"


def _known(key: str, name: str, remedy: str) -> Scaling:
    """A row of INPUT_SCALINGS, before its channels are reversed."""
    mean, std = (np.array(getattr(INPUT_SCALINGS[key], part)) for part in ("mean", "std"))
    return Scaling(name, remedy, tuple(1 / 255 / std), tuple(-mean / std))


SCALINGS = (
    _plain("pixel", "leave the pixels from 0 to 255 as they are", 1.0),
    _plain("pixel / 255", "use keras.layers.Rescaling(1 / 255)", 1 / 255),
    _plain("pixel / 127.5 - 1", "use keras.layers.Rescaling(1 / 127.5, offset=-1)", 1 / 127.5, -1),
    _plain("pixel / 256", "use keras.layers.Rescaling(1 / 256)", 1 / 256),
    _plain("pixel / 255 / 255", "use keras.layers.Rescaling(1 / 255 / 255)", 1 / 255 / 255),
    _known(
        "imagenet",
        "(pixel / 255 - mean) / std with ImageNet's mean and std",
        _MODE.format("torch"),
    ),
    _known(
        "cifar10",
        "(pixel / 255 - mean) / std with CIFAR-10's mean and std",
        "compute (image / 255 - mean) / std",
    ),
    _known(
        "caffe",
        "pixel - mean with ImageNet's mean from 0 to 255",
        "subtract [123.68, 116.779, 103.939] from red, green and blue",
    ),
    Scaling(
        "(pixel - mean) / std with ImageNet's mean and std, not divided by 255 before",
        "leave out the division by 255",
        tuple(1 / _STD),
        tuple(-_MEAN / _STD),
    ),
    Scaling(
        "pixel / 255 - mean with ImageNet's mean",
        "leave out the division by std",
        (1 / 255,) * 3,
        tuple(-_MEAN),
    ),
)
"""Ways to scale pixels, whatever the order of the channels is afterwards."""
