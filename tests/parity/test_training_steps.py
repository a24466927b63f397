"""The user's own training step: right ports hold for every optimizer, mistakes have their cause."""

import json

import numpy as np
import pytest

from alexnet_impl.frameworks import get_framework
from alexnet_impl.frameworks.user_training import Rule
from alexnet_impl.ports.loss_readings import loss_reading
from alexnet_impl.ports.optimizer_formulas import Optimizer
from alexnet_impl.ports.request import PairRequest, request_values
from alexnet_impl.ports.user_pair import compare_models
from alexnet_impl.testing import assert_parity

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow


def network(classes=3):
    """A PyTorch network with a batch normalisation and dropout."""
    from torch import manual_seed, nn

    manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(4, classes)),
    ).eval()


def port(classes=3):
    """Its port."""
    import keras
    from keras import layers as k

    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            *(k.Conv2D(4, 3), k.BatchNormalization(epsilon=1e-5, momentum=0.9), k.ReLU()),
            *(k.GlobalAveragePooling2D(), k.Dropout(0.2), k.Dense(classes)),
        ]
    )


def ours(optimizer="SGD", loss=("CrossEntropyLoss", {}), schedule=None, clip=0.0, **numbers):
    """PyTorch's training function."""

    def training(model):
        from torch import nn, optim

        chosen = getattr(optim, optimizer)(model.parameters(), **{"lr": 0.1} | numbers)
        if clip:

            def clip_all(*_):
                nn.utils.clip_grad_norm_(model.parameters(), clip)

            chosen.register_step_pre_hook(clip_all)
        function = getattr(nn, loss[0])(**loss[1])
        if schedule is None:
            return function, chosen
        return function, chosen, optim.lr_scheduler.StepLR(chosen, schedule, 0.5)

    return training


def theirs(optimizer="SGD", loss=("SparseCategoricalCrossentropy", {}), schedule=None, **numbers):
    """Keras's training function."""

    def training(model):
        import keras

        assert model.trainable_variables
        rate = numbers.get("learning_rate", 0.1)
        if schedule is not None:
            decay = keras.optimizers.schedules.ExponentialDecay
            rate = decay(0.1, schedule, 0.5, staircase=True)
        function = loss if isinstance(loss, str) else getattr(keras.losses, loss[0])
        if not isinstance(loss, str):
            function = function(**{"from_logits": True} | loss[1])
        return function, getattr(keras.optimizers, optimizer)(**numbers | {"learning_rate": rate})

    return training


def compared(torch_training, tensorflow_training, *, steps=4, classes=3, tolerances=()):
    """The checks of the training steps by name."""
    request = PairRequest(
        torch="t",
        tensorflow="k",
        torch_training=torch_training,
        tensorflow_training=tensorflow_training,
        training_steps=steps,
        tolerances=dict(tolerances),
    )
    with (
        get_framework("torch").borrow_model(network(classes)) as first,
        get_framework("tensorflow").borrow_model(port(classes)) as second,
    ):
        record = compare_models(first, second, request)
    return {check.name: check for check in record.checks if "training" in check.name}


SMOOTHED = {"label_smoothing": 0.1}
RIGHT = {
    "momentum": (ours(momentum=0.9), theirs(momentum=0.9)),
    "nesterov": (ours(momentum=0.9, nesterov=True), theirs(momentum=0.9, nesterov=True)),
    "adam": (ours("Adam", lr=1e-3), theirs("Adam", learning_rate=1e-3, epsilon=1e-8)),
    "amsgrad": (
        ours("Adam", lr=1e-3, amsgrad=True),
        theirs("Adam", learning_rate=1e-3, epsilon=1e-8, amsgrad=True),
    ),
    "adamw": (
        ours("AdamW", lr=1e-3, weight_decay=0.01),
        theirs("AdamW", learning_rate=1e-3, epsilon=1e-8, weight_decay=0.01),
    ),
    "rmsprop": (
        ours("RMSprop", alpha=0.9, eps=1e-7, lr=1e-3),
        theirs("RMSprop", learning_rate=1e-3),
    ),
    "rmsprop, centered": (
        ours("RMSprop", alpha=0.9, eps=1e-7, lr=1e-3, centered=True, momentum=0.9),
        theirs("RMSprop", learning_rate=1e-3, centered=True, momentum=0.9),
    ),
    "adagrad": (
        ours("Adagrad", initial_accumulator_value=0.1, eps=1e-7),
        theirs("Adagrad"),
    ),
    "clipped": (ours(clip=0.1), theirs(global_clipnorm=0.1)),
    "schedule": (ours(schedule=2), theirs(schedule=2)),
    "label smoothing": (
        ours(loss=("CrossEntropyLoss", SMOOTHED)),
        theirs(loss=("CategoricalCrossentropy", SMOOTHED)),
    ),
    "sum": (
        ours(loss=("CrossEntropyLoss", {"reduction": "sum"})),
        theirs(loss=("SparseCategoricalCrossentropy", {"reduction": "sum"})),
    ),
}
DIFFERENT = ("adam", "amsgrad", "adamw", "rmsprop", "rmsprop, centered", "adagrad", "clipped")
"""Those whose formula no argument makes equal."""


@slow
@pytest.mark.parametrize("name", RIGHT)
def test_right_training_step_holds_in_lockstep_and_freely(name):
    checks = compared(*RIGHT[name])
    assert [check.holds for check in checks.values()] == [True, True]
    assert list(checks) == ["training", "free training"]
    notes = [note for note in checks["training"].notes if note.startswith("framework difference")]
    assert len(notes) == (name in DIFFERENT)


@slow
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_float64_stays_within_1e_12_over_100_steps(name):
    checks = compared(*RIGHT[name], steps=100)
    assert all(check.holds and check.measured < 1e-12 for check in checks.values())
    assert {check.precision for check in checks.values()} == {"float64"}


MISTAKES = {
    "epsilon": (ours("Adam", lr=1e-3), theirs("Adam", learning_rate=1e-3), "epsilon were 1e-07"),
    "rho": (
        ours("RMSprop", lr=1e-3),
        theirs("RMSprop", learning_rate=1e-3, epsilon=1e-8),
        "rho (alpha in PyTorch) were 0.9, where PyTorch's is 0.99",
    ),
    "first sums": (
        ours("Adagrad"),
        theirs("Adagrad", epsilon=1e-10),
        "initial_accumulator_value were 0.1, where PyTorch's is 0",
    ),
    "momentum": (ours(momentum=0.9), theirs(), "momentum were 0, where PyTorch's is 0.9"),
    "decoupled decay": (
        ours("Adam", lr=1e-3, weight_decay=0.01),
        theirs("AdamW", learning_rate=1e-3, epsilon=1e-8, weight_decay=0.01),
        "weight_decay shrank the weights",
    ),
    "no clipping": (ours(clip=0.1), theirs(), "global_clipnorm were 0, where PyTorch's is 0.1"),
    "clipping": (ours(), theirs(clipnorm=0.1), "clipnorm were 0.1, where PyTorch's is 0"),
    "optimizer": (ours(), theirs("Adam"), "the optimizer were adam, where PyTorch's is sgd"),
    "schedule": (ours(schedule=3), theirs(schedule=2), "the learning rate of step 3 were 0.05"),
    "sum for mean": (
        ours(loss=("CrossEntropyLoss", {"reduction": "sum"})),
        theirs(),
        "the loss were the mean of the softmax cross-entropy, where PyTorch's is the sum",
    ),
    "no smoothing": (
        ours(loss=("CrossEntropyLoss", SMOOTHED)),
        theirs(),
        "where PyTorch's is the mean of the softmax cross-entropy with label smoothing 0.1",
    ),
    "probabilities": (
        ours(),
        theirs(loss=("SparseCategoricalCrossentropy", {"from_logits": False})),
        "from_logits=False",
    ),
}


@slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_a_training_step_has_its_cause(name):
    first, second, words = MISTAKES[name]
    (check,) = compared(first, second).values()
    assert not check.holds
    assert words in check.causes[0].what


@slow
def test_target_that_is_broadcast_is_pytorchs_and_said():
    with pytest.warns(UserWarning, match="target size"):
        (check,) = compared(ours(loss=("MSELoss", {})), theirs(loss="mse"), classes=1).values()
    assert check.where == "the loss of step 1"
    assert "(batch, 1) against (batch,)" in check.causes[0].what


@slow
def test_compiled_model_needs_no_function():
    import keras

    model = port()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    record = assert_parity(network(), model, torch_training=ours(), training_steps=2)
    assert [check.name for check in record.checks][-2:] == ["training", "free training"]
    assert json.dumps(dict(record.request))  # a function is kept by its name
    with pytest.raises(AssertionError, match=r"momentum were 0, where PyTorch's is 0\.9"):
        assert_parity(network(), model, torch_training=ours(momentum=0.9), training_steps=2)


@slow
def test_gradient_that_one_model_lacks_is_named():
    right = theirs()

    def frozen(model):
        model.layers[0].trainable = False
        return right(model)

    (check,) = compared(ours(), frozen).values()
    assert check.where == "the gradient of 0.weight at step 1"
    assert check.causes[0].what.startswith("0.weight were frozen")


@slow
def test_bound_of_the_users_own_holds_for_its_stage_only():
    loose = {"training": 1.0, "free training": 1.0}
    for tolerances, holds in ((loose, [True, True]), ({"training": 1.0}, [True, False])):
        request = {"steps": 2, "tolerances": tolerances}
        first, second, _ = MISTAKES["epsilon"]
        assert [check.holds for check in compared(first, second, **request).values()] == holds


@slow
def test_dropout_of_an_attention_does_not_act():
    from parity.test_inputs import TOKENS, port, reader

    request = PairRequest(
        torch="t",
        tensorflow="k",
        inputs=lambda: TOKENS,
        torch_training=ours(),
        tensorflow_training=theirs(),
        training_steps=3,
    )
    with (
        get_framework("torch").borrow_model(reader()) as first,
        get_framework("tensorflow").borrow_model(port()) as second,
    ):
        checks = compare_models(first, second, request).checks[-2:]
    assert [(check.name, check.holds) for check in checks] == [
        ("training", True),
        ("free training", True),
    ]


@slow
@pytest.mark.parametrize("given", [lambda _: None, lambda _: (1, 2), lambda _: (1, 2, 3, 4)])
def test_function_that_returns_something_else_is_refused_in_one_line(given):
    from alexnet_impl.errors import FrameworkError

    with pytest.raises(FrameworkError, match="torch: the training function must return"):
        compared(given, theirs())
    with pytest.raises(FrameworkError, match="tensorflow: the training function must return"):
        compared(ours(), given)


@fast
@pytest.mark.parametrize(
    ("optimizer", "numbers", "rule"),
    [
        ("SGD", {"momentum": 0.9, "dampening": 0.1}, {"formula": "sgd"}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {"formula": "sgd"}),
        ("Adam", {"weight_decay": 0.1}, {"formula": "adam"}),
        ("AdamW", {"weight_decay": 0.1}, {"formula": "adam", "decoupled": True}),
        ("RMSprop", {"alpha": 0.9, "momentum": 0.5}, {"formula": "rmsprop", "rho": 0.9}),
        ("Adagrad", {"initial_accumulator_value": 0.1}, {"formula": "adagrad", "start": 0.1}),
    ],
)
def test_formulas_are_those_of_pytorchs_optimizers(optimizer, numbers, rule):
    import torch

    rng = np.random.default_rng(0)
    weight = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(5)))
    theirs_ = getattr(torch.optim, optimizer)([weight], lr=0.1, **numbers)
    epsilon = {"epsilon": theirs_.defaults["eps"]} if "eps" in theirs_.defaults else {}
    others = ("weight_decay", "alpha", "initial_accumulator_value")
    kept = {key: value for key, value in numbers.items() if key not in others}
    decay = numbers.get("weight_decay", 0.0)
    ours_ = Optimizer(Rule(framework="torch", decay=decay, **epsilon, **kept, **rule))
    held = {"w": weight.detach().numpy().copy()}
    for _ in range(4):
        gradient = rng.standard_normal(5)
        weight.grad = torch.from_numpy(gradient.copy())
        theirs_.step()
        held = ours_.update(held, {"w": gradient}, 0.1)
    np.testing.assert_allclose(held["w"], weight.detach().numpy(), rtol=1e-12)


@fast
def test_loss_of_a_step_is_said_in_words():
    rng = np.random.default_rng(0)
    output, labels = rng.standard_normal((4, 3)), np.array([0, 1, 2, 0])
    logs = output - np.log(np.exp(output).sum(axis=1, keepdims=True))
    losses = -logs[np.arange(4), labels]
    assert loss_reading(output, labels, losses.sum()) == "the sum of the softmax cross-entropy"
    column = output[:, :1]
    squares = (column - labels[None]) ** 2
    assert "each output and each target" in loss_reading(column, labels, squares.mean())
    assert loss_reading(output, labels, 123.0) is None


@fast
def test_functions_are_in_the_record_by_name():
    request = PairRequest(torch="t", tensorflow="k", torch_training=network)
    assert request_values(request)["torch_training"].endswith("test_training_steps:network")
