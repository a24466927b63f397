"""Ports that compute the same in evaluation, and something else in training."""

import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.ports.request import PairRequest
from alexnet_impl.ports.user_pair import compare_models
from alexnet_impl.report.parity.terminal import check_lines

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow


def network(dropout="Dropout2d", momentum=0.1):
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU()),
        *(getattr(nn, dropout)(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    ).eval()


def port(*, dropout="SpatialDropout2D", momentum=0.9, noise=None, dense=None, **conv):
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False, **conv),
            layers.BatchNormalization(epsilon=1e-5, momentum=momentum),
            layers.ReLU(),
            getattr(layers, dropout)(0.2),
            *([getattr(layers, noise)(0.5)] if noise else []),
            *(layers.GlobalAveragePooling2D(), layers.Dense(3, **(dense or {}))),
        ]
    )


def compared(torch, tensorflow):
    with (
        get_framework("torch").borrow_model(torch) as ours,
        get_framework("tensorflow").borrow_model(tensorflow) as theirs,
    ):
        return compare_models(ours, theirs, PairRequest(torch="ours", tensorflow="theirs"))


@slow
def test_right_port_holds_and_the_estimate_of_the_variance_is_noted():
    record = compared(network(), port())
    assert record.holds
    (note,) = record.checks[0].notes
    assert "n / (n - 1)" in note
    assert check_lines(record.checks[0])[-1] == f"    note: {note}"


L2 = {"kernel_regularizer": "l2"}
MISTAKES = {
    "default momentum": ({"momentum": 0.99}, "layer 1", "took 0.01 of the new ones"),
    "momentum copied": ({"momentum": 0.1}, "layer 1", "took 0.9 of the new ones"),
    "dropout of units": ({"dropout": "Dropout"}, "dropout before layer 6", "0.2 of whole maps"),
    "alpha dropout": ({"dropout": "AlphaDropout"}, "dropout before", "0.2 of SELU's kind"),
    "noise": ({"noise": "GaussianNoise"}, "noise before layer 6", "GaussianNoise of 0.5"),
    "noise that multiplies": ({"noise": "GaussianDropout"}, "noise before layer 6", "of 0.5"),
    "kernel penalty": (L2, "layer 0", "a term L2(l2=0.01) of the kernel of layer 0"),
    "bias penalty": ({"dense": {"bias_regularizer": "l1"}}, "layer 6", "the bias of layer 6"),
    "penalty of the outputs": (
        {"activity_regularizer": "l2"},
        "layer 0",
        "the activity of layer 0",
    ),
    "constraint": ({"kernel_constraint": "unit_norm"}, "layer 0", "were held by UnitNorm("),
    "frozen": ({"dense": {"trainable": False}}, "layer 6", "the bias of layer 6"),
}


@pytest.mark.parametrize(
    "mistake", [pytest.param(name, marks=fast if name[0] == "m" else slow) for name in MISTAKES]
)
def test_port_that_trains_differently_is_red_with_its_place(mistake):
    changes, place, words = MISTAKES[mistake]
    check = compared(network(), port(**changes)).failures[0]
    assert check.name == "architecture"
    assert check.where.startswith(place)
    assert words in check.causes[0].what


@slow
def test_mean_over_all_batches_is_no_momentum_of_keras():
    (cause,) = compared(network(momentum=None), port()).failures[0].causes
    assert "where PyTorch's take the mean over all batches" in cause.what


@slow
def test_model_in_training_mode_is_compared_in_evaluation_and_noted():
    record = compared(network().train(), port())
    assert record.holds
    assert record.checks[0].notes[0].startswith("the PyTorch model was in training mode")
