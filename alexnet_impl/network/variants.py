"""The named AlexNet variants: source, published parameter totals, and build_spec() for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.spec import (
    LARGEST_INPUT,
    Backbone,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Padding,
    Relu,
    Spec,
    same_padding,
    trace,
)
from alexnet_impl.network.spec_changes import SEPARATOR, SPEC_CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A named AlexNet architecture.

    Attributes:
        source: The paper, code or report (by id) that it comes from.
        about: One line on how it differs from the others.
        input_size: Height and width in pixels that the source uses.
        published_num_params: The source's own parameter total, by number of classes.
        layers: Maps (input_size, num_classes, scale) to the layers; `scale` maps a number of
            channels or features to that of the narrowed network.
    """

    source: str
    about: str
    input_size: int
    published_num_params: dict[int, int]
    layers: Callable[[int, int, Callable[[int], int]], Iterator[Layer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """The numbers in which AlexNets of five convolutions differ."""

    channels: tuple[int, int, int, int, int]
    kernel_sizes: tuple[int, int, int, int, int] = (11, 5, 3, 3, 3)
    conv1_stride: int = 4
    conv1_padding: Padding | None = (0, 0)
    """None means TensorFlow's 'same', which depends on the input size."""
    groups: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    lrn: bool = False
    pooled: tuple[int, ...] = (1, 2, 5)
    dropout: str = "none"
    """'before' fc1 and fc2 (torchvision), 'after' their ReLUs, or 'none'."""
    linear_head: tuple[int, ...] = ()
    """Dense layers without a ReLU between fc2 and the logits."""

    def layers(
        self, input_size: int, num_classes: int, scale: Callable[[int], int]
    ) -> Iterator[Layer]:
        yield from self._convolutions(input_size, scale)
        yield Flatten(name="flatten")
        yield from self._hidden_dense(scale)
        head = [*(scale(width) for width in self.linear_head), num_classes]
        for number, out_features in enumerate(head, start=3):
            yield Dense(name=f"fc{number}", out_features=out_features)

    def _convolutions(self, input_size: int, scale: Callable[[int], int]) -> Iterator[Layer]:
        for number, channels in enumerate(self.channels, start=1):
            kernel_size = self.kernel_sizes[number - 1]
            yield Conv(
                name=f"conv{number}",
                out_channels=scale(channels),
                kernel_size=kernel_size,
                stride=self.conv1_stride if number == 1 else 1,
                padding=self._padding(number, input_size),
                groups=self.groups[number - 1],
            )
            yield Relu(name=f"relu{number}")
            if self.lrn and number <= 2:
                yield LocalResponseNorm(name=f"norm{number}")
            if number in self.pooled:
                yield MaxPool(name=f"pool{number}")

    def _padding(self, number: int, input_size: int) -> Padding:
        kernel_size = self.kernel_sizes[number - 1]
        if number > 1:
            return kernel_size // 2, kernel_size // 2
        if self.conv1_padding is None:
            return same_padding(input_size, kernel_size, self.conv1_stride)
        return self.conv1_padding

    def _hidden_dense(self, scale: Callable[[int], int]) -> Iterator[Layer]:
        for number in (1, 2):
            if self.dropout == "before":
                yield Dropout(name=f"dropout{number}")
            yield Dense(name=f"fc{number}", out_features=scale(4096))
            yield Relu(name=f"relu{number + 5}")
            if self.dropout == "after":
                yield Dropout(name=f"dropout{number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headed:
    """A backbone of the frameworks' libraries with the head that a report added."""

    architecture: str
    flatten: bool = False
    """Whether the map is flattened; otherwise each channel's mean is taken."""
    hidden: tuple[tuple[int, float], ...] = ()
    """(features, rate of the Dropout after the ReLU or 0) of each hidden layer."""

    def layers(
        self, _input_size: int, num_classes: int, scale: Callable[[int], int]
    ) -> Iterator[Layer]:
        yield Backbone(name="backbone", architecture=self.architecture)
        yield Flatten(name="flatten") if self.flatten else GlobalAveragePool(name="average")
        for number, (features, rate) in enumerate(self.hidden, start=1):
            yield Dense(name=f"fc{number}", out_features=scale(features))
            yield Relu(name=f"relu{number}")
            if rate:
                yield Dropout(name=f"dropout{number}", rate=rate)
        yield Dense(name=f"fc{len(self.hidden) + 1}", out_features=num_classes)


_TORCHVISION = (64, 192, 384, 256, 256)
_KRIZHEVSKY = (96, 256, 384, 384, 256)
_CIFAR = _Body(
    channels=_KRIZHEVSKY, kernel_sizes=(3, 3, 3, 3, 3), conv1_stride=1, conv1_padding=(1, 1)
)

VARIANTS: dict[str, Variant] = {
    "torchvision": Variant(
        source="torchvision.models.alexnet (Krizhevsky 2014, arXiv:1404.5997); R0-torch at 227",
        about="64-192-384-256-256, Dropout before fc1 and fc2; takes torchvision's checkpoint",
        input_size=224,
        published_num_params={1000: 61_100_840, 10: 57_044_810},
        layers=_Body(channels=_TORCHVISION, conv1_padding=(2, 2), dropout="before").layers,
    ),
    "torchvision-same": Variant(
        source="R0-tf",
        about="torchvision's channels with conv1 'same' and Dropout after fc1 and fc2",
        input_size=227,
        published_num_params={10: 57_044_810},
        layers=_Body(channels=_TORCHVISION, conv1_padding=None, dropout="after").layers,
    ),
    "krizhevsky2012": Variant(
        source="Krizhevsky et al. 2012, sections 3 and 4.2",
        about="two towers (groups=2 at conv2, conv4, conv5), LRN, overlapping pools",
        input_size=227,
        published_num_params={1000: 60_965_224},
        layers=_Body(
            channels=_KRIZHEVSKY,
            conv1_padding=(0, 0),
            groups=(1, 2, 1, 2, 2),
            lrn=True,
            dropout="after",
        ).layers,
    ),
    "krizhevsky2012-ungrouped": Variant(
        source="Krizhevsky et al. 2012 on one device, as imgclsmob and most ports build it",
        about="krizhevsky2012 with every convolution over all channels",
        input_size=227,
        published_num_params={1000: 62_378_344},
        layers=_Body(channels=_KRIZHEVSKY, conv1_padding=(0, 0), lrn=True, dropout="after").layers,
    ),
    "caffenet-like": Variant(
        source="R1-tf",
        about="96-256-384-384-256 without LRN or groups, conv1 without padding",
        input_size=227,
        published_num_params={10: 58_322_314},
        layers=_Body(channels=_KRIZHEVSKY, conv1_padding=(0, 0), dropout="after").layers,
    ),
    "caffenet-like-same": Variant(
        source="R2-tf (the report's layer table)",
        about="caffenet-like with conv1 'same': 56x56 at 224",
        input_size=224,
        published_num_params={10: 58_322_314},
        layers=_Body(channels=_KRIZHEVSKY, conv1_padding=None, dropout="after").layers,
    ),
    "caffenet-like-pad2": Variant(
        source="R2-torch",
        about="caffenet-like with conv1 padded by 2: 55x55 at 224",
        input_size=224,
        published_num_params={10: 58_322_314},
        layers=_Body(channels=_KRIZHEVSKY, conv1_padding=(2, 2), dropout="after").layers,
    ),
    "slim": Variant(
        source="R1-torch",
        about="64-128-256-256-256, Dropout after fc1 and fc2",
        input_size=224,
        published_num_params={10: 56_278_666},
        layers=_Body(
            channels=(64, 128, 256, 256, 256), conv1_padding=(2, 2), dropout="after"
        ).layers,
    ),
    "big": Variant(
        source="R2-tf-big (inferred from its parameter total, see R2)",
        about="caffenet-like-same without Dropout and pool5, with one more linear layer (1000)",
        input_size=224,
        published_num_params={1000: 202_839_952},
        layers=_Body(
            channels=_KRIZHEVSKY, conv1_padding=None, pooled=(1, 2), linear_head=(1000,)
        ).layers,
    ),
    "cifar": Variant(
        source="R3-torch and R3-tf",
        about="for 32x32 images: 3x3 convolutions, 2304 features, no Dropout",
        input_size=32,
        published_num_params={10: 29_585_290},
        layers=_CIFAR.layers,
    ),
    "cifar-dropout": Variant(
        source="R4-torch and R4-tf (widths and places of Dropout assumed: not in the report)",
        about="cifar with Dropout after fc1 and fc2",
        input_size=32,
        published_num_params={},
        layers=replace(_CIFAR, dropout="after").layers,
    ),
}


BACKBONE_VARIANTS: dict[str, Variant] = {
    "vgg16": Variant(
        source="R3-tf-vgg16",
        about="VGG16, then Flatten, 512, 512",
        input_size=224,
        published_num_params={},
        layers=_Headed(architecture="vgg16", flatten=True, hidden=((512, 0), (512, 0))).layers,
    ),
    "resnet50": Variant(
        source="R1-tf-resnet50",
        about="ResNet50, then global average pooling, 1024, Dropout .5, 512, Dropout .3",
        input_size=224,
        published_num_params={},
        layers=_Headed(architecture="resnet50", hidden=((1024, 0.5), (512, 0.3))).layers,
    ),
    "mobilenetv2": Variant(
        source="R4-tf-mobilenetv2",
        about="MobileNetV2 at 128x128, then global average pooling",
        input_size=128,
        published_num_params={},
        layers=_Headed(architecture="mobilenetv2").layers,
    ),
}
"""The networks that the reports used because Keras has no pretrained AlexNet. The width multiplies
only the head's hidden features."""


def get_variant(name: str) -> Variant:
    """Returns the variant of that name, AlexNet or backbone; changes after a plus are ignored.

    Raises:
        UnknownNameError: If there is no such variant or change; the message suggests the nearest.
    """
    base, *changes = name.split(SEPARATOR)
    known = VARIANTS | BACKBONE_VARIANTS
    if base not in known:
        near = "torchvision" if "alexnet" in base.lower() else None
        raise UnknownNameError("variant", base, known, near=near)
    for change in changes:
        if change not in SPEC_CHANGES:
            raise UnknownNameError("change of a variant", change, SPEC_CHANGES)
    return known[base]


def refuse_library(name: str) -> None:
    """Refuses a variant with a library's backbone: only layers of a Spec can be compared.

    Raises:
        UnknownNameError: If there is no such variant or change.
        SpecError: If it has a backbone, since the libraries' networks of one name differ.
    """
    get_variant(name)
    if name.partition(SEPARATOR)[0] in BACKBONE_VARIANTS:
        raise SpecError(
            f"{name}: torchvision and keras.applications have different backbones of this "
            "name, so that no comparison of frameworks is possible. Train each with alexnet train."
        )


def build_spec(
    name: str, *, num_classes: int = 10, input_size: int | None = None, width: float = 1.0
) -> Spec:
    """Builds the Spec of a variant.

    Args:
        name: A key of VARIANTS or BACKBONE_VARIANTS, then keys of SPEC_CHANGES, each after a plus.
        num_classes: Number of logits.
        input_size: Height and width of the images in pixels; the source's by default. It decides
            how many features fc1 reads.
        width: Multiplies the channels and features of every layer but the last, rounded to
            even numbers of at least 2 so that groups=2 still divides them.

    Returns:
        A Spec that trace() accepts.

    Raises:
        UnknownNameError: If there is no such variant or change.
        SpecError: If the network does not allow these numbers.
    """
    variant = get_variant(name)
    if num_classes < 1:
        raise SpecError(f"{name}: num_classes={num_classes} must be at least 1.")
    if not 0 < width <= 16:
        raise SpecError(f"{name}: width={width} must be above 0 and at most 16.")
    size = variant.input_size if input_size is None else input_size
    if size > LARGEST_INPUT:
        raise SpecError(f"{name}: input_size={size} must be at most {LARGEST_INPUT}.")
    spec = Spec(
        name=name,
        input_shape=(3, size, size),
        layers=tuple(variant.layers(size, num_classes, lambda n: max(2, 2 * round(n * width / 2)))),
    )
    for change in name.split(SEPARATOR)[1:]:
        spec = SPEC_CHANGES[change](spec)
    trace(spec)
    return spec
