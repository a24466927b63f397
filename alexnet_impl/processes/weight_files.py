"""Reads weight files of either framework: the network they belong to, and their weights."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from alexnet_impl.errors import WeightsError
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.own_network import OwnNetwork, find_spec
from alexnet_impl.network.spec import Spec, backbone_of
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.network.variants import BACKBONE_VARIANTS, VARIANTS, build_spec, get_variant
from alexnet_impl.weights.canonical import Weights, check_weights
from alexnet_impl.weights.matching import (
    Fit,
    Pairing,
    classes_of,
    find_fits,
    stored_layers,
    to_network,
    torchvision_names,
    unpaired,
)
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, stored_info
from alexnet_impl.weights.pretrained_files import file_kind
from alexnet_impl.weights.safetensors_io import read_stored as read_stored_safetensors
from alexnet_impl.weights.stored import StoredWeights
from alexnet_impl.weights.wrong_files import refuse_wrong_file

PUBLISHED_VARIANT = "torchvision"
"""The variant whose published weights a name means, unless the user names another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Facts about a file's network from the user; None: the file has to show it.

    Attributes:
        variant: Name of the network.
        num_classes: Number of logits.
        input_size: Height and width in pixels.
        width: Multiplier of the variant's channels and features.
        key: Key of the state_dict in a training checkpoint.
        input_scaling: Key of INPUT_SCALINGS used in training.
        resize_to: Recipe.resize_to used in training.
    """

    variant: str | None = None
    num_classes: int | None = None
    input_size: int | None = None
    width: float | None = None
    key: str | None = None
    input_scaling: str | None = None
    resize_to: int | None = None
    network: OwnNetwork | None = None
    """The user's own network, whose name `variant` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWeights:
    """A weight file that was read: its network and its weights.

    Attributes:
        info: The network and its preprocessing.
        weights: Arrays by canonical name, in the shapes of weight_shapes(info.spec()).
        remarks: Phrases on what was stripped, chosen or converted while reading.
        pairing: How arrays of other names were paired; empty if names decided it.
    """

    info: WeightsInfo
    weights: Weights
    remarks: tuple[str, ...] = ()
    pairing: tuple[Pairing, ...] = ()


def read_network(source: Path, hints: Hints) -> NetworkWeights:
    """Reads a weight file of any kind, and finds its network.

    The network is the user's, otherwise what the file states, otherwise the one variant whose
    weights have the shapes of the file.

    Raises:
        UnknownNameError: If there is no such variant or key.
        WeightsError: If the file is damaged, contradicts the user, or fits no or several networks.
    """
    if hints.variant is not None and hints.network is None:
        get_variant(hints.variant)
    refuse_wrong_file(source)
    info = stored_info(source)
    if info is not None:
        _refuse_contradiction(source, info, hints)
    base = (info.variant if info else hints.variant or "").partition(SEPARATOR)[0]
    if base in BACKBONE_VARIANTS:
        info = info or _named_network(hints)
        return NetworkWeights(info=info, weights=read_weights(source, info.spec(), hints.key))
    stored = read_stored(source, hints.key)
    info = info or _found_network(source, stored, hints)
    weights, pairing = to_network(stored, info.spec(), str(source))
    return NetworkWeights(
        info=replace(
            info,
            class_names=info.class_names or stored.class_names,
            input_scaling=info.input_scaling or hints.input_scaling,
            resize_to=info.resize_to if info.input_scaling else hints.resize_to,
        ),
        weights=weights,
        remarks=stored.remarks(),
        pairing=pairing,
    )


def read_stored(path: Path, key: str | None = None) -> StoredWeights:
    """Reads a weight file of any kind under its own names.

    Raises:
        WeightsError: If it is damaged, or a key is given and it has none.
        UnknownNameError: If nothing is under the key.
    """
    kind = file_kind(path)
    if kind != "safetensors":
        return get_framework(kind).read_stored(path, key)
    if key is not None:
        raise WeightsError(f"{path}: is a safetensors file, which has no keys; leave --key out.")
    return read_stored_safetensors(path)


def read_weights(path: Path, spec: Spec, key: str | None = None) -> Weights:
    """Reads the weights of a network from a file of any kind, a checkpoint's under its key.

    Returns:
        Arrays by canonical name, in the shapes of weight_shapes(spec).

    Raises:
        WeightsError: If the file is damaged or belongs to another network.
    """
    kind = file_kind(path)
    if backbone_of(spec) is None or key is not None:
        return to_network(read_stored(path, key), spec, str(path))[0]
    if kind != "safetensors":
        return _read_checkpoint(path, spec, kind)
    weights, _ = load_weights(path)
    check_weights(weights, spec, where=str(path))
    return weights


def _read_checkpoint(path: Path, spec: Spec, framework: str) -> Weights:
    """Reads a file of a network with a library's backbone.

    Raises:
        WeightsError: If it does not fit; a file of the library's own network has another head.
    """
    adapter = get_framework(framework)
    try:
        return adapter.read_checkpoint(path, spec)
    except WeightsError as error:
        try:
            adapter.read_backbone(path, spec)
        except WeightsError:
            raise error from None
        raise WeightsError(
            f"{path}: holds the backbone of {spec.name}, but not its head. Only a training starts "
            f"from it: alexnet train --framework {framework} --variant {spec.name} --weights "
            f"{path}; then give weights.safetensors of that run."
        ) from error


def _refuse_contradiction(source: Path, info: WeightsInfo, hints: Hints) -> None:
    for name in (field.name for field in fields(info)):
        said, asked = getattr(info, name), getattr(hints, name, None)
        if asked is not None and said is not None and asked != said:
            different = f"{name}={said}, not {asked}"
            if name == "network":  # too long to be shown
                different = f"other layers of {info.variant} than those given"
            raise WeightsError(f"{source}: states {different}; leave that flag out.")


def _named_network(hints: Hints) -> WeightsInfo:
    """The network that the user names, with the usual numbers where none are given."""
    variant = str(hints.variant)
    usual = find_spec(variant, hints.network, num_classes=1).input_shape[1]
    return WeightsInfo(
        variant=variant,
        network=hints.network,
        num_classes=10 if hints.num_classes is None else hints.num_classes,
        input_size=hints.input_size or usual,
        width=1.0 if hints.width is None else hints.width,
    )


def _found_network(source: Path, stored: StoredWeights, hints: Hints) -> WeightsInfo:
    """The network whose weights have the shapes of a file.

    Raises:
        WeightsError: If none has, or several have and the user names none.
    """
    if hints.network is not None:
        info = _named_network(hints)
        count = classes_of(stored.arrays, info.spec()) if hints.num_classes is None else None
        return info if count is None else replace(info, num_classes=count)
    if hints.input_size is None:
        hints = replace(hints, input_size=stored.input_size)
    fits = find_fits(
        stored.arrays,
        list(VARIANTS) if hints.variant is None else [hints.variant],
        width=hints.width,
        num_classes=hints.num_classes,
        input_size=hints.input_size,
    )
    if not fits and hints.variant is not None:
        to_network(stored, _named_network(hints).spec(), str(source))  # says what differs
    if not fits:
        raise WeightsError(f"{source}: {_unknown(stored)}")
    if hints.variant is None and len(fits) > 1:
        fits = [one for one in fits if one.variant == _meant(stored)] or fits
    if len(fits) > 1:
        names = ", ".join(one.variant for one in fits)
        raise WeightsError(
            f"{source}: does not state its network, and its weights fit several: {names}. Choose "
            "one with --variant; `alexnet variants` shows how they differ."
        )
    (fit,) = fits
    return WeightsInfo(
        variant=fit.variant,
        num_classes=fit.num_classes,
        input_size=_input_size(source, fit),
        width=fit.width,
    )


def _meant(stored: StoredWeights) -> str:
    """The variant that a file's names mean: a model of this package's name, or torchvision's."""
    theirs = set(torchvision_names(build_spec(PUBLISHED_VARIANT)).values())
    return PUBLISHED_VARIANT if theirs == set(stored.arrays) else stored.model_name


def _input_size(source: Path, fit: Fit) -> int:
    sizes = fit.input_sizes
    if len(sizes) == 1:
        return sizes[0]
    raise WeightsError(
        f"{source}: fits {fit.variant} with images of {sizes[0]} to {sizes[-1]} pixels; choose "
        "with --input-size."
    )


def _unknown(stored: StoredWeights) -> str:
    """Why a file fits no network, with the remedy."""
    layers = stored_layers(stored.arrays)
    if layers is None:
        reason = f"{unpaired(stored.arrays):.200}"
    else:
        reason = ", ".join(f"{one.kernel} {one.shapes.kernel}" for one in layers[:8])
    size = f" at {stored.input_size} pixels" if stored.input_size else ""
    return (
        f"does not state its network, and its weights fit no variant{size} ({reason:.400}). Name "
        "it with --variant to see the first difference; `alexnet variants` lists them."
    )
