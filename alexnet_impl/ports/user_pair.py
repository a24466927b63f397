"""Compares a user's PyTorch model with its Keras port: all checks, in order.

Checks that need equal layers are left out if the layers differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from alexnet_impl.errors import AlexNetError
from alexnet_impl.frameworks import FRAMEWORKS, FrameworkName, get_framework
from alexnet_impl.frameworks.user_model import UserModel
from alexnet_impl.parity.record import CheckResult, ParityRecord, Series
from alexnet_impl.ports.forward_checks import (
    compare_layers,
    compare_logits,
    fall_back,
    is_rounding,
    settle_precision,
)
from alexnet_impl.ports.layer_differences import layer_differences
from alexnet_impl.ports.minimal_pair import PairDraft, minimal_pair
from alexnet_impl.ports.model_workers import ModelWorkers
from alexnet_impl.ports.preprocessing_checks import compare_preprocessing
from alexnet_impl.ports.request import PairRequest, parse_names, request_values
from alexnet_impl.ports.session import PairSession, open_session
from alexnet_impl.ports.training_checks import compare_gradients, compare_steps
from alexnet_impl.ports.training_steps import compare_training
from alexnet_impl.ports.weight_checks import compare_architectures, compare_weights


def compare_pair(
    request: PairRequest,
    interpreters: Mapping[str, str] | None = None,
    announce: Callable[[CheckResult], None] = lambda _: None,
    on_mismatch: Callable[[PairDraft], None] | None = None,
) -> ParityRecord:
    """Compare a user's two models, each in its own process.

    Args:
        request: The two models.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Called with each check as soon as it is measured.
        on_mismatch: See compare_models().

    Raises:
        ParityError: If the models cannot be paired.
        RunError: If one of them cannot be built or run.
    """
    with ModelWorkers(interpreters) as workers:
        return compare_given(request, {}, workers, announce=announce, on_mismatch=on_mismatch)


def compare_given(
    request: PairRequest,
    objects: Mapping[FrameworkName, Any],
    workers: ModelWorkers,
    *,
    path: Sequence[str] = (),
    announce: Callable[[CheckResult], None] = lambda _: None,
    on_mismatch: Callable[[PairDraft], None] | None = None,
) -> ParityRecord:
    """Compare two models: objects in this process, and the request's functions in workers.

    Args:
        request: The comparison; it names the functions of the models that are not objects.
        objects: Framework to a model of the user's own, which leaves as it came.
        workers: Where the other models are built.
        path: Folders beside the current one that their modules are imported from.
        announce: Called with each check as soon as it is measured.
        on_mismatch: See compare_models().

    Raises:
        ParityError: If the models cannot be paired.
        FrameworkError: If an object is no model of its framework, or does not run.
        RunError: If a model cannot be built or run in its worker.
    """
    parse_names(request.names)  # before seconds are spent
    named = [name for name in FRAMEWORKS if name not in objects]
    with ExitStack() as stack, ThreadPoolExecutor(len(FRAMEWORKS)) as pool:
        for name in named:
            workers.start(name)
        opened = {
            name: pool.submit(workers.open, name, getattr(request, name), Path.cwd(), path)
            for name in named
        }
        here = {
            name: stack.enter_context(get_framework(name).borrow_model(model))
            for name, model in objects.items()
        }
        remote = {name: each.result() for name, each in opened.items()}
        first = None
        if request.preprocessing is not None:
            first = compare_preprocessing(request.preprocessing, workers, path)
            announce(first.check)
        models: dict[FrameworkName, UserModel] = {**here, **remote}
        try:
            ours, theirs = models["torch"], models["tensorflow"]
            record = compare_models(ours, theirs, request, announce, on_mismatch)
        except AlexNetError:
            raise
        except BaseException:
            workers.close()  # a worker may still be answering
            raise
    environment: dict[str, Any] = {name: get_framework(name).fingerprint("cpu") for name in here}
    environment |= {name: model.environment for name, model in remote.items()}
    if first is not None:
        record = replace(record, checks=(first.check, *record.checks), files=first.files)
    return replace(record, environment=environment)


def compare_models(
    torch: UserModel,
    tensorflow: UserModel,
    request: PairRequest,
    announce: Callable[[CheckResult], None] = lambda _: None,
    on_mismatch: Callable[[PairDraft], None] | None = None,
) -> ParityRecord:
    """Compare two models that are built already; their weights are changed.

    `on_mismatch` is called with the first place where the layers or the logits differ, as a minimal
    pair that was not run yet.
    """
    session = open_session(torch, tensorflow, request)
    checks = []
    series: list[Series] = []
    for check in _checks(session, series):
        announce(check)
        checks.append(check)
    if on_mismatch is not None and (draft := minimal_pair(session, _place(checks))) is not None:
        on_mismatch(draft)
    return ParityRecord(
        request=request_values(request),
        environment={},
        checks=tuple(checks),
        series=tuple(series),
        layers=layer_differences(session),
    )


def _place(checks: Sequence[CheckResult]) -> str:
    """The place where the layers, or otherwise the logits, first differ."""
    forward = [check for check in checks if check.name in ("layers", "logits")]
    return next((check.where for check in forward if not check.holds), "")


def _checks(session: PairSession, series: list[Series]) -> Iterator[CheckResult]:
    yield compare_architectures(session)
    yield compare_weights(session)
    settle_precision(session)
    layers = compare_layers(session)
    if is_rounding(session, layers):
        fall_back(session, "a layer of one of the models still computes in float32")
        layers = compare_layers(session)
    yield layers
    logits, alike = compare_logits(session, follows=not layers.holds)
    yield logits
    if layers.holds and alike:
        loss, gradients = compare_gradients(session)
        if is_rounding(session, gradients):
            fall_back(session, "a gradient of one of the models still computes in float32")
            loss, gradients = compare_gradients(session)
        yield loss
        yield gradients
        yield compare_steps(session, series)
        if session.request.torch_training:
            yield from compare_training(session, series)
