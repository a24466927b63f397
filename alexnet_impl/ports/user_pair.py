"""Compares a user's PyTorch model with its Keras port: all checks, in order.

Checks that need equal layers are left out if the layers differ.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alexnet_impl.frameworks import FRAMEWORKS, FrameworkName
from alexnet_impl.frameworks.user_model import UserModel
from alexnet_impl.parity.record import CheckResult, ParityRecord, Series
from alexnet_impl.ports.forward_checks import (
    compare_layers,
    compare_logits,
    fall_back,
    is_rounding,
    settle_precision,
)
from alexnet_impl.ports.request import PairRequest, parse_names
from alexnet_impl.ports.session import PairSession, open_session
from alexnet_impl.ports.training_checks import compare_gradients, compare_steps
from alexnet_impl.ports.weight_checks import compare_architectures, compare_weights
from alexnet_impl.ports.worker import RemoteModel, remote_model


def compare_pair(
    request: PairRequest,
    interpreters: dict[str, str] | None = None,
    announce: Callable[[CheckResult], None] = lambda _: None,
) -> ParityRecord:
    """Compare a user's two models, each in its own process.

    Args:
        request: The two models.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Called with each check as soon as it is measured.

    Raises:
        ParityError: If the models cannot be paired.
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
    torch: UserModel,
    tensorflow: UserModel,
    request: PairRequest,
    announce: Callable[[CheckResult], None] = lambda _: None,
) -> ParityRecord:
    """Compare two models that are built already; their weights are changed."""
    session = open_session(torch, tensorflow, request)
    checks = []
    series: list[Series] = []
    for check in _checks(session, series):
        announce(check)
        checks.append(check)
    return ParityRecord(
        request=asdict(request), environment={}, checks=tuple(checks), series=tuple(series)
    )


def _checks(session: PairSession, series: list[Series]) -> Iterator[CheckResult]:
    yield compare_architectures(session)
    yield compare_weights(session)
    settle_precision(session)
    layers = compare_layers(session)
    if session.precision == "float64" and is_rounding(layers):
        fall_back(session, "a layer of one of the models still computes in float32")
        layers = compare_layers(session)
    yield layers
    logits, alike = compare_logits(session, follows=not layers.holds)
    yield logits
    if layers.holds and alike:
        yield from compare_gradients(session)
        yield compare_steps(session, series)
