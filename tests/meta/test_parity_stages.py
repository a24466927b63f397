"""The parity stages fail at the right check and name the right cause for each classical mistake.

One framework is broken in one place, in the adapter itself where one line suffices. The check for
that place must fail, give the place, and name the cause first.
"""

from dataclasses import replace

import numpy as np
import pytest

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.network.spec import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
)
from alexnet_impl.parity import stages
from alexnet_impl.parity.lockstep import ParityCase, draw_batches, parity_recipe
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.parity.stages import (
    batch_checks,
    lockstep_checks,
    predictions_check,
    static_checks,
)
from alexnet_impl.processes.remote_trainer import LocalSide
from alexnet_impl.recipe.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

EVERYTHING = Spec(
    name="everything",
    input_shape=(3, 16, 16),
    layers=(
        Conv(name="conv1", out_channels=6, kernel_size=7, stride=4, padding=(1, 2)),
        Relu(name="relu1"),
        LocalResponseNorm(name="norm1", size=3),
        MaxPool(name="pool1", kernel_size=2, stride=1),
        Conv(name="conv2", out_channels=8, kernel_size=3, padding=(1, 1)),
        Relu(name="relu2"),
        Flatten(name="flatten"),
        Dropout(name="dropout1"),
        Dense(name="fc1", out_features=24),
        Relu(name="relu3"),
        Dropout(name="dropout2", rate=0.25),
        Dense(name="fc2", out_features=10),
    ),
)
"""A network with every part in which ports go wrong."""

SGD = Recipe(
    learning_rate=2.0**-6,
    global_batch_size=8,
    weight_decay=2.0**-7,
    precision="float64",
    compile_mode="eager",
    drop_last=False,
)
ADAM = replace(SGD, optimizer="adam", learning_rate=2.0**-9)


class BrokenSide(LocalSide):
    """A side that builds another spec, follows another recipe or draws other batches."""

    def __init__(self, name, train, *, layers=None, changes=None):
        super().__init__(name, train)
        self.layer_changes, self.recipe_changes = layers or {}, changes or {}

    def make(self, spec, recipe, weights):
        layers = tuple(
            replace(layer, **self.layer_changes.get(layer.name, {})) for layer in spec.layers
        )
        broken = replace(recipe, **self.recipe_changes)
        return super().make(replace(spec, layers=layers), broken, weights)

    def epoch_digest(self, recipe):
        return super().epoch_digest(replace(recipe, **self.recipe_changes))


@pytest.fixture(scope="module")
def dataset():
    """Coloured: the digits are grey, and a swapped channel order would not be seen."""
    return load_dataset(DataConfig(dataset="synthetic", train_images=60, test_images=20))


def make_parity_case(dataset, recipe, steps=4):
    recipe = parity_recipe(recipe, EVERYTHING)
    batches = draw_batches(dataset.train, recipe, steps)
    return ParityCase(spec=EVERYTHING, recipe=recipe, batches=batches)


def first_failure(dataset, recipe, broken="tensorflow", **break_):
    """The first check that fails in float64 with one side broken; None if all hold."""
    sides = [
        BrokenSide(name, dataset.train, **(break_ if name == broken else {}))
        for name in ("torch", "tensorflow")
    ]
    case = make_parity_case(dataset, recipe)
    for checks in (batch_checks(sides, case), static_checks(sides, case)):
        for check in checks:
            if not check.holds:
                return check
    return None


def explained(check, *words, where):
    """Whether the first cause says all of this of the side that was broken."""
    assert check is not None
    assert where in check.where
    assert check.causes, f"{check.name} fails at {check.where}, but no cause is named"
    return all(word in str(check.causes[0]) for word in ("tensorflow computes as if", *words))


@pytest.mark.parametrize("recipe", [SGD, ADAM], ids=["sgd", "adam"])
def test_an_unbroken_pair_holds(dataset, recipe):
    assert first_failure(dataset, recipe) is None


def test_fc1_permutation_left_out(monkeypatch, dataset):
    from alexnet_impl.frameworks.tensorflow import weights

    monkeypatch.setattr(weights, "flattened_kernels", lambda _: {})
    check = first_failure(dataset, SGD)
    assert check.name == "layers"
    assert explained(check, "rows of fc1 had not been permuted", where="fc1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha": 1e-4 / 3}, "alpha were divided by its window of 3"),
        ({"size": 5}, "radius were doubled"),
        ({"k": 1.0}, "k were 1"),
    ],
    ids=["alpha", "radius", "k"],
)
def test_another_local_response_norm(dataset, change, words):
    check = first_failure(dataset, SGD, layers={"norm1": change})
    assert check.name == "layers"
    assert explained(check, f"norm1's {words}", where="norm1")


@pytest.mark.parametrize("broken", ["torch", "tensorflow"])
def test_same_padding_at_stride_4_taken_as_symmetric(dataset, broken):
    check = first_failure(dataset, SGD, broken, layers={"conv1": {"padding": (2, 2)}})
    assert check.name == "layers"
    assert check.where == "conv1"
    assert str(check.causes[0]).startswith(
        f"{broken} computes as if conv1's padding were symmetric"
    )


def alter_weights(monkeypatch, alter):
    """TensorFlow's own weights are alter(name, array, 1); alter(name, array, -1) undoes it."""
    from alexnet_impl.frameworks.tensorflow import training, weights

    right = weights.from_canonical, weights.to_canonical

    def from_canonical(name, array, spec):
        return alter(name, right[0](name, array, spec), 1)

    def to_canonical(name, array, spec):
        return right[1](name, alter(name, array, -1), spec)

    for module in (weights, training):
        monkeypatch.setattr(module, "from_canonical", from_canonical)
        monkeypatch.setattr(module, "to_canonical", to_canonical)


def test_one_kernel_transposed(monkeypatch, dataset):
    def swap(name, array, _):
        return array.swapaxes(0, 1) if name == "conv2.weight" else array

    alter_weights(monkeypatch, swap)
    check = first_failure(dataset, SGD)
    assert check.name == "layers"
    assert explained(check, "conv2.weight had height and width swapped", where="conv2")


def test_channel_order_swapped(monkeypatch, dataset):
    from alexnet_impl.frameworks.tensorflow.training import InputPreprocessing

    preprocess = InputPreprocessing.__call__
    monkeypatch.setattr(
        InputPreprocessing, "__call__", lambda self, x: preprocess(self, x[..., ::-1])
    )
    check = first_failure(dataset, SGD)
    assert check.name == "preprocessing"
    assert explained(check, "blue, green, red", where="images")


def test_softmax_twice(dataset):
    check = first_failure(dataset, SGD, changes={"loss_input": "softmax-twice"})
    assert check.name == "loss"
    assert explained(check, "softmax were applied twice", where="loss")


@pytest.mark.parametrize(("factor", "words"), [(0.5, "not divided by"), (2.0, "twice")])
def test_dropout_scaled_wrongly(monkeypatch, dataset, factor, words):
    from alexnet_impl.frameworks.tensorflow.layers import SharedDropout

    call = SharedDropout.call
    monkeypatch.setattr(
        SharedDropout,
        "call",
        lambda self, x, *, training=False: (
            call(self, x, training=training) * (factor if training and self.rate == 0.5 else 1)
        ),
    )
    check = first_failure(dataset, SGD)
    assert check.name == "layers with dropout"
    assert explained(check, "dropout1", words, where="dropout1")


@pytest.mark.parametrize(
    ("recipe", "change", "words", "step"),
    [
        (ADAM, {"epsilon": 1e-7}, "epsilon were 1e-07, added after", 1),
        (ADAM, {"epsilon_formula": "keras"}, "added before the bias correction", 1),
        (SGD, {"momentum_formula": "keras"}, "other side of momentum's buffer", 1),
        (SGD, {"nesterov": True}, "momentum were Nesterov", 1),
        (SGD, {"optimizer": "sgdw"}, "weight decay were decoupled", 1),
        (ADAM, {"optimizer": "adamw"}, "weight decay were decoupled", 1),
    ],
    ids=["epsilon", "epsilon-place", "momentum", "nesterov", "decay", "adam-decay"],
)
def test_another_update(dataset, recipe, change, words, step):
    check = first_failure(dataset, recipe, changes=change)
    assert check.name == "weights' change"
    assert explained(check, words, where=f"step {step},")


def test_the_last_batch_dropped(dataset):
    check = first_failure(dataset, SGD, changes={"drop_last": True})
    assert check.name == "batches of the first epoch"
    assert explained(check, "the last, smaller batch were dropped", where="8 and 7 batches")


def test_a_break_that_no_cause_explains_is_red_without_one(dataset):
    check = first_failure(dataset, SGD, layers={"norm1": {"beta": 0.5}})
    assert check.where == "norm1"
    assert check.causes == ()


def test_biases_in_another_order(monkeypatch, dataset):
    def roll(name, array, sign):
        return np.roll(array, sign * int(name == "conv2.bias"))

    alter_weights(monkeypatch, roll)
    assert first_failure(dataset, SGD).where == "conv2"


class Kept:
    """An optimiser of Keras's own in the place of ours: it has no slots that we could read."""

    slot_names = ()

    def __init__(self, keras_optimizer):
        self.__dict__["inner"] = keras_optimizer

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __setattr__(self, name, value):
        setattr(self.inner, name, value)


def test_kerass_own_adam_is_recognised(monkeypatch, dataset):
    import keras

    from alexnet_impl.frameworks.tensorflow import training

    def own(_recipe):
        return Kept(keras.optimizers.Adam(2.0**-9, epsilon=1e-7))

    monkeypatch.setattr(training, "make_fused_optimizer", own)
    check = first_failure(dataset, replace(ADAM, weight_decay=0.0))
    assert check.name == "weights' change"
    assert any("epsilon were 1e-07, added before" in str(cause) for cause in check.causes)


class AlteredTrainer:
    """A trainer one of whose answers is altered."""

    def __init__(self, trainer, **answers):
        self.trainer, self.answers, self.steps = trainer, answers, 0

    def __getattr__(self, name):
        return getattr(self.trainer, name)

    def logits(self, images):
        return self.answers.get("logits", lambda x: x)(self.trainer.logits(images))

    def train_step(self, images, labels, learning_rate):
        self.steps += 1
        if "labels" in self.answers and self.steps > 5:
            labels = self.answers["labels"](labels)
        return self.trainer.train_step(images, labels, learning_rate)


class AlteredSide(LocalSide):
    """A side whose trainers give altered answers."""

    def __init__(self, name, train, **answers):
        super().__init__(name, train)
        self.answers = answers

    def make(self, spec, recipe, weights):
        return AlteredTrainer(super().make(spec, recipe, weights), **self.answers)


def altered_pair(dataset, **answers):
    return [LocalSide("torch", dataset.train), AlteredSide("tensorflow", dataset.train, **answers)]


def test_labels_that_slip_after_five_steps_turn_every_form_of_lockstep_red(dataset, monkeypatch):
    monkeypatch.setattr(stages, "MOST_DRAWS", 1)
    sides = altered_pair(dataset, labels=lambda labels: (labels + 1) % 10)
    case = make_parity_case(dataset, SGD, steps=10).at("float32")
    checks = [
        check
        for check in lockstep_checks(sides, case, dataset.test)
        if isinstance(check, CheckResult)
    ]
    failing = {check.name: check.where for check in checks if not check.holds}
    assert {"lockstep", "re-synchronised", "free step 10", "against control"} <= set(failing)
    assert failing["lockstep"] == failing["re-synchronised"] == "step 6"


def test_lockstep_of_an_unbroken_pair_holds(dataset):
    sides = altered_pair(dataset)
    case = make_parity_case(dataset, SGD, steps=10).at("float32")
    checks = lockstep_checks(sides, case, dataset.test)
    assert all(check.holds for check in checks if isinstance(check, CheckResult))


@pytest.mark.parametrize(
    "logits",
    [lambda x: np.roll(x, 1, axis=1), lambda x: x * np.nan],
    ids=["another class", "no numbers"],
)
def test_other_predictions(dataset, logits):
    case = make_parity_case(dataset, SGD)
    right = predictions_check(altered_pair(dataset), case, case.weights(), dataset.test)
    assert right.holds
    sides = altered_pair(dataset, logits=logits)
    check = predictions_check(sides, case, case.weights(), dataset.test)
    assert check.measured > 0.5
    assert check.where == "test image 0"


@pytest.mark.parametrize("logits", [lambda x: x + 1e-6, lambda x: x * np.nan])
def test_network_that_is_evaluated_otherwise_than_its_layers_say(dataset, logits):
    sides = altered_pair(dataset, logits=logits)
    failing = [
        check for check in static_checks(sides, make_parity_case(dataset, SGD)) if not check.holds
    ]
    assert [check.name for check in failing] == ["logits"]
