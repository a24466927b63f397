"""Networks of the user's own: loaded from FILE.py:NAME once, then kept as data.

What is loaded is an OwnVariant, which builds the network for a size and a width. A run keeps the
OwnNetwork that came of it, so that nothing needs the file again.
"""

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from alexnet_impl.errors import RecordError, SpecError, UserCodeError
from alexnet_impl.network.backbones import LIBRARIES
from alexnet_impl.network.bodies import Body, LayersOf, Scale
from alexnet_impl.network.spec import Dense, Layer, Spec, backbone_of, trace
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.network.spec_json import layers_from_json, layers_to_json
from alexnet_impl.network.user_code import FUNCTION, UserObject, forget_modules_of, load_user_object
from alexnet_impl.network.variants import (
    BACKBONE_VARIANTS,
    VARIANTS,
    Variant,
    build_spec,
    build_variant,
    changed,
    check_changes,
    check_numbers,
)
from alexnet_impl.typed_json import read, to_json

USUAL_SIZE = 32
"""Height and width of the images of a network that does not say which it reads, in pixels."""
USUAL_CLASSES = 10
NUMBERS = ("num_classes", "input_size", "width")
"""Arguments that a function of the user's own may take."""


class OwnNetwork:
    """The layers of a network of the user's own, for one input size and width.

    Its last layer has as many outputs as a run has classes, whatever the number here. It is no
    dataclass, so that typed_json keeps the form of to_json(), which names each layer's class.
    """

    __slots__ = ("input_size", "layers")

    def __init__(self, *, input_size: int, layers: tuple[Layer, ...]) -> None:
        self.input_size = input_size
        self.layers = layers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnNetwork) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"OwnNetwork(input_size={self.input_size}, layers={self.layers})"

    @property
    def _values(self) -> tuple[int, tuple[Layer, ...]]:
        return self.input_size, self.layers

    def spec(self, name: str, num_classes: int) -> Spec:
        """Returns the Spec with this number of classes, and the changes that its name carries."""
        shape = (3, self.input_size, self.input_size)
        return changed(
            with_classes(Spec(name=name, input_shape=shape, layers=self.layers), num_classes)
        )

    @property
    def digest(self) -> str:
        """A short text that differs between networks of one name."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Returns the values that a run folder and a weight file keep."""
        return {"input_size": self.input_size, "layers": layers_to_json(self.layers)}

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Returns the network that to_json() was called on.

        Raises:
            RecordError: If a field is missing, unknown or of another type.
        """
        if not isinstance(values, Mapping) or values.keys() != {"input_size", "layers"}:
            raise RecordError("expected an object with input_size and layers")
        size = values["input_size"]
        if not isinstance(size, int) or isinstance(size, bool):
            raise RecordError(f"input_size={size!r}: expected an int")
        return cls(input_size=size, layers=layers_from_json(values["layers"]))


def with_classes(spec: Spec, num_classes: int) -> Spec:
    """Returns the Spec with this number of outputs of its last layer.

    Raises:
        SpecError: If the last layer is not dense.
    """
    last = spec.layers[-1] if spec.layers else None
    if not isinstance(last, Dense):
        kind = type(last).__name__ if last is not None else "missing"
        raise SpecError(
            f"{spec.name}: its last layer is {kind}; it must be a Dense, whose outputs are the "
            "logits."
        )
    return replace(spec, layers=(*spec.layers[:-1], replace(last, out_features=num_classes)))


def find_spec(
    variant: str,
    network: OwnNetwork | None,
    *,
    num_classes: int,
    input_size: int | None = None,
    width: float = 1.0,
) -> Spec:
    """Returns the Spec of a variant of the package, or of a network of the user's own.

    Args:
        variant: The name, with changes after a plus.
        network: The user's own network; None: `variant` is one of the package's.
        num_classes: Number of logits.
        input_size: Height and width of the images in pixels; None: the network's own.
        width: Multiplier of the package's variants; an own network was built with one.

    Raises:
        UnknownNameError: If there is no such variant or change.
        SpecError: If the network does not allow these numbers.
    """
    if network is None:
        return build_spec(variant, num_classes=num_classes, input_size=input_size, width=width)
    if input_size not in (None, network.input_size):
        raise SpecError(
            f"{variant}: was built for images of {network.input_size} pixels, not {input_size}; "
            "leave input_size out, or start from its file again."
        )
    return network.spec(variant, num_classes)


def is_own(name: str) -> bool:
    """Whether a variant's name is FILE.py:NAME, and not that of a variant of the package."""
    return ":" in name or name.partition(SEPARATOR)[0].endswith(".py")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVariant:
    """A network of the user's own, loaded from a file and not built yet.

    Attributes:
        name: The name in the file, then changes, each after a plus.
        loaded: The function, Variant or Body of that name.
    """

    name: str
    loaded: UserObject

    def build(
        self,
        *,
        num_classes: int = USUAL_CLASSES,
        input_size: int | None = None,
        width: float | None = None,
    ) -> Spec:
        """Builds the Spec; None leaves a number to the file.

        Raises:
            UserCodeError: If the function raises, or returns something else than a Spec.
            SpecError: If no framework could build it, or it does not allow these numbers.
        """
        return changed(replace(self._base(num_classes, input_size, width), name=self.name))

    def network(self, *, input_size: int | None = None, width: float | None = None) -> OwnNetwork:
        """Builds the network as data, which knows any number of classes; see build()."""
        base = self._base(USUAL_CLASSES, input_size, width)
        other = self._base(USUAL_CLASSES + 1, base.input_shape[1], width)
        if with_classes(base, USUAL_CLASSES + 1) != other:
            raise SpecError(
                f"{self.loaded.place}: with another num_classes more than the last layer changes; "
                "only its number of outputs may depend on num_classes."
            )
        found = OwnNetwork(input_size=base.input_shape[1], layers=base.layers)
        found.spec(self.name, USUAL_CLASSES)  # refuses what its changes make impossible
        return found

    def _base(self, num_classes: int, input_size: int | None, width: float | None) -> Spec:
        """The Spec without changes, whose last layer has this number of outputs."""
        value, name = self.loaded.value, self.name.partition(SEPARATOR)[0]
        if isinstance(value, Body):
            value = Variant(source="", about="", input_size=USUAL_SIZE, layers=value.layers)
        if isinstance(value, Variant):
            spec = build_variant(
                replace(value, layers=self._layers_of(value)),
                name,
                num_classes=num_classes,
                input_size=input_size,
                width=1.0 if width is None else width,
            )
        else:
            spec = self._call(name, num_classes, input_size, width)
        spec = with_classes(replace(self._typed(spec), name=name), num_classes)
        trace(spec)
        self._check(spec, input_size)
        return spec

    def _layers_of(self, variant: Variant) -> LayersOf:
        """The variant's `layers`, whose errors name the user's file and line."""
        if isinstance(getattr(variant.layers, "__self__", None), Body):
            return variant.layers

        def layers(input_size: int, num_classes: int, scale: Scale) -> Iterator[Layer]:
            listed = replace(
                self.loaded,
                place=f"{self.loaded.place}: {getattr(variant.layers, '__name__', 'layers')}()",
                value=lambda **_: tuple(variant.layers(input_size, num_classes, scale)),
            )
            yield from listed.call(input_size=input_size, num_classes=num_classes)

        return layers

    def _typed(self, spec: Spec) -> Spec:
        """The Spec as its JSON gives it back: a NumPy integer becomes an int, text is refused."""
        place = self.loaded.place
        if not isinstance(spec.layers, Sequence):
            raise SpecError(f"{place}: layers={spec.layers!r}: must be a tuple of layers.")
        for layer in spec.layers:
            if not isinstance(layer, Layer):
                raise SpecError(f"{place}: {layer!r} is no layer, such as Relu(name='relu1').")
        try:
            layers = layers_from_json(layers_to_json(tuple(spec.layers)))
            shape = read(tuple[int, ...], to_json(spec.input_shape), "input_shape")
        except RecordError as error:
            remedy = " Write padding=(before, after), such as (1, 1)." * ("padding=" in str(error))
            raise SpecError(f"{place}: {error}{remedy}") from error
        return replace(spec, input_shape=shape, layers=layers)

    def _call(
        self, name: str, num_classes: int, input_size: int | None, width: float | None
    ) -> Spec:
        """Calls the user's function with those of the numbers that it takes."""
        takes = self._parameters()
        if "width" not in takes and width not in (None, 1.0):
            raise SpecError(
                f"{self.loaded.place}: width={width:g}, but the function takes no width; leave "
                "the width out, or give the function a parameter of that name."
            )
        size = USUAL_SIZE if input_size is None else input_size
        check_numbers(name, num_classes=num_classes, input_size=size, width=width or 1.0)
        given = {"num_classes": num_classes, "input_size": input_size, "width": width}
        usual = {"input_size": USUAL_SIZE, "width": 1.0}
        arguments = {
            key: usual[key] if given[key] is None else given[key]
            for key, is_required in takes.items()
            if given[key] is not None or is_required
        }
        spec = self.loaded.call(**arguments)
        if not isinstance(spec, Spec):
            raise UserCodeError(
                f"{self.loaded.place}: returned a {type(spec).__name__}; it must return a Spec."
            )
        return spec

    def _parameters(self) -> dict[str, bool]:
        """Names of the numbers that the user's function takes, and whether each has no default."""
        try:
            parameters = inspect.signature(self.loaded.value).parameters.values()
        except (TypeError, ValueError):
            raise UserCodeError(
                f"{self.loaded.place}: {self.loaded.value!r} has no parameters that can be read; "
                "it must be a Body, a Variant, or a function that returns a Spec."
            ) from None
        found: dict[str, bool] = {}
        for parameter in parameters:
            is_required = parameter.default is parameter.empty
            match parameter.kind:
                case parameter.VAR_KEYWORD:
                    found |= {key: True for key in NUMBERS if key not in found}
                case parameter.VAR_POSITIONAL:
                    pass
                case _ if parameter.name in NUMBERS and parameter.kind != parameter.POSITIONAL_ONLY:
                    found[parameter.name] = is_required
                case _ if is_required:
                    raise UserCodeError(
                        f"{self.loaded.place}: its parameter {parameter.name} has no default; only "
                        f"{', '.join(NUMBERS)} are given to it."
                    )
        return found

    def _check(self, spec: Spec, input_size: int | None) -> None:
        """Refuses a Spec that is no network of whole images, or of another size than asked for."""
        place, shape = self.loaded.place, spec.input_shape
        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2] or spec.skipped:
            raise SpecError(f"{place}: input_shape={shape} must be (3, size, size).")
        if backbone_of(spec) is not None:
            raise SpecError(
                f"{place}: has a Backbone; only the package's own variants may have one: "
                f"{', '.join(BACKBONE_VARIANTS)}."
            )
        if input_size not in (None, shape[1]):
            raise SpecError(
                f"{place}: reads images of {shape[1]} pixels, not input_size={input_size}; leave "
                "that out, or give the function a parameter input_size."
            )


def load_own_variant(place: str, folder: Path | None = None) -> OwnVariant:
    """Loads what FILE.py:NAME names: a function that returns a Spec, a Variant or a Body.

    Args:
        place: FILE.py:NAME or MODULE:NAME, then keys of SPEC_CHANGES, each after a plus.
        folder: Where the file is looked for; None: the current folder.

    Raises:
        UserCodeError: If there is no such file or name, or the file raises; with file and line.
        SpecError: If its name is that of a variant of the package.
        UnknownNameError: If a change is unknown.
    """
    source, colon, rest = place.rpartition(":")
    if not colon:
        raise UserCodeError(
            f"'{place}': does not say which network of the file is meant; write {place}:NAME."
        )
    if source in LIBRARIES:
        raise UserCodeError(
            f"{place}: is a name of weights, not of a network; give it as the weights (--weights)."
        )
    name, *changes = rest.split(SEPARATOR)
    check_changes(changes)
    known = frozenset(sys.modules)
    kinds = (FUNCTION, Variant, Body)
    loaded = load_user_object(f"{source}:{name}", (folder or Path()).resolve(), kinds)
    forget_modules_of(loaded.folders, known)
    _refuse_taken(loaded.place, rest)
    return OwnVariant(name=rest, loaded=loaded)


def own_variant(name: str, network: Callable[..., Spec] | Variant | Body) -> OwnVariant:
    """Names a network that was made in Python; see load_own_variant().

    Raises:
        SpecError: If its name is that of a variant of the package, or cannot name a folder.
        UnknownNameError: If a change is unknown.
    """
    check_name(name)
    _refuse_taken(name, name)
    return OwnVariant(name=name, loaded=UserObject(place=name, value=network, folders=()))


def check_name(name: str) -> None:
    """Refuses a name of a network of the user's own that cannot be part of a folder's name.

    Raises:
        SpecError: If it has other characters than letters, digits, '_', '-' and '.', or does not
            start with a letter or '_'.
        UnknownNameError: If a change, after a plus, is unknown.
    """
    base, *changes = name.split(SEPARATOR)
    if not re.fullmatch(r"[^\W\d][\w.-]*", base):
        raise SpecError(
            f"'{base}': cannot name a network; start with a letter, and use only letters, digits, "
            "'_', '-' and '.'."
        )
    check_changes(changes)


def _refuse_taken(place: str, name: str) -> None:
    name = name.partition(SEPARATOR)[0]
    if name in VARIANTS | BACKBONE_VARIANTS:
        raise SpecError(
            f"{place}: {name} is a variant of this package; give your network another name."
        )
