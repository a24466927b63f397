"""What a difference comes from, found by doing it: each known cause is enacted on one side.

If PyTorch with a cause put in computes what TensorFlow computed, TensorFlow has that cause; and the
other way round. A cause that is not in this table is not found.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.errors import SpecError
from alexnet_impl.frameworks import Pixels
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    Shape,
    same_padding,
    trace,
    weight_shapes,
)
from alexnet_impl.parity.lockstep import (
    FrameworkSide,
    FrameworkSides,
    ParityCase,
    apart,
    free_losses,
)
from alexnet_impl.parity.record import Cause
from alexnet_impl.recipe.recipe import MOMENTUM_OPTIMIZERS, Recipe
from alexnet_impl.weights.canonical import Weights

EXPLAINS = 0.1
"""A cause that leaves less than this share of the difference is reported."""
LAST_BITS = 1e-12
"""Explanations to nearer than this are as good as each other."""
MOST = 3
"""How many causes are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCause:
    """One known cause, ready to be enacted.

    Attributes:
        what: As in Cause.
        remedy: As in Cause.
        case: The network and recipe with the cause in them.
        weights: Those that the cause would have put in.
        feed: What the cause would have made of the images.
    """

    what: str
    remedy: str
    case: ParityCase
    weights: Weights
    feed: Callable[[Pixels], Pixels] = lambda images: images


Enact = Callable[[FrameworkSide, CandidateCause], NDArray[Any]]


def find_causes(
    sides: FrameworkSides,
    observed: dict[str, NDArray[Any]],
    candidates: Iterable[CandidateCause],
    enact: Enact,
    fault: str,
) -> tuple[Cause, ...]:
    """The causes that explain a difference, best first.

    Args:
        sides: The two frameworks.
        observed: By framework, what it computed: arrays of one shape.
        candidates: What to try.
        enact: Computes the same figure on a side with a candidate put in.
        fault: The framework that departs from what NumPy computes: the causes are enacted on the
            other one. '' if that is not known: then on both, and either may be named.

    Returns:
        At most MOST causes; empty if none explains it.
    """
    first, second = sides
    difference = apart(observed[first.name], observed[second.name])
    found: list[Cause] = []
    if not math.isfinite(difference):
        return ()
    for candidate in filter(_fits, candidates):
        for side, other in ((first, second), (second, first)):
            if fault not in ("", other.name):
                continue
            distance = apart(observed[other.name], enact(side, candidate))
            if distance <= EXPLAINS * difference:
                found.append(
                    Cause(
                        side=other.name,
                        what=candidate.what,
                        remedy=candidate.remedy,
                        distance=distance,
                    )
                )
    return tuple(sorted(found, key=_rank)[:MOST])


def _rank(cause: Cause) -> float:
    """By magnitude, so that what explains it to the last bits keeps the order of the table."""
    return round(math.log10((cause.distance or 0.0) + LAST_BITS))


def _fits(candidate: CandidateCause) -> bool:
    """Whether the changed network can still take the weights; if not, ours could not either."""
    try:
        shapes = weight_shapes(candidate.case.spec)
    except SpecError:
        return False
    return shapes == {name: array.shape for name, array in candidate.weights.items()}


def forward_causes(
    sides: FrameworkSides, case: ParityCase, images: Pixels, fault: str
) -> tuple[Cause, ...]:
    """Why the logits of one set of weights differ."""

    def enact(side: FrameworkSide, candidate: CandidateCause) -> NDArray[Any]:
        asked = candidate.case
        trainer = side.make(asked.spec, asked.recipe, candidate.weights)
        return trainer.logits(candidate.feed(images))

    observed = {
        side.name: side.make(case.spec, case.recipe, case.weights()).logits(images)
        for side in sides
    }
    return find_causes(sides, observed, forward_candidates(case), enact, fault)


def training_causes(
    sides: FrameworkSides, case: ParityCase, candidates: Iterable[CandidateCause], fault: str
) -> tuple[Cause, ...]:
    """Why the losses of a few steps differ."""

    def enact(side: FrameworkSide, candidate: CandidateCause) -> NDArray[Any]:
        return np.array(free_losses(side, candidate.case, candidate.weights)[0])

    observed = {side.name: np.array(free_losses(side, case, case.weights())[0]) for side in sides}
    return find_causes(sides, observed, candidates, enact, fault)


def forward_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    """What makes logits of the same weights and images differ."""
    yield from _weight_candidates(case)
    yield from _layer_candidates(case)
    yield from _image_candidates(case)


def _weight_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    weights = case.weights()
    steps = trace(case.spec).layers
    flattens = [step for step in steps if isinstance(step.layer, Flatten)]
    denses = [step for step in steps if isinstance(step.layer, Dense)]
    for flatten, dense in zip(flattens, denses[:1], strict=False):
        name = f"{dense.layer.name}.weight"
        yield CandidateCause(
            what=f"the rows of {dense.layer.name} had not been permuted from channels first to "
            "channels last",
            remedy="permute them: reshape(out, channels, height, width).transpose(0, 2, 3, 1)",
            case=case,
            weights=weights | {name: unpermuted(weights[name], flatten.input_shape)},
        )
    kernels = {n: w for n, w in weights.items() if w.ndim == 4}
    turned = {n: np.ascontiguousarray(w.swapaxes(2, 3)) for n, w in kernels.items()}
    transpose = "transpose convolution kernels by (2, 3, 1, 0), not with .T"
    if len(kernels) > 1:
        yield CandidateCause(
            what="all convolution kernels had height and width swapped",
            remedy=transpose,
            case=case,
            weights=weights | turned,
        )
    for kernel, array in turned.items():
        yield CandidateCause(
            what=f"{kernel} had height and width swapped",
            remedy=transpose,
            case=case,
            weights=weights | {kernel: array},
        )


def unpermuted(kernel: NDArray[Any], map_shape: Shape) -> NDArray[Any]:
    """What fc1 computes if rows laid out channels first meet features laid out channels last."""
    channels, height, width = map_shape
    maps = kernel.reshape(len(kernel), height, width, channels)
    moved: NDArray[Any] = maps.transpose(0, 3, 1, 2).reshape(kernel.shape)
    return np.ascontiguousarray(moved)


def _layer_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    spec = case.spec
    for step in trace(spec).layers:
        match step.layer:
            case LocalResponseNorm() as layer:
                for changed, what, remedy in _other_norms(layer):
                    yield _with_layers(case, {layer.name: changed}, what, remedy)
            case Conv() as layer:
                for changed, what, remedy in _other_paddings(layer, step.input_shape):
                    yield _with_layers(case, {layer.name: changed}, what, remedy)
            case _:
                pass
    norms = [layer for layer in spec.layers if isinstance(layer, LocalResponseNorm)]
    if len(norms) > 1:
        options = zip(*(list(_other_norms(layer)) for layer in norms), strict=True)
        for option in options:
            layers = {layer.name: layer for layer, _, _ in option}
            _, what, remedy = option[0]
            _, _, rest = what.partition("'s ")
            yield _with_layers(case, layers, f"every LRN's {rest}", remedy)


def _other_norms(layer: LocalResponseNorm) -> Iterator[tuple[Layer, str, str]]:
    name, size = layer.name, layer.size
    yield (
        replace(layer, alpha=layer.alpha / size),
        f"{name}'s alpha were divided by its window of {size}",
        "PyTorch divides alpha by the window, TensorFlow does not: multiply or divide it",
    )
    yield (
        replace(layer, alpha=layer.alpha * size),
        f"{name}'s alpha were multiplied by its window of {size}",
        "PyTorch divides alpha by the window, TensorFlow does not: multiply or divide it",
    )
    radius = "TensorFlow's depth_radius is half the window: size // 2"
    yield (
        replace(layer, size=2 * size - 1),
        f"{name}'s radius were doubled (a window of {2 * size - 1} instead of {size})",
        radius,
    )
    yield (
        replace(layer, size=2 * size + 1),
        f"{name}'s window were its radius (a window of {2 * size + 1} instead of {size})",
        radius,
    )
    yield replace(layer, k=1.0), f"{name}'s k were 1", "pass k (TensorFlow's bias)"


def _other_paddings(layer: Conv, input_shape: Shape) -> Iterator[tuple[Layer, str, str]]:
    before, after = layer.padding
    total = before + after
    same = same_padding(input_shape[1], layer.kernel_size, layer.stride)
    half = layer.kernel_size // 2
    options = {
        same: "were TensorFlow's 'same'",
        (math.ceil(total / 2), math.ceil(total / 2)): "were symmetric",
        (total // 2, total // 2): "were symmetric",
        (half, half): "were half the kernel",
        (after, before): "had its larger half first",
        (0, 0): "were missing",
    }
    for padding, what in options.items():
        if padding != layer.padding:
            yield (
                replace(layer, padding=padding),
                f"{layer.name}'s padding {what}: {padding} instead of {layer.padding}",
                "pad with zeros by hand, then convolve without padding",
            )


def _with_layers(
    case: ParityCase, layers: dict[str, Layer], what: str, remedy: str
) -> CandidateCause:
    spec = replace(
        case.spec,
        layers=tuple(layers.get(layer.name, layer) for layer in case.spec.layers),
    )
    return CandidateCause(
        what=what,
        remedy=remedy,
        case=replace(case, spec=spec),
        weights=case.weights(),
    )


def _image_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    yield CandidateCause(
        what="the images' channels were in the order blue, green, red",
        remedy="read them as RGB",
        case=case,
        weights=case.weights(),
        feed=lambda images: np.ascontiguousarray(images[..., ::-1]),
    )
    yield CandidateCause(
        what="the images lay on their side",
        remedy="move the axes by (0, 3, 1, 2), not with .T",
        case=case,
        weights=case.weights(),
        feed=lambda images: np.ascontiguousarray(images.swapaxes(1, 2)),
    )
    for name in INPUT_SCALINGS:
        yield from _recipe_candidates(
            case,
            {"input_scaling": name},
            f"pixels were scaled as '{name}' instead of '{case.recipe.input_scaling}'",
            "scale them alike",
        )
    for method in ("bilinear", "nearest"):
        yield from _recipe_candidates(
            case, {"resize": method}, f"images were resized by '{method}'", "resize alike"
        )


def _recipe_candidates(
    case: ParityCase, change: dict[str, Any], what: str, remedy: str
) -> Iterator[CandidateCause]:
    """The candidate, unless the recipe says just that."""
    if any(getattr(case.recipe, name) != value for name, value in change.items()):
        recipe = replace(case.recipe, **change)
        yield CandidateCause(
            what=what,
            remedy=remedy,
            case=replace(case, recipe=recipe),
            weights=case.weights(),
        )


def loss_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    """What makes the loss of the same logits differ."""
    yield from _recipe_candidates(
        case,
        {"loss_input": "softmax-twice"},
        "softmax were taken twice: the network ends in one and the loss takes another",
        "give the loss logits",
    )
    yield from _recipe_candidates(
        case,
        {"loss_input": "probabilities"},
        "the loss were taken of clipped probabilities, whose softmax it could not see",
        "give the loss logits (in Keras with from_logits=True), or end the model in the softmax",
    )
    yield from _recipe_candidates(
        case, {"label_smoothing": 0.0}, "labels were not smoothed", "smooth them in both"
    )


def update_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    """What makes weights differ after the same gradients."""
    recipe = case.recipe
    for change, what, remedy in _other_updates(recipe):
        yield from _recipe_candidates(case, change, what, remedy)


def _other_updates(recipe: Recipe) -> Iterator[tuple[dict[str, Any], str, str]]:
    if recipe.optimizer in MOMENTUM_OPTIMIZERS:
        yield from _other_sgd(recipe)
    else:
        yield from _other_adam(recipe)
    if recipe.optimizer == "muon":
        yield {"optimizer": "sgd"}, "no step were made orthogonal", "take muon in both"
    elif recipe.weight_decay:
        coupled = recipe.optimizer in ("sgd", "adam")
        yield (
            {"optimizer": recipe.optimizer + "w" if coupled else recipe.optimizer[:-1]},
            "weight decay were decoupled from the gradient (Keras's weight_decay)"
            if coupled
            else "weight decay were added to the gradient (L2)",
            "Keras's weight_decay is decoupled, PyTorch's SGD and Adam add it to the gradient",
        )
    if recipe.weight_decay:
        yield {"weight_decay": 0.0}, "there were no weight decay", "decay in both"
        other = "kernels" if recipe.weight_decay_on == "all" else "all"
        yield (
            {"weight_decay_on": other},
            f"weight decay touched {'kernels alone' if other == 'kernels' else 'biases too'}",
            "choose alike which weights decay",
        )
    if recipe.clip_norm is not None:
        yield {"clip_norm": None}, "gradients were not clipped", "clip by the global norm in both"


def _other_sgd(recipe: Recipe) -> Iterator[tuple[dict[str, Any], str, str]]:
    if recipe.momentum and recipe.optimizer != "muon":
        yield (
            {"momentum_formula": "keras" if recipe.momentum_formula == "torch" else "torch"},
            "the learning rate stood on the other side of momentum's buffer",
            "Keras keeps the rate inside: scale the buffers by new / old where the rate changes",
        )
    if recipe.momentum:
        yield (
            {"nesterov": not recipe.nesterov},
            f"momentum were {'plain' if recipe.nesterov else 'Nesterov'}",
            "set nesterov alike",
        )
        yield {"momentum": 0.0, "nesterov": False}, "there were no momentum", "set it alike"


def _other_adam(recipe: Recipe) -> Iterator[tuple[dict[str, Any], str, str]]:
    place = "Keras adds epsilon before the bias correction: it needs an update of its own"
    for formula, where in (("torch", "behind"), ("keras", "before")):
        for epsilon in {recipe.epsilon, 1e-8, 1e-7}:
            yield (
                {"epsilon_formula": formula, "epsilon": epsilon},
                f"epsilon were {epsilon:g}, added {where} the bias correction",
                place if formula == "keras" else "set epsilon alike",
            )


def batch_causes(
    sides: FrameworkSides, recipe: Recipe, observed: dict[str, tuple[int, str]]
) -> tuple[Cause, ...]:
    """Why the two draw other batches."""
    first, second = sides
    options: tuple[tuple[dict[str, Any], str], ...] = (
        ({"drop_last": not recipe.drop_last}, _last_batch(recipe)),
        ({"shuffle_buffer": 1}, "images were not shuffled"),
        ({"shuffle_buffer": 1000}, "images were shuffled through a buffer of 1,000"),
        (
            {"flip": not recipe.flip, "alternate_flips": False},
            f"images were {'not ' if recipe.flip else ''}flipped",
        ),
        ({"crop_padding": 0}, "images were not cropped"),
        ({"validation_split": "last"}, "the last images were held back"),
    )
    found = []
    for change, what in options:
        changed = replace(recipe, **change)
        for side, other in ((first, second), (second, first)):
            if changed != recipe and side.epoch_digest(changed) == observed[other.name]:
                found.append(
                    Cause(side=other.name, what=what, remedy="draw the batches alike", distance=0.0)
                )
    return tuple(found)


def _last_batch(recipe: Recipe) -> str:
    return f"the last batch that is not full were {'kept' if recipe.drop_last else 'dropped'}"


def dropout_causes(
    layer: Dropout, given: NDArray[Any], observed: dict[str, NDArray[Any]]
) -> tuple[Cause, ...]:
    """Why a dropout layer yields other values in one framework than in the other.

    Args:
        layer: Where the two part in training.
        given: What the layer reads, the same in both.
        observed: By framework, that layer's output.
    """
    one, other = observed.values()
    if not np.array_equal(one == 0, other == 0):
        what, remedy = "other values were dropped", "draw the masks alike"
        return (Cause(side="either", what=what, remedy=remedy),)
    keep = 1 - layer.rate
    found = []
    for name, values in observed.items():
        right = np.where(values == 0, 0, given / keep)
        for factor, what in (
            (keep, f"what {layer.name} keeps were not divided by {keep:g}"),
            (1 / keep, f"what {layer.name} keeps were divided by {keep:g} twice"),
        ):
            distance = apart(right * factor, values)
            if distance < EXPLAINS * apart(right, values):
                remedy = "dropout is inverted in both frameworks: scale once, in training"
                found.append(Cause(side=name, what=what, remedy=remedy, distance=distance))
    return tuple(found)
