"""The named AlexNet variants: source, published parameter totals, and build_spec() for each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.bodies import Body, LayersOf, Scale, scale_by
from alexnet_impl.network.spec import (
    LARGEST_INPUT,
    Backbone,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    Relu,
    Spec,
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
            channels or features to that of the narrowed network. Body(...).layers is one.
    """

    source: str
    about: str
    input_size: int
    published_num_params: dict[int, int] = field(default_factory=dict)
    layers: LayersOf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headed:
    """A backbone of the frameworks' libraries with the head that a report added."""

    architecture: str
    flatten: bool = False
    """Whether the map is flattened; otherwise each channel's mean is taken."""
    hidden: tuple[tuple[int, float], ...] = ()
    """(features, rate of the Dropout after the ReLU or 0) of each hidden layer."""

    def layers(self, _input_size: int, num_classes: int, scale: Scale) -> Iterator[Layer]:
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
_ALEXNET = Body(
    channels=_KRIZHEVSKY,
    kernel_sizes=(11, 5, 3, 3, 3),
    conv1_stride=4,
    conv1_padding=(0, 0),
    pooled=(1, 2, 5),
    dropout="after",
)
"""Krizhevsky's channels without groups and normalisation."""
_CIFAR = Body(channels=_KRIZHEVSKY, pooled=(1, 2, 5))

VARIANTS: dict[str, Variant] = {
    "torchvision": Variant(
        source="torchvision.models.alexnet (Krizhevsky 2014, arXiv:1404.5997); R0-torch at 227",
        about="64-192-384-256-256, Dropout before fc1 and fc2; takes torchvision's checkpoint",
        input_size=224,
        published_num_params={1000: 61_100_840, 10: 57_044_810},
        layers=replace(
            _ALEXNET, channels=_TORCHVISION, conv1_padding=(2, 2), dropout="before"
        ).layers,
    ),
    "torchvision-same": Variant(
        source="R0-tf",
        about="torchvision's channels with conv1 'same' and Dropout after fc1 and fc2",
        input_size=227,
        published_num_params={10: 57_044_810},
        layers=replace(_ALEXNET, channels=_TORCHVISION, conv1_padding="same").layers,
    ),
    "krizhevsky2012": Variant(
        source="Krizhevsky et al. 2012, sections 3 and 4.2",
        about="two towers (groups=2 at conv2, conv4, conv5), LRN, overlapping pools",
        input_size=227,
        published_num_params={1000: 60_965_224},
        layers=replace(_ALEXNET, groups=(1, 2, 1, 2, 2), lrn=(1, 2)).layers,
    ),
    "krizhevsky2012-ungrouped": Variant(
        source="Krizhevsky et al. 2012 on one device, as imgclsmob and most ports build it",
        about="krizhevsky2012 with every convolution over all channels",
        input_size=227,
        published_num_params={1000: 62_378_344},
        layers=replace(_ALEXNET, lrn=(1, 2)).layers,
    ),
    "caffenet-like": Variant(
        source="R1-tf",
        about="96-256-384-384-256 without LRN or groups, conv1 without padding",
        input_size=227,
        published_num_params={10: 58_322_314},
        layers=_ALEXNET.layers,
    ),
    "caffenet-like-same": Variant(
        source="R2-tf (the report's layer table)",
        about="caffenet-like with conv1 'same': 56x56 at 224",
        input_size=224,
        published_num_params={10: 58_322_314},
        layers=replace(_ALEXNET, conv1_padding="same").layers,
    ),
    "caffenet-like-pad2": Variant(
        source="R2-torch",
        about="caffenet-like with conv1 padded by 2: 55x55 at 224",
        input_size=224,
        published_num_params={10: 58_322_314},
        layers=replace(_ALEXNET, conv1_padding=(2, 2)).layers,
    ),
    "slim": Variant(
        source="R1-torch",
        about="64-128-256-256-256, Dropout after fc1 and fc2",
        input_size=224,
        published_num_params={10: 56_278_666},
        layers=replace(_ALEXNET, channels=(64, 128, 256, 256, 256), conv1_padding=(2, 2)).layers,
    ),
    "big": Variant(
        source="R2-tf-big (inferred from its parameter total, see R2)",
        about="caffenet-like-same without Dropout and pool5, with one more linear layer (1000)",
        input_size=224,
        published_num_params={1000: 202_839_952},
        layers=replace(
            _ALEXNET, conv1_padding="same", pooled=(1, 2), dropout="none", linear_head=(1000,)
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
        layers=replace(_CIFAR, dropout="after").layers,
    ),
}


BACKBONE_VARIANTS: dict[str, Variant] = {
    "vgg16": Variant(
        source="R3-tf-vgg16",
        about="VGG16, then Flatten, 512, 512",
        input_size=224,
        layers=_Headed(architecture="vgg16", flatten=True, hidden=((512, 0), (512, 0))).layers,
    ),
    "resnet50": Variant(
        source="R1-tf-resnet50",
        about="ResNet50, then global average pooling, 1024, Dropout .5, 512, Dropout .3",
        input_size=224,
        layers=_Headed(architecture="resnet50", hidden=((1024, 0.5), (512, 0.3))).layers,
    ),
    "mobilenetv2": Variant(
        source="R4-tf-mobilenetv2",
        about="MobileNetV2 at 128x128, then global average pooling",
        input_size=128,
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
    check_changes(changes)
    return known[base]


def check_changes(changes: Iterable[str]) -> None:
    """Refuses unknown changes of a variant.

    Raises:
        UnknownNameError: If one is unknown; the message suggests the nearest.
    """
    for change in changes:
        if change not in SPEC_CHANGES:
            raise UnknownNameError("change of a variant", change, SPEC_CHANGES)


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
    return changed(
        build_variant(variant, name, num_classes=num_classes, input_size=input_size, width=width)
    )


def build_variant(
    variant: Variant, name: str, *, num_classes: int, input_size: int | None, width: float
) -> Spec:
    """Builds the Spec of a variant that need not be one of VARIANTS, unchecked and unchanged."""
    size = variant.input_size if input_size is None else input_size
    check_numbers(name, num_classes=num_classes, input_size=size, width=width)
    layers = variant.layers(size, num_classes, scale_by(width))
    return Spec(name=name, input_shape=(3, size, size), layers=tuple(layers))


def check_numbers(name: str, *, num_classes: int, input_size: int, width: float) -> None:
    """Refuses numbers that no network allows.

    Raises:
        SpecError: If one is out of range.
    """
    if num_classes < 1:
        raise SpecError(f"{name}: num_classes={num_classes} must be at least 1.")
    if not 0 < width <= 16:
        raise SpecError(f"{name}: width={width} must be above 0 and at most 16.")
    if input_size > LARGEST_INPUT:
        raise SpecError(f"{name}: input_size={input_size} must be at most {LARGEST_INPUT}.")


def changed(spec: Spec) -> Spec:
    """The Spec with the changes that its name carries, each after a plus.

    Raises:
        UnknownNameError: If there is no such change.
        SpecError: If no framework could build it.
    """
    changes = spec.name.split(SEPARATOR)[1:]
    check_changes(changes)
    for change in changes:
        spec = SPEC_CHANGES[change](spec)
    trace(spec)
    return spec
