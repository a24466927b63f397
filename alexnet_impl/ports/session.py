"""State of a comparison of two user models: pairs of layers, images, precision, values."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks import FRAMEWORKS, FrameworkName
from alexnet_impl.frameworks.user_model import Edit, UserModel, UserModelFacts
from alexnet_impl.frameworks.user_training import TrainingFacts
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.parity.tolerances import Check, judged, tolerance
from alexnet_impl.ports.inputs import load_inputs
from alexnet_impl.ports.pairing import LayerPair, PairedModel, pair_layers
from alexnet_impl.ports.request import PairRequest, parse_names
from alexnet_impl.ports.span_hypotheses import Span
from alexnet_impl.recipe.recipe import Precision
from alexnet_impl.weights.canonical import Array, Weights

T = TypeVar("T")
MAPS = 4
"""Dimensions of images (batch, height, width, channels)."""
IMAGES = 2
"""Number of images of each scale."""
LARGE_SCALE = 64.0
"""Half of the images have the scale of trained activations: at unit scale a wrong alpha of a local
response normalisation changes the last digits only."""


@dataclass(kw_only=True)
class PairSession:
    """A user's two models, and what the checks have found so far.

    Attributes:
        images: Shape (batch, height, width, channels), or what `inputs` of the request gives.
        note: Why the precision is not float64.
        weights: PyTorch's weights in the canonical layout.
        values: Inputs and outputs of every layer, see PairedModel.forward(), by framework.
        edits: Changes with which the PyTorch model makes the mistakes that were found.
        edited: Its values with them.
        rounding: Difference that these changes may leave in later layers.
        unexplained: Whether a mismatch of the layers is left.
        mismatch: Where the layers or the logits first differ: in a layer, or between two.
    """

    request: PairRequest
    pairs: tuple[LayerPair, ...]
    facts: dict[FrameworkName, UserModelFacts]
    sides: dict[FrameworkName, PairedModel]
    images: Array
    precision: Precision = "float32"
    note: str = ""
    weights: Weights = field(default_factory=dict)
    values: tuple[Weights, Weights] = ({}, {})
    edits: tuple[Edit, ...] = ()
    edited: Weights = field(default_factory=dict)
    rounding: float = 0.0
    unexplained: bool = False
    mismatch: LayerPair | Span | None = None

    def each(self, work: Callable[[PairedModel], T]) -> tuple[T, T]:
        """Call a function on both models in parallel: each may run in its own process."""
        with ThreadPoolExecutor(len(FRAMEWORKS)) as pool:
            first, second = pool.map(work, [self.sides[name] for name in FRAMEWORKS])
        return first, second

    def prepare_training(self) -> dict[FrameworkName, TrainingFacts]:
        """Start both training steps anew; see UserModel.prepare_training()."""
        given = {"torch": self.request.torch_training}
        given["tensorflow"] = self.request.tensorflow_training
        return {
            name: side.model.prepare_training(given[name], Path.cwd())
            for name, side in self.sides.items()
        }

    def tolerance(self, stage: Check) -> float:
        """The largest difference allowed in a stage: the request's own, or the usual one."""
        return self.request.tolerances.get(stage, tolerance(stage, self.precision))

    def judge(self, row: Check, measured: float, *, where: str = "", name: str = "") -> CheckResult:
        """The result of a stage; see parity.tolerances.judged()."""
        usual = judged(row, self.precision, measured, where=where, name=name)
        bound = self.request.tolerances.get(usual.name)
        if bound is None:
            return usual
        return replace(
            usual,
            tolerance=bound,
            reason=f"as given; {usual.tolerance:.0e} is usual",
            where="" if measured <= bound else where,
        )


def open_session(torch: UserModel, tensorflow: UserModel, request: PairRequest) -> PairSession:
    """Describe both models and pair their layers.

    Raises:
        ParityError: If they cannot be paired, or if the size of their images is unknown.
    """
    if request.inputs:
        images = load_inputs(request.inputs, Path.cwd())
    else:
        images = _images(request, tensorflow.input_shape)
    # Noise shows the order in which a map is flattened, which a black image does not.
    rng = np.random.default_rng(request.seed)
    seen = rng.standard_normal(images.shape).astype(np.float32) if images.ndim == MAPS else images
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda model: model.describe(seen), (torch, tensorflow))
    for name, facts in (("torch", ours), ("tensorflow", theirs)):
        if not facts.layers:
            raise ParityError(f"the {name} model calls no layer with weights.")
    pairs = pair_layers(ours, theirs, parse_names(request.names))
    session = PairSession(
        request=request,
        pairs=pairs,
        facts={"torch": ours, "tensorflow": theirs},
        sides={
            "torch": PairedModel(torch, {pair.name: pair.torch for pair in pairs}),
            "tensorflow": PairedModel(tensorflow, {pair.name: pair.tensorflow for pair in pairs}),
        },
        images=images,
    )
    if request.torch_training:
        session.prepare_training()  # says now what would end it after all other checks
    return session


def _images(request: PairRequest, shape: tuple[int, ...] | None) -> Array:
    """Noise of shape (batch, height, width, channels), half of it LARGE_SCALE times larger."""
    if shape is not None and len(shape) != len(("height", "width", "channels")):
        raise ParityError(f"the Keras model reads {shape}, no images; give both --inputs.")
    if request.input_shape is not None:
        shape = request.input_shape
    elif request.image_size is not None:
        channels = 3 if shape is None else shape[2]
        shape = (request.image_size, request.image_size, channels)
    if shape is None:
        raise ParityError("the Keras model declares no image size; give it with --image-size.")
    noise = np.random.default_rng(request.seed).standard_normal((2 * IMAGES, *shape))
    noise[IMAGES:] *= LARGE_SCALE
    return noise.astype(np.float32)
