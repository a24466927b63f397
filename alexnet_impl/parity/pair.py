"""A user's own pair of models, one in PyTorch and one in Keras: where do they part?

Layers that bear weights are put side by side. What each reads and yields is compared in order, so
that a departure is either in a layer or between two; NumPy then re-enacts the usual mistakes there.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks import FRAMEWORKS, FrameworkName
from alexnet_impl.frameworks.foreign import (
    ForeignFacts,
    ForeignLayer,
    ForeignModel,
    Operation,
    are_probabilities,
)
from alexnet_impl.parity.hypotheses import (
    Hypothesis,
    apart,
    best_causes,
    chain_hypotheses,
    compute_layer,
    compute_operations,
    double_hypotheses,
    explains,
    kernel_readings,
    layer_hypotheses,
    rank,
)
from alexnet_impl.parity.pair_worker import RemoteModel, remote_model
from alexnet_impl.parity.pairing import (
    LayerPair,
    Side,
    pair_layers,
    parse_names,
    trailing_pad,
)
from alexnet_impl.parity.record import Cause, ParityRecord, RungResult, Series
from alexnet_impl.recipe import Precision
from alexnet_impl.tolerances import TOLERANCES, tolerance
from alexnet_impl.weights import Array, Weights

CopyWeights = Literal["auto", "always", "never"]
T = TypeVar("T")

READS = 1e-4
"""PyTorch's own arithmetic is read rightly if NumPy comes so near to it in float32."""
IMAGES = 2
"""Of each scale."""
LARGE_SCALE = 64.0
"""On inputs of unit scale a wrong alpha of a local response normalisation changes the last digits
only: half of the images are as large as trained activations are."""
STEPS = 3
STEP_SIZE = 0.02
"""By which share a step lowers the loss at first, if it were linear: large enough to be seen, and
small enough that rounding does not grow as in a loss that explodes."""
WEIGHTS_TOLERANCE = tolerance("weights", "float32")
UNRELATED = 0.1
"""Kernels that lie farther apart in every layout, relative to their largest value, are others."""


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """What is to be compared.

    Attributes:
        torch: 'module:function' that returns an nn.Module.
        tensorflow: 'module:function' that returns a keras.Model.
        names: PyTorch's layer names to Keras's, 'a=b,...' or a JSON file; None where they are
            equal or the order says it.
        copy_weights: Whether PyTorch's weights are copied into the Keras model: 'auto' where the
            two are unrelated, and, once the weights were judged, for the rungs above.
        image_size: Height and width, where the Keras model does not say them.
        seed: Of the images.
    """

    torch: str
    tensorflow: str
    names: str | None = None
    copy_weights: CopyWeights = "auto"
    image_size: int | None = None
    seed: int = 0


@dataclass(kw_only=True)
class _Bench:
    """Two models side by side, and what was found out about them so far.

    Attributes:
        note: Why it is not float64.
        weights: PyTorch's, canonical.
        values: What every layer reads and yields, in PyTorch and in Keras.
    """

    request: PairRequest
    pairs: tuple[LayerPair, ...]
    facts: dict[FrameworkName, ForeignFacts]
    sides: dict[FrameworkName, Side]
    images: Array
    precision: Precision = "float32"
    note: str = ""
    weights: Weights = field(default_factory=dict)
    values: tuple[Weights, Weights] = ({}, {})

    def each(self, work: Callable[[Side], T]) -> tuple[T, T]:
        """The same of both sides, at the same time: they may be processes of their own."""
        with ThreadPoolExecutor(len(FRAMEWORKS)) as pool:
            first, second = pool.map(work, [self.sides[name] for name in FRAMEWORKS])
        return first, second


@dataclass(frozen=True, kw_only=True)
class _Departure:
    """Where two walks through the layers part first, or the worst that they differ if nowhere."""

    measured: float
    where: str = ""
    causes: tuple[Cause, ...] = ()


def compare_pair(
    request: PairRequest,
    interpreters: dict[str, str] | None = None,
    announce: Callable[[RungResult], None] = lambda _: None,
) -> ParityRecord:
    """Compare a user's two models, each in a process of its own.

    Args:
        request: The two models, and how they are paired.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Is told of each rung as it is decided.

    Raises:
        ParityError: If the two cannot be paired.
        RunError: If one of them cannot be built or run.
    """
    parse_names(request.names)  # before seconds are spent
    with ExitStack() as stack:
        models: dict[FrameworkName, RemoteModel] = {}
        for name in FRAMEWORKS:
            python = (interpreters or {}).get(name)
            started = remote_model(name, interpreter=python) if python else remote_model(name)
            models[name] = stack.enter_context(started)
        with ThreadPoolExecutor(len(FRAMEWORKS)) as pool:
            opened = [
                pool.submit(model.open, name, getattr(request, name), Path.cwd())
                for name, model in models.items()
            ]
        for each in opened:
            each.result()
        record = compare_models(models["torch"], models["tensorflow"], request, announce)
        environment: dict[str, Any] = {n: model.environment for n, model in models.items()}
        return replace(record, environment=environment)


def compare_models(
    torch: ForeignModel,
    tensorflow: ForeignModel,
    request: PairRequest,
    announce: Callable[[RungResult], None] = lambda _: None,
) -> ParityRecord:
    """Compare two models that are there already; their weights are changed."""
    bench = _make_bench(torch, tensorflow, request)
    rungs = []
    series: list[Series] = []
    for rung in _climb(bench, series):
        announce(rung)
        rungs.append(rung)
    return ParityRecord(
        request=asdict(request), environment={}, rungs=tuple(rungs), series=tuple(series)
    )


def _climb(bench: _Bench, series: list[Series]) -> Iterator[RungResult]:
    """The rungs in order; what needs equal layers is left out where they are not."""
    yield _architecture(bench)
    yield _weights(bench)
    _settle_precision(bench)
    layers = _layers(bench)
    if bench.precision == "float64" and _is_rounding(layers):
        _fall_back(bench, "a layer of one of the models computes in float32 all the same")
        layers = _layers(bench)
    yield layers
    logits, alike = _logits(bench, follows=not layers.holds)
    yield logits
    if layers.holds and alike:
        yield from _loss_and_gradients(bench)
        yield _steps(bench, series)


def _make_bench(torch: ForeignModel, tensorflow: ForeignModel, request: PairRequest) -> _Bench:
    images = _images(request, tensorflow.input_shape)
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda model: model.describe(images), (torch, tensorflow))
    for name, facts in (("torch", ours), ("tensorflow", theirs)):
        if not facts.layers:
            raise ParityError(f"the {name} model calls no layer with weights.")
    pairs = pair_layers(ours, theirs, parse_names(request.names))
    return _Bench(
        request=request,
        pairs=pairs,
        facts={"torch": ours, "tensorflow": theirs},
        sides={
            "torch": Side(torch, {pair.name: pair.torch for pair in pairs}),
            "tensorflow": Side(tensorflow, {pair.name: pair.tensorflow for pair in pairs}),
        },
        images=images,
    )


def _images(request: PairRequest, shape: tuple[int, int, int] | None) -> Array:
    """Noise of shape (batch, height, width, channels): half of unit scale, half larger."""
    if request.image_size is not None:
        channels = 3 if shape is None else shape[2]
        shape = (request.image_size, request.image_size, channels)
    if shape is None:
        raise ParityError("the Keras model does not say which images it reads; give --image-size.")
    noise = np.random.default_rng(request.seed).standard_normal((2 * IMAGES, *shape))
    noise[IMAGES:] *= LARGE_SCALE
    return noise.astype(np.float32)


# --- architecture and weights -----------------------------------------------------------------


def _architecture(bench: _Bench) -> RungResult:
    """Weights that one side lacks or has in another shape, and dropout."""
    found = [entry for pair in bench.pairs for entry in _weight_differences(pair)]
    found += _dropout_differences(bench)
    total = sum(_num_weights(pair.torch) for pair in bench.pairs)
    return RungResult(
        rung="architecture",
        precision="",
        measured=float(len(found)),
        tolerance=0.0,
        reason=f"{len(bench.pairs)} layers with weights are paired, of {total:,} weights in torch",
        where=found[0][0] if found else "",
        causes=tuple(cause for _, cause in found),
    )


def _num_weights(layer: ForeignLayer) -> int:
    return sum(int(np.prod(shape)) for shape in layer.shapes.values())


def _weight_differences(pair: LayerPair) -> list[tuple[str, Cause]]:
    ours, theirs = pair.torch.shapes, pair.tensorflow.shapes
    found = []
    for short in {**ours, **theirs}:
        if short in pair.shared:
            continue
        lacking = "torch" if short not in ours else "tensorflow"
        if short in ours and short in theirs:
            what = f"{pair.label} read {theirs[short][1]} features, and not {ours[short][1]}"
            remedy = "see where the maps before it take another size"
        else:
            what = f"{pair.label} had no {short}"
            remedy = f"give both a {short}, or neither"
        found.append((pair.label, Cause(side=lacking, what=what, remedy=remedy)))
    return found


def _dropout_differences(bench: _Bench) -> list[tuple[str, Cause]]:
    """Rates in training, of which nothing is seen in evaluation."""
    after = {name: facts.after for name, facts in bench.facts.items()}
    spans = [
        *((f"before {p.label}", p.torch.before, p.tensorflow.before) for p in bench.pairs),
        ("behind the last layer", after["torch"], after["tensorflow"]),
    ]
    found = []
    for where, ours, theirs in spans:
        rates = _rates(ours), _rates(theirs)
        if rates[0] != rates[1]:
            said = [" and ".join(f"{rate:g}" for rate in each) or "none" for each in rates]
            cause = Cause(
                side="tensorflow",
                what=f"in training dropout {where} were {said[1]}, where PyTorch has {said[0]}",
                remedy="take the same rates at the same places",
            )
            found.append((f"dropout {where}", cause))
    return found


def _rates(operations: Sequence[Operation]) -> list[float]:
    rates = [float(op.numbers.get("rate", 0.5)) for op in operations if op.kind == "dropout"]
    return [rate for rate in rates if rate]


def _weights(bench: _Bench) -> RungResult:
    """Keras's weights against PyTorch's, both in the canonical layout."""
    ours, theirs = bench.each(Side.weights)
    bench.weights = ours
    names = [f"{pair.name}.{short}" for pair in bench.pairs for short in pair.shared]
    distances = {name: _weight_distance(ours[name], theirs[name]) for name in names}
    broken = [n for n in names if not (_is_finite(ours[n]) and _is_finite(theirs[n]))]
    copy = bench.request.copy_weights
    # NaN is no fresh initialisation: a copy that nobody asked for would hide it.
    fresh = copy == "always" or (
        copy == "auto" and not broken and _are_unrelated(bench, ours, theirs)
    )
    wrong = [name for name in names if not distances[name] <= WEIGHTS_TOLERANCE]
    if copy != "never" and wrong:
        bench.sides["tensorflow"].set_weights({name: ours[name] for name in names})
    reason = f"{len(names)} weights; a conversion moves numbers and computes none"
    if fresh:
        said = "as asked" if copy == "always" else "as the two models' weights are unrelated"
        theirs = bench.sides["tensorflow"].weights()
        distances = {name: _weight_distance(ours[name], theirs[name]) for name in names}
        wrong = [name for name in names if not distances[name] <= WEIGHTS_TOLERANCE]
        reason += f"; PyTorch's were copied into the Keras model, {said}"
    elif wrong and copy == "auto":
        reason += "; the rungs above go on with PyTorch's, to show what else differs"
    elif wrong:
        reason += "; the rungs above go on with what the Keras model has"
    first = next((name for name in wrong if name in broken), wrong[0] if wrong else "")
    return RungResult(
        rung="weights",
        precision="float32",
        measured=_worst(distances)[1],
        tolerance=WEIGHTS_TOLERANCE,
        reason=reason,
        where=first,
        causes=_weight_causes(bench, first, ours, theirs) if first else (),
    )


def _worst(distances: dict[str, float]) -> tuple[str, float]:
    """The largest distance with its name; the first NaN if there is one, which max() may lose."""
    if not distances:
        return "", 0.0
    name = list(distances)[int(np.argmax(list(distances.values())))]
    return name, distances[name]


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _weight_distance(first: Array, second: Array) -> float:
    """Largest difference over the largest value."""
    return apart(first.reshape(1, -1), second.reshape(1, -1))


def _are_unrelated(bench: _Bench, ours: Weights, theirs: Weights) -> bool:
    """Whether no kernel is the other's in any layout, as of two fresh initialisations."""
    for pair in bench.pairs:
        name = f"{pair.name}.weight"
        if "weight" not in pair.shared or pair.torch.kind not in ("conv", "dense"):
            continue
        kernels = [ours[name], *(entry[2] for entry in kernel_readings(pair.torch, ours[name]))]
        if any(_weight_distance(kernel, theirs[name]) < UNRELATED for kernel in kernels):
            return False
    return True


def _weight_causes(bench: _Bench, name: str, ours: Weights, theirs: Weights) -> tuple[Cause, ...]:
    """Which wrong conversion makes Keras's weight of PyTorch's."""
    for side, weights in (("torch", ours), ("tensorflow", theirs)):
        if not _is_finite(weights[name]):
            what, remedy = f"{name} held NaN or infinity", "save and load it anew"
            return (Cause(side=side, what=what, remedy=remedy),)
    layer_name, _, short = name.rpartition(".")
    pair = next(pair for pair in bench.pairs if pair.name == layer_name)
    right, seen = ours[name].reshape(1, -1), theirs[name].reshape(1, -1)
    readings: list[tuple[str, str, Array]] = []
    if short == "weight":
        readings = kernel_readings(pair.torch, ours[name])
    for other in pair.shared:
        if other != short and ours[f"{layer_name}.{other}"].shape == ours[name].shape:
            what, remedy = f"{name} were its {other}", "load each into its own"
            readings.append((what, remedy, ours[f"{layer_name}.{other}"]))
    hypotheses = [
        Hypothesis(what=what, remedy=remedy, compute=lambda a=array: a.reshape(1, -1))  # type: ignore[misc]
        for what, remedy, array in readings
    ]
    found = rank(right, seen, hypotheses, noise=WEIGHTS_TOLERANCE)
    if found:
        return found
    what, remedy = f"{name} were another one", "load it from the PyTorch model"
    return (Cause(side="tensorflow", what=what, remedy=remedy),)


# --- precision --------------------------------------------------------------------------------


def _settle_precision(bench: _Bench) -> None:
    """Go on in float64 if both models can be had in it."""
    reasons = bench.each(lambda side: side.model.use_precision("float64"))
    why = next((reason for reason in reasons if reason), "")
    if not why:
        try:
            bench.each(lambda side: side.forward(bench.images[:1]))
        except Exception as error:  # noqa: BLE001 - a model with constants of its own in float32
            why = f"a model does not run in float64 ({str(error).splitlines()[0]})"
    if why:
        _fall_back(bench, why)
    else:
        bench.precision = "float64"


def _fall_back(bench: _Bench, why: str) -> None:
    bench.each(lambda side: side.model.use_precision("float32"))
    bench.precision, bench.note = "float32", f"; in float32: {why}"


def _is_rounding(layers: RungResult) -> bool:
    """A departure in float64 that float32 would round away, and that nothing explains."""
    explained = any(cause.distance is not None for cause in layers.causes)
    small = layers.measured <= TOLERANCES["layers", "float32"].bound
    return not layers.holds and small and not explained


# --- layers and logits ------------------------------------------------------------------------


def _layers(bench: _Bench) -> RungResult:
    """What each layer reads and yields, in order."""
    tolerance = TOLERANCES["layers", bench.precision]
    bench.values = bench.each(lambda side: side.forward(bench.images))
    departure = _walk(bench, *bench.values)
    return RungResult(
        rung="layers",
        precision=bench.precision,
        measured=departure.measured,
        tolerance=tolerance.bound,
        reason=tolerance.reason + bench.note,
        where=departure.where,
        causes=departure.causes,
    )


def _walk(bench: _Bench, ours: Weights, theirs: Weights) -> _Departure:
    """Follow both through the layers up to where they part."""
    bound = TOLERANCES["layers", bench.precision].bound
    before, values = "the images", bench.images.transpose(0, 3, 1, 2)
    worst = 0.0
    for pair in bench.pairs:
        name = f"{pair.name}.input"
        distance = apart(ours[name], theirs[name])
        if not distance <= bound:
            span = _Span(
                ours=_chain(pair.torch),
                theirs=_chain(pair.tensorflow),
                values=values,
                first=before == "the images",
            )
            causes = _span_causes(span, ours[name], theirs[name], bound)
            where = f"the way from {before} to {pair.label}{_span_words(span)}"
            return _Departure(measured=distance, where=where, causes=causes)
        worst = max(worst, distance)
        name = f"{pair.name}.output"
        distance = apart(ours[name], theirs[name])
        if not distance <= bound:
            causes = _layer_causes(bench, pair, ours, theirs)
            return _Departure(measured=distance, where=pair.label, causes=causes)
        worst = max(worst, distance)
        before, values = pair.torch.title, ours[name]
    return _Departure(measured=worst)


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What lies between two layers.

    Attributes:
        ours: What PyTorch computes there.
        theirs: What Keras does.
        values: What both start from.
        first: Whether it starts at the images.
        last: Whether it ends at the output.
    """

    ours: tuple[Operation, ...]
    theirs: tuple[Operation, ...]
    values: Array
    first: bool = False
    last: bool = False


def _chain(layer: ForeignLayer) -> tuple[Operation, ...]:
    """What is computed before a layer, without a padding that counts as its own."""
    return layer.before if trailing_pad(layer) is None else layer.before[:-1]


def _span_words(span: _Span) -> str:
    ours, theirs = (
        ", ".join(op.name for op in ops) or "nothing" for ops in (span.ours, span.theirs)
    )
    return f" (PyTorch: {ours}; Keras: {theirs})"


def _samples(values: Array) -> Array:
    """One image of each scale, in float64: enough to tell the readings apart."""
    return values[[0, IMAGES]].astype(np.float64)


def _span_causes(span: _Span, expected: Array, observed: Array, noise: float) -> tuple[Cause, ...]:
    """What Keras may compute between two layers."""
    expected, observed, values = _samples(expected), _samples(observed), _samples(span.values)
    if apart(expected, compute_operations(span.ours, values)) > READS:
        remedy = "compare the two line by line"
        what = "something else stood there, of which this tool knows no reading"
        return (Cause(side="either", what=what, remedy=remedy),)
    hypotheses = chain_hypotheses(span.ours, span.theirs, values, first=span.first, last=span.last)
    found = rank(expected, observed, hypotheses, noise=noise)
    difference = apart(observed, expected)
    if not found or not explains(found[0], difference):
        hypotheses = double_hypotheses(span.ours, span.theirs, values)
        more = rank(expected, observed, hypotheses, noise=noise)
        found = best_causes((*found, *more), difference)
    return found


def _layer_causes(
    bench: _Bench, pair: LayerPair, ours: Weights, theirs: Weights
) -> tuple[Cause, ...]:
    """What Keras may compute in a layer whose input agrees."""
    inputs = _samples(ours[f"{pair.name}.input"])
    expected = _samples(ours[f"{pair.name}.output"])
    observed = _samples(theirs[f"{pair.name}.output"])
    weights = {s: bench.weights[f"{pair.name}.{s}"].astype(np.float64) for s in pair.torch.shapes}
    hypotheses = layer_hypotheses(pair.torch, pair.tensorflow, inputs, weights)
    noise = TOLERANCES["layers", bench.precision].bound
    found = rank(expected, observed, hypotheses, noise=noise)
    if found and explains(found[0], apart(observed, expected)):
        return found
    held = bench.sides["tensorflow"].weights()
    other = {s: held[f"{pair.name}.{s}"].astype(np.float64) for s in pair.tensorflow.shapes}
    hypotheses.append(
        Hypothesis(
            what=f"{pair.torch.title} had other weights",
            remedy="load PyTorch's, or leave --copy-weights at auto",
            compute=lambda: compute_layer(pair.torch, inputs, other),
        )
    )
    return rank(expected, observed, hypotheses, noise=noise)


def _logits(bench: _Bench, *, follows: bool) -> tuple[RungResult, bool]:
    """What the models return; and whether losses of the two can be compared.

    Args:
        bench: The two models.
        follows: Whether a layer parted before.
    """
    tolerance = TOLERANCES["logits", bench.precision]
    ours, theirs = bench.values
    distance = apart(ours["output"], theirs["output"])
    holds = distance <= tolerance.bound
    where = ""
    causes: tuple[Cause, ...] = ()
    if not holds and follows:
        where = "the layers above"
    elif not holds:
        last = bench.pairs[-1]
        span = _Span(
            ours=bench.facts["torch"].after,
            theirs=bench.facts["tensorflow"].after,
            values=ours[f"{last.name}.output"],
            last=True,
        )
        where = f"the way from {last.label} to the output{_span_words(span)}"
        causes = _span_causes(span, ours["output"], theirs["output"], tolerance.bound)
    rung = RungResult(
        rung="logits",
        precision=bench.precision,
        measured=distance,
        tolerance=tolerance.bound,
        reason=tolerance.reason,
        where=where,
        causes=causes,
    )
    comparable = all(each["output"].ndim == 2 for each in bench.values)
    probable = any(_of_softmax(each["output"]) for each in bench.values)
    same_shape = ours["output"].shape == theirs["output"].shape
    return rung, comparable and (holds or (probable and same_shape))


def _of_softmax(output: Array) -> bool:
    """Whether an output is probabilities or their logarithms, whose loss is that of the logits."""
    with np.errstate(over="ignore"):
        return are_probabilities(output) or are_probabilities(np.exp(output))


# --- loss, gradients, steps -------------------------------------------------------------------


def _batch(bench: _Bench) -> tuple[Array, Array]:
    """Images of unit scale, and labels for them."""
    num_classes = bench.values[0]["output"].shape[-1]
    return bench.images[:IMAGES], np.arange(IMAGES, dtype=np.int64) % num_classes


def _loss_and_gradients(bench: _Bench) -> list[RungResult]:
    images, labels = _batch(bench)
    found = bench.each(lambda side: side.gradients(images, labels))
    (loss, ours), (other, theirs) = found
    bound = TOLERANCES["loss", bench.precision]
    rungs = [
        RungResult(
            rung="loss",
            precision=bench.precision,
            measured=abs(loss - other) / max(abs(loss), 1e-30),
            tolerance=bound.bound,
            reason=f"softmax cross-entropy {loss:.4f} and {other:.4f}; {bound.reason}",
        )
    ]
    missing = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    distances = _gradient_distances(ours, theirs)
    distances |= dict.fromkeys(missing, float("inf"))
    worst, measured = _worst(distances)
    bound = TOLERANCES["gradients", bench.precision]
    rungs.append(
        RungResult(
            rung="gradients",
            precision=bench.precision,
            measured=measured,
            tolerance=bound.bound,
            reason=bound.reason,
            where="" if measured <= bound.bound else worst,
            causes=tuple(_missing_cause(name, ours) for name in missing),
        )
    )
    return rungs


def _gradient_distances(ours: Weights, theirs: Weights) -> dict[str, float]:
    """L2 distance of each gradient relative to its norm, or to a millionth of the largest one."""
    norms = {name: float(np.linalg.norm(gradient)) for name, gradient in ours.items()}
    floor = 1e-6 * max((norm for norm in norms.values() if np.isfinite(norm)), default=0.0)
    return {
        name: float(np.linalg.norm(gradient - theirs[name])) / max(norms[name], floor, 1e-30)
        for name, gradient in ours.items()
        if name in theirs and theirs[name].shape == gradient.shape
    }


def _missing_cause(name: str, ours: Weights) -> Cause:
    side = "tensorflow" if name in ours else "torch"
    remedy = "set trainable=True" if side == "tensorflow" else "set requires_grad=True"
    return Cause(side=side, what=f"{name} were frozen, or not part of the loss", remedy=remedy)


def _steps(bench: _Bench, series: list[Series]) -> RungResult:
    """Plain gradient descent, each side on its own gradients; its losses go to the series."""
    images, labels = _batch(bench)
    loss, gradients = bench.sides["torch"].gradients(images, labels)
    square = sum(float((array.astype(np.float64) ** 2).sum()) for array in gradients.values())
    rate = STEP_SIZE * loss / max(square, 1e-30)
    ours, theirs = bench.each(
        lambda side: side.model.descend(images, labels, learning_rate=rate, steps=STEPS)
    )
    distances = [abs(a - b) / max(abs(ours[0]), 1e-30) for a, b in zip(ours, theirs, strict=True)]
    bound = TOLERANCES["update", bench.precision]
    worst = float(np.max(distances))
    series.append(
        Series(
            name=f"plain {bench.precision}",
            losses={"torch": ours, "tensorflow": theirs},
            controls={},
        )
    )
    return RungResult(
        rung="steps",
        precision=bench.precision,
        measured=worst,
        tolerance=bound.bound,
        reason=f"{STEPS} plain steps at learning rate {rate:.2g}, losses "
        f"{ours[0]:.4f} to {ours[-1]:.4f}; {bound.reason}",
        where="" if worst <= bound.bound else f"step {int(np.argmax(distances))}",
    )
