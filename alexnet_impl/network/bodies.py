"""The usual bodies in a few lines: convolutions with pools, hidden dense layers, and the logits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeAlias, get_args

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Padding,
    Relu,
    same_padding,
)

Scale: TypeAlias = Callable[[int], int]
"""Maps a number of channels or features to that of the narrowed network."""
LayersOf: TypeAlias = Callable[[int, int, Scale], Iterator[Layer]]
"""Maps (input_size, num_classes, scale) to the layers of a network."""
DropoutPlace: TypeAlias = Literal["none", "before", "after"]
UsualPadding: TypeAlias = Literal["half", "same"]


def scale_by(width: float) -> Scale:
    """Returns a function that multiplies by `width` and rounds to even numbers of at least 2."""
    return lambda count: max(2, 2 * round(count * width / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Convolutions, each with a ReLU, then dense layers: the numbers in which such networks differ.

    `layers` is the method that a Variant takes:

        Body(channels=(32, 64), pooled=(1, 2), hidden=(128,), dropout="after").layers

    Layers are named conv1, relu1, norm1, pool1, ..., flatten, fc1, relu3, dropout1, fc2.

    Raises:
        SpecError: If a number is not a whole one of at least 1, a tuple with a number for each
            convolution has another length, or a place names no convolution.
        UnknownNameError: If dropout or conv1_padding is an unknown word.
    """

    channels: tuple[int, ...]
    """Output channels of each convolution."""
    kernel_sizes: tuple[int, ...] = ()
    """Height and width of each kernel; empty: 3."""
    conv1_stride: int = 1
    """Stride of the first convolution; the others have 1."""
    conv1_padding: Padding | UsualPadding = "half"
    """Padding of the first convolution. half: half its kernel, as the others have it; same:
    TensorFlow's, which depends on the input size."""
    groups: tuple[int, ...] = ()
    """Groups of each convolution; empty: 1."""
    lrn: tuple[int, ...] = ()
    """Convolutions, counted from 1, whose ReLU is followed by local response normalisation."""
    pooled: tuple[int, ...] = ()
    """Convolutions, counted from 1, that are followed by a pool, after any normalisation."""
    pool_size: int = 3
    """Height and width of a pool's window."""
    pool_stride: int = 2
    """Stride of the pools."""
    hidden: tuple[int, ...] = (4096, 4096)
    """Features of each hidden dense layer, which a ReLU follows."""
    dropout: DropoutPlace = "none"
    """before each hidden dense layer (torchvision), or after its ReLU."""
    dropout_rate: float = 0.5
    """Probability of a value to be zeroed."""
    linear_head: tuple[int, ...] = ()
    """Features of dense layers without a ReLU between the hidden ones and the logits."""

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_places()
        self._check_words()

    def _check_counts(self) -> None:
        for name in ("channels", "kernel_sizes", "groups", "hidden", "linear_head"):
            if not _are_counts(found := getattr(self, name)):
                raise SpecError(
                    f"{name}={found!r}: must be a tuple of whole numbers of at least 1, such as "
                    "(1, 2)."
                )
        for name in ("conv1_stride", "pool_size", "pool_stride"):
            if not _are_counts((found := getattr(self, name),)):
                raise SpecError(f"{name}={found!r}: must be a whole number of at least 1.")

    def _check_places(self) -> None:
        count = len(self.channels)
        for name in ("kernel_sizes", "groups"):
            if (found := getattr(self, name)) and len(found) != count:
                raise SpecError(
                    f"{name}={found}: must have a number for each of the {count} convolutions, or "
                    "be left out."
                )
        for name in ("lrn", "pooled"):
            if not _are_counts(found := getattr(self, name)) or max(found, default=0) > count:
                raise SpecError(f"{name}={found!r}: must name convolutions from 1 to {count}.")

    def _check_words(self) -> None:
        if self.dropout not in (known := get_args(DropoutPlace)):
            raise UnknownNameError("dropout of a Body", str(self.dropout), known)
        padding = self.conv1_padding
        if isinstance(padding, str) and padding not in (known := get_args(UsualPadding)):
            raise UnknownNameError("conv1_padding of a Body", padding, known)

    def layers(self, input_size: int, num_classes: int, scale: Scale) -> Iterator[Layer]:
        """Yields the layers for images of `input_size` pixels in height and width."""
        for number in range(1, len(self.channels) + 1):
            yield from self._convolution(number, input_size, scale)
        yield Flatten(name="flatten")
        for number, features in enumerate(self.hidden, start=1):
            yield from self._hidden_dense(number, scale(features))
        head = [*(scale(features) for features in self.linear_head), num_classes]
        for number, out_features in enumerate(head, start=len(self.hidden) + 1):
            yield Dense(name=f"fc{number}", out_features=out_features)

    def _convolution(self, number: int, input_size: int, scale: Scale) -> Iterator[Layer]:
        yield Conv(
            name=f"conv{number}",
            out_channels=scale(self.channels[number - 1]),
            kernel_size=self._kernel_size(number),
            stride=self.conv1_stride if number == 1 else 1,
            padding=self._padding(number, input_size),
            groups=_at(self.groups, number, 1),
        )
        yield Relu(name=f"relu{number}")
        if number in self.lrn:
            yield LocalResponseNorm(name=f"norm{number}")
        if number in self.pooled:
            yield MaxPool(name=f"pool{number}", kernel_size=self.pool_size, stride=self.pool_stride)

    def _kernel_size(self, number: int) -> int:
        return _at(self.kernel_sizes, number, 3)

    def _padding(self, number: int, input_size: int) -> Padding:
        half = self._kernel_size(number) // 2
        if number > 1 or self.conv1_padding == "half":
            return half, half
        if self.conv1_padding == "same":
            return same_padding(input_size, self._kernel_size(1), self.conv1_stride)
        return self.conv1_padding

    def _hidden_dense(self, number: int, features: int) -> Iterator[Layer]:
        dropout = Dropout(name=f"dropout{number}", rate=self.dropout_rate)
        if self.dropout == "before":
            yield dropout
        yield Dense(name=f"fc{number}", out_features=features)
        yield Relu(name=f"relu{len(self.channels) + number}")
        if self.dropout == "after":
            yield dropout


def _are_counts(found: object) -> bool:
    """Whether it is a tuple of whole numbers of at least 1."""
    return isinstance(found, tuple | list) and all(
        isinstance(number, Integral) and int(number) >= 1 for number in found
    )


def _at(numbers: Sequence[int], number: int, usual: int) -> int:
    """The number for a convolution, counted from 1."""
    return numbers[number - 1] if numbers else usual
