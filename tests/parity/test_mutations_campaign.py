"""Mistakes at random places of torchvision's networks: the place and the cause that are named."""

import gc
import re
from contextlib import suppress

import numpy as np
import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]
pytest.importorskip("torchvision")

from support.mutated_ports import MISTAKES, listed, network, port  # noqa: E402

RIGHT_PLACES, RIGHT_CAUSES = 0.99, 0.9
"""The shares of mistakes of which the place and the cause must be right."""


class SeenError(Exception):
    """Ends a comparison after the check that a mistake shows in."""


def first_failure(net, model):
    """The first check of a comparison that does not hold, or None."""
    found = []

    def announce(check):
        if not check.holds:
            found.append(check)
            raise SeenError

    with (
        get_framework("torch").borrow_model(net) as ours,
        get_framework("tensorflow").borrow_model(model) as theirs,
        suppress(SeenError),
    ):
        compare_models(ours, theirs, PairRequest(torch="ours", tensorflow="theirs"), announce)
    return found[0] if found else None


def place_of(check):
    """PyTorch's name of the layer that a check names, or of the one after the operations."""
    where = check.where.partition(" (PyTorch: ")[0]
    if check.name == "weights":
        return where.rpartition(".")[0]
    return re.search(r"(?:.* and (?:the )?|.* before |^)([\w.]+)", where)[1]


def outcome_of(net, model, build):
    """Whether the place is right, whether the cause is, and what was said."""
    check, mistake = first_failure(net, model), MISTAKES[build.mutation.kind]
    if check is None:
        return False, False, "every check holds"
    whats = [cause.what for cause in check.causes]
    is_place = check.name == mistake.stage and place_of(check) == build.place
    is_cause = bool(whats) and any(word in whats[0] for word in mistake.words)
    return is_place, is_cause, f"{check.name} at {check.where}: {'; '.join(whats) or 'no cause'}"


def test_mutations_of_torchvisions_networks_have_their_place_and_cause(request):
    """The first --mutations of tests/support/mutations.csv."""
    number = request.config.getoption("--mutations")
    results, wrong = [], []
    for name, mutations in listed(number).items():
        net = network(name)
        weights = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
        for mutation, place in mutations:
            model, build = port(name, weights, mutation)
            assert build.place == place
            is_place, is_cause, said = outcome_of(net, model, build)
            del model
            gc.collect()  # both models, in float32 and float64
            results.append((is_place, is_cause))
            if not (is_place and is_cause):
                wrong.append(f"{name}, {mutation.kind} {mutation.number} at {place}: {said}")
    places, causes = np.mean(results, axis=0)
    writer = request.config.get_terminal_writer()
    writer.line(
        f"{len(results)} mistakes: {places:.1%} of the places and {causes:.1%} of the causes right"
    )
    for line in wrong:
        writer.line(line)
    assert places >= RIGHT_PLACES, wrong
    assert causes >= RIGHT_CAUSES, wrong
