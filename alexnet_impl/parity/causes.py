"""Likely causes of a difference, found by reproducing known mistakes in the other framework.

If PyTorch with a mistake computes what TensorFlow computed, TensorFlow has that mistake, and the
other way round. A mistake that is not in these tables is not found.
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
from alexnet_impl.parity.record import MAX_CAUSES, Cause
from alexnet_impl.recipe.recipe import MOMENTUM_OPTIMIZERS, Recipe
from alexnet_impl.weights.canonical import Weights

EXPLAINS = 0.1
"""A cause is reported if it leaves less than this fraction of the difference."""
LAST_BITS = 1e-12
"""Causes that leave less than this are equally good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCause:
    """A known mistake, ready to be made in one framework.

    Attributes:
        what: As in Cause.
        remedy: As in Cause.
        case: The network, recipe and batches with the mistake.
        weights: The weights that the mistake would produce.
        feed: What the mistake makes of images (batch, height, width, channels).
    """

    what: str
    remedy: str
    case: ParityCase
    weights: Weights
    feed: Callable[[Pixels], Pixels] = lambda images: images

    @property
    def fits(self) -> bool:
        """Whether the changed network still accepts the weights; another one could not run."""
        try:
            shapes = weight_shapes(self.case.spec)
        except SpecError:
            return False
        return shapes == {name: array.shape for name, array in self.weights.items()}


Compute = Callable[[FrameworkSide, CandidateCause], NDArray[Any]]
RecipeMistake = tuple[dict[str, Any], str, str]
"""(changed fields of the recipe, what, remedy)"""


def _candidate(
    case: ParityCase,
    what: str,
    remedy: str,
    *,
    weights: Weights | None = None,
    feed: Callable[[Pixels], Pixels] = lambda images: images,
) -> CandidateCause:
    given = case.weights() if weights is None else weights
    return CandidateCause(what=what, remedy=remedy, case=case, weights=given, feed=feed)


def find_causes(
    sides: FrameworkSides,
    case: ParityCase,
    candidates: Iterable[CandidateCause],
    compute: Compute,
    fault: str,
) -> tuple[Cause, ...]:
    """The causes that explain a difference, best first.

    Args:
        sides: The two frameworks.
        case: The case in which they differ.
        candidates: The mistakes to try.
        compute: Computes the array that differs, on one side with a mistake in it.
        fault: The framework that differs from NumPy: mistakes are made in the other one. '' if
            that is not known: then they are made in each, and either may be named.

    Returns:
        At most MAX_CAUSES; empty if none explains the difference.
    """
    first, second = sides
    unchanged = _candidate(case, "", "")
    observed = {side.name: compute(side, unchanged) for side in sides}
    difference = apart(observed[first.name], observed[second.name])
    if not math.isfinite(difference):
        return ()
    found: list[Cause] = []
    for candidate in candidates:
        if not candidate.fits:
            continue
        for side, other in ((first, second), (second, first)):
            if fault not in ("", other.name):
                continue
            distance = apart(observed[other.name], compute(side, candidate))
            if distance <= EXPLAINS * difference:
                what, remedy = candidate.what, candidate.remedy
                found.append(Cause(side=other.name, what=what, remedy=remedy, distance=distance))
    return tuple(sorted(found, key=_rank)[:MAX_CAUSES])


def _rank(cause: Cause) -> float:
    """Order of magnitude, so that equally good causes keep the order of the tables."""
    return round(math.log10((cause.distance or 0.0) + LAST_BITS))


def forward_causes(
    sides: FrameworkSides, case: ParityCase, images: Pixels, fault: str
) -> tuple[Cause, ...]:
    """Find causes of different logits, given images (batch, height, width, channels)."""

    def logits(side: FrameworkSide, candidate: CandidateCause) -> NDArray[Any]:
        changed = candidate.case
        trainer = side.make(changed.spec, changed.recipe, candidate.weights)
        return trainer.logits(candidate.feed(images))

    candidates = (*_weight_candidates(case), *_layer_candidates(case), *_image_candidates(case))
    return find_causes(sides, case, candidates, logits, fault)


def training_causes(
    sides: FrameworkSides, case: ParityCase, candidates: Iterable[CandidateCause], fault: str
) -> tuple[Cause, ...]:
    """Find causes of different losses in a few training steps."""

    def losses(side: FrameworkSide, candidate: CandidateCause) -> NDArray[Any]:
        return np.array(free_losses(side, candidate.case, candidate.weights)[0])

    return find_causes(sides, case, candidates, losses, fault)


def _weight_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    weights = case.weights()
    steps = trace(case.spec).layers
    flattens = [step for step in steps if isinstance(step.layer, Flatten)]
    denses = [step for step in steps if isinstance(step.layer, Dense)]
    for flatten, dense in zip(flattens, denses[:1], strict=False):
        name = f"{dense.layer.name}.weight"
        yield _candidate(
            case,
            f"the rows of {dense.layer.name} had not been permuted from channels first to "
            "channels last",
            "permute them: reshape(out, channels, height, width).transpose(0, 2, 3, 1)",
            weights=weights | {name: unpermuted(weights[name], flatten.input_shape)},
        )
    kernels = {n: w for n, w in weights.items() if w.ndim == 4}
    turned = {n: np.ascontiguousarray(w.swapaxes(2, 3)) for n, w in kernels.items()}
    changes = {f"{name} had": {name: array} for name, array in turned.items()}
    if len(kernels) > 1:
        changes = {"all convolution kernels had": turned} | changes
    for subject, changed in changes.items():
        yield _candidate(
            case,
            f"{subject} height and width swapped",
            "transpose convolution kernels by (2, 3, 1, 0), not with .T",
            weights=weights | changed,
        )


def unpermuted(kernel: NDArray[Any], map_shape: Shape) -> NDArray[Any]:
    """The fc1 kernel in effect if channels-first rows are applied to channels-last features.

    Args:
        kernel: Shape (out_features, features), features flattened from (channels, height, width).
        map_shape: (channels, height, width).
    """
    channels, height, width = map_shape
    maps = kernel.reshape(len(kernel), height, width, channels)
    moved: NDArray[Any] = maps.transpose(0, 3, 1, 2).reshape(kernel.shape)
    return np.ascontiguousarray(moved)


def _layer_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    for step in trace(case.spec).layers:
        match step.layer:
            case LocalResponseNorm() as layer:
                others = _other_norms(layer)
            case Conv() as layer:
                others = _other_paddings(layer, step.input_shape)
            case _:
                continue
        for changed, what, remedy in others:
            subject = f"{layer.name}'s {what}"
            yield _candidate(_with_layers(case, (changed,)), subject, remedy)
    norms = [layer for layer in case.spec.layers if isinstance(layer, LocalResponseNorm)]
    if len(norms) > 1:
        for options in zip(*(_other_norms(layer) for layer in norms), strict=True):
            _, what, remedy = options[0]
            changed_case = _with_layers(case, [layer for layer, _, _ in options])
            yield _candidate(changed_case, f"every LRN's {what}", remedy)


def _other_norms(layer: LocalResponseNorm) -> Iterator[tuple[Layer, str, str]]:
    """Usual misreadings of an LRN: (layer, what, remedy)."""
    size, alpha = layer.size, layer.alpha
    divide = "PyTorch divides alpha by the window, TensorFlow does not: multiply or divide it"
    radius = "TensorFlow's depth_radius is half the window: size // 2"
    for change, what, remedy in (
        ({"alpha": alpha / size}, f"alpha were divided by its window of {size}", divide),
        ({"alpha": alpha * size}, f"alpha were multiplied by its window of {size}", divide),
        (
            {"size": 2 * size - 1},
            f"radius were doubled (a window of {2 * size - 1} instead of {size})",
            radius,
        ),
        (
            {"size": 2 * size + 1},
            f"window were its radius (a window of {2 * size + 1} instead of {size})",
            radius,
        ),
        ({"k": 1.0}, "k were 1", "pass k (TensorFlow's bias)"),
    ):
        yield replace(layer, **change), what, remedy


def _other_paddings(layer: Conv, input_shape: Shape) -> Iterator[tuple[Layer, str, str]]:
    """Usual misreadings of a convolution's padding: (layer, what, remedy)."""
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
                f"padding {what}: {padding} instead of {layer.padding}",
                "pad with zeros by hand, then convolve without padding",
            )


def _with_layers(case: ParityCase, changed: Iterable[Layer]) -> ParityCase:
    by_name = {layer.name: layer for layer in changed}
    layers = tuple(by_name.get(layer.name, layer) for layer in case.spec.layers)
    return replace(case, spec=replace(case.spec, layers=layers))


def _image_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    yield _candidate(
        case,
        "the images' channels were in the order blue, green, red",
        "read them as RGB",
        feed=lambda images: np.ascontiguousarray(images[..., ::-1]),
    )
    yield _candidate(
        case,
        "height and width of the images were swapped",
        "move the axes by (0, 3, 1, 2), not with .T",
        feed=lambda images: np.ascontiguousarray(images.swapaxes(1, 2)),
    )
    scaled = f"instead of '{case.recipe.input_scaling}'"
    rows: list[RecipeMistake] = [
        ({"input_scaling": name}, f"pixels were scaled as '{name}' {scaled}", "use one scaling")
        for name in INPUT_SCALINGS
    ]
    rows += [
        ({"resize": method}, f"images were resized by '{method}'", "use one resizing method")
        for method in ("bilinear", "nearest")
    ]
    yield from _recipe_candidates(case, rows)


def _recipe_candidates(
    case: ParityCase, mistakes: Iterable[RecipeMistake]
) -> Iterator[CandidateCause]:
    """The mistakes that differ from the recipe."""
    for change, what, remedy in mistakes:
        recipe = replace(case.recipe, **change)
        if recipe != case.recipe:
            yield _candidate(replace(case, recipe=recipe), what, remedy)


def loss_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    """Mistakes that change the loss of the same logits."""
    rows: list[RecipeMistake] = [
        (
            {"loss_input": "softmax-twice"},
            "softmax were applied twice: by the network's last layer and by the loss",
            "give the loss logits",
        ),
        (
            {"loss_input": "probabilities"},
            "the loss were computed from clipped probabilities, without seeing their softmax",
            "give the loss logits (in Keras with from_logits=True), or end the model in softmax",
        ),
        ({"label_smoothing": 0.0}, "labels were not smoothed", "smooth them in both"),
    ]
    return _recipe_candidates(case, rows)


def update_candidates(case: ParityCase) -> Iterator[CandidateCause]:
    """Mistakes that change the weights after the same gradients."""
    recipe = case.recipe
    rule = _sgd_mistakes if recipe.optimizer in MOMENTUM_OPTIMIZERS else _adam_mistakes
    return _recipe_candidates(case, [*rule(recipe), *_decay_mistakes(recipe)])


def _decay_mistakes(recipe: Recipe) -> Iterator[RecipeMistake]:
    coupled = recipe.optimizer in ("sgd", "adam")
    if recipe.optimizer == "muon":
        yield {"optimizer": "sgd"}, "no update were orthogonalised", "use muon in both"
    elif recipe.weight_decay:
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
            f"weight decay applied to {'kernels only' if other == 'kernels' else 'biases too'}",
            "let the same weights decay in both",
        )
    if recipe.clip_norm is not None:
        yield {"clip_norm": None}, "gradients were not clipped", "clip by the global norm in both"


def _sgd_mistakes(recipe: Recipe) -> Iterator[RecipeMistake]:
    if recipe.momentum and recipe.optimizer != "muon":
        yield (
            {"momentum_formula": "keras" if recipe.momentum_formula == "torch" else "torch"},
            "the learning rate stood on the other side of momentum's buffer",
            "Keras keeps the rate inside: scale the buffers by new / old where the rate changes",
        )
    if recipe.momentum:
        yield (
            {"nesterov": not recipe.nesterov},
            f"momentum were {'not ' if recipe.nesterov else ''}Nesterov",
            "set nesterov to the same value",
        )
        change = {"momentum": 0.0, "nesterov": False}
        yield change, "there were no momentum", "set momentum to the same value"


def _adam_mistakes(recipe: Recipe) -> Iterator[RecipeMistake]:
    place = "Keras adds epsilon before the bias correction: it needs an update of its own"
    for formula, where in (("torch", "after"), ("keras", "before")):
        for epsilon in {recipe.epsilon, 1e-8, 1e-7}:
            yield (
                {"epsilon_formula": formula, "epsilon": epsilon},
                f"epsilon were {epsilon:g}, added {where} the bias correction",
                place if formula == "keras" else "set epsilon to the same value",
            )


def batch_causes(
    sides: FrameworkSides, recipe: Recipe, observed: dict[str, tuple[int, str]]
) -> tuple[Cause, ...]:
    """Find causes of different batches.

    Args:
        sides: The two frameworks.
        recipe: The recipe that both were given.
        observed: Framework to (number of batches, digest of their bytes).
    """
    first, second = sides
    last = "kept" if recipe.drop_last else "dropped"
    options: tuple[tuple[dict[str, Any], str], ...] = (
        ({"drop_last": not recipe.drop_last}, f"the last, smaller batch were {last}"),
        ({"shuffle_buffer": 1}, "images were not shuffled"),
        ({"shuffle_buffer": 1000}, "images were shuffled through a buffer of 1,000"),
        (
            {"flip": not recipe.flip, "alternate_flips": False},
            f"images were {'not ' if recipe.flip else ''}flipped",
        ),
        ({"crop_padding": 0}, "images were not cropped"),
        ({"validation_split": "last"}, "the last images were held back"),
    )
    remedy = "draw the batches with the same settings"
    return tuple(
        Cause(side=other.name, what=what, remedy=remedy, distance=0.0)
        for change, what in options
        for side, other in ((first, second), (second, first))
        if (changed := replace(recipe, **change)) != recipe
        and side.epoch_digest(changed) == observed[other.name]
    )


def dropout_causes(
    layer: Dropout, given: NDArray[Any], observed: dict[str, NDArray[Any]]
) -> tuple[Cause, ...]:
    """Find causes of different outputs of a dropout layer in training.

    Args:
        layer: The layer of the first mismatch.
        given: Its input, the same in both frameworks; any shape.
        observed: Framework to the layer's output, of the input's shape.
    """
    one, other = observed.values()
    if not np.array_equal(one == 0, other == 0):
        what, remedy = "other values were dropped", "use the same masks in both"
        return (Cause(side="either", what=what, remedy=remedy),)
    keep = 1 - layer.rate
    remedy = "dropout is inverted in both frameworks: scale once, in training"
    found = []
    for name, values in observed.items():
        right = np.where(values == 0, 0, given / keep)
        for factor, how in (
            (keep, f"not divided by {keep:g}"),
            (1 / keep, f"divided by {keep:g} twice"),
        ):
            distance = apart(right * factor, values)
            if distance < EXPLAINS * apart(right, values):
                what = f"the values that {layer.name} keeps were {how}"
                found.append(Cause(side=name, what=what, remedy=remedy, distance=distance))
    return tuple(found)
