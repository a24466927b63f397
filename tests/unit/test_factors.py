"""The table of factors: each changes what it says and nothing else, and says when it cannot."""

from dataclasses import replace

import pytest

from alexnet_impl.errors import UnknownNameError
from alexnet_impl.explain.factors import (
    FACTORS,
    DatasetFacts,
    Setting,
    aligned,
    framework_defaults,
    get_factors,
    not_applicable_reason,
    switched,
)
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe import Recipe

pytestmark = pytest.mark.fast

SGD = Recipe(weight_decay=5e-4, schedule="one-cycle", steps=100, input_size=67)
ADAM = replace(SGD, optimizer="adam")
CIFAR = DatasetFacts(num_train_images=50_000, size=(32, 32))

CHANGES = {
    "initializer": {"initializer": "keras-default", "bias_initializer": "uniform"},
    "bias-initializer": {"bias_initializer": "zeros"},
    "adam-epsilon": {"epsilon": 1e-7, "epsilon_formula": "keras"},
    "momentum-formula": {"momentum_formula": "keras"},
    "padding": {"variant": "torchvision+same-padding"},
    "dropout-place": {"variant": "torchvision+dropout-behind"},
    "input-scaling": {"input_scaling": "unit"},
    "resize": {"resize": "bilinear"},
    "shuffle": {"shuffle_buffer": 1000},
    "weight-decay": {"optimizer": "adamw"},
    "from-logits": {"loss_input": "probabilities"},
    "validation-split": {"validation_fraction": 0.1, "validation_split": "last"},
    "softmax-twice": {"loss_input": "softmax-twice"},
    "last-batch": {"drop_last": True},
    "reshuffle": {"reshuffle": False},
    "precision": {"precision": "bfloat16"},
}


def plain(setting):
    return setting.recipe.to_dict() | {"variant": setting.variant}


def differences(before, after):
    """The fields of `after` that are not those of `before`."""
    old = plain(before)
    return {name: value for name, value in plain(after).items() if value != old[name]}


def aligned_setting(recipe=ADAM, variant="torchvision"):
    return aligned(Setting(variant=variant, recipe=recipe))


def reason(name, recipe=ADAM, variant="torchvision", images=CIFAR):
    return not_applicable_reason(FACTORS[name], aligned_setting(recipe, variant), images)


def test_every_factor_is_listed_by_its_own_name_with_its_readings_and_its_source():
    assert list(FACTORS) == [factor.name for factor in FACTORS.values()] == list(CHANGES)
    for factor in FACTORS.values():
        assert all([factor.what, factor.in_torch, factor.in_keras, factor.source])


@pytest.mark.parametrize("name", CHANGES)
def test_factor_changes_what_it_says_and_nothing_else(name):
    assert (
        differences(aligned_setting(), FACTORS[name].as_keras(aligned_setting())) == CHANGES[name]
    )


def test_weight_decay_of_sgd_is_decoupled_too():
    assert FACTORS["weight-decay"].as_keras(aligned_setting(SGD)).recipe.optimizer == "sgdw"


def test_a_recipe_of_pytorchs_defaults_is_aligned_already():
    base = Setting(variant="torchvision", recipe=ADAM)
    assert aligned(base) == base


def test_aligned_takes_back_every_other_reading():
    """But for AdamW, which PyTorch has as well, and 'same' padding, which no name undoes."""
    factors = [f for name, f in FACTORS.items() if name not in ("weight-decay", "padding")]
    keras = switched(aligned_setting(), factors)
    assert aligned(keras) == aligned_setting()
    sgdw = FACTORS["weight-decay"].as_keras(aligned_setting(SGD))
    assert aligned(sgdw) == aligned_setting(SGD)


def test_aligned_keeps_what_no_factor_names():
    base = Setting(variant="cifar", recipe=RECIPES["speedrun"])
    kept = {"learning_rate", "nesterov", "schedule", "optimizer", "flip", "alternate_flips"}
    assert not kept & set(differences(base, aligned(base)))
    assert aligned(base).recipe.precision == "float32"
    assert aligned(base).recipe.last_layer_std is None


def test_probabilities_are_a_mistake_as_keras_sees_through_a_softmax():
    assert FACTORS["from-logits"].kind == "mistake"
    assert framework_defaults("tensorflow", aligned_setting(), CIFAR).recipe.loss_input == "logits"


def test_keras_defaults_have_every_default_and_no_mistake_or_switch():
    comes = framework_defaults("tensorflow", aligned_setting(), CIFAR)
    expected = {}
    for name, factor in FACTORS.items():
        if factor.kind == "default" and not reason(name):
            expected |= CHANGES[name]
    expected |= {"variant": "torchvision+same-padding+dropout-behind"}
    assert differences(aligned_setting(), comes) == expected
    assert comes.recipe.bias_initializer == "zeros"


def test_pytorchs_defaults_are_the_aligned_training():
    assert framework_defaults("torch", aligned_setting(), CIFAR) == aligned_setting()


@pytest.mark.parametrize(
    ("variant", "torch", "keras"),
    [
        ("torchvision", "torchvision", "torchvision+dropout-behind"),
        ("cifar-dropout", "cifar-dropout+dropout-before", "cifar-dropout"),
        ("slim+dropout-before", "slim+dropout-before", "slim"),
        ("cifar", "cifar", "cifar"),
    ],
)
def test_dropout_moves_by_the_shortest_name(variant, torch, keras):
    found = aligned_setting(variant=variant)
    assert found.variant == torch
    assert FACTORS["dropout-place"].as_keras(found).variant == keras


@pytest.mark.parametrize(
    ("name", "recipe", "variant", "said"),
    [
        ("adam-epsilon", SGD, "torchvision", "sgd has no epsilon"),
        ("momentum-formula", ADAM, "torchvision", "adam has no momentum buffer"),
        ("momentum-formula", replace(SGD, momentum=0), "torchvision", "no momentum"),
        ("momentum-formula", replace(SGD, schedule="constant"), "torchvision", "equal while"),
        ("padding", ADAM, "cifar", "every padded convolution of cifar has this padding already"),
        ("padding", ADAM, "torchvision-same", "has this padding already"),
        ("dropout-place", ADAM, "cifar", "cifar has no dropout"),
        ("dropout-place", ADAM, "torchvision+no-dropout", "has no dropout"),
        ("resize", ADAM, "torchvision", "enlarged from 32 to 67 pixels"),
        ("resize", replace(ADAM, input_size=32), "cifar", "images are not resized"),
        ("weight-decay", replace(ADAM, weight_decay=0), "torchvision", "has no weight decay"),
        ("weight-decay", replace(ADAM, optimizer="adamw"), "torchvision", "both frameworks"),
        ("last-batch", replace(ADAM, global_batch_size=50), "torchvision", "1000 full batches"),
        ("last-batch", ADAM, "torchvision", "before the first epoch's last batch"),
        (
            "last-batch",
            replace(ADAM, global_batch_size=60_000),
            "torchvision",
            "50000 images are less than one full batch",
        ),
        ("reshuffle", ADAM, "torchvision", "one epoch only"),
    ],
)
def test_factor_that_cannot_matter_says_why(name, recipe, variant, said):
    assert said in reason(name, recipe, variant)


@pytest.mark.parametrize(
    ("name", "recipe", "variant"),
    [
        ("adam-epsilon", ADAM, "torchvision"),
        ("momentum-formula", SGD, "torchvision"),
        ("momentum-formula", replace(SGD, schedule="constant", warmup=0.1), "torchvision"),
        ("padding", ADAM, "torchvision"),
        ("resize", replace(ADAM, input_size=24), "cifar"),
        ("last-batch", replace(ADAM, steps=400), "torchvision"),
        ("reshuffle", replace(ADAM, steps=400), "torchvision"),
        ("reshuffle", replace(ADAM, steps=None, epochs=2), "torchvision"),
    ],
)
def test_factor_that_may_matter_gives_no_reason(name, recipe, variant):
    assert reason(name, recipe, variant) == ""


def test_shuffle_buffer_that_holds_all_images_cannot_matter():
    few = DatasetFacts(num_train_images=1000, size=(32, 32))
    assert reason("shuffle", images=few) == "the buffer holds all 1000 training images"
    assert reason("shuffle") == ""


def test_factor_that_leaves_everything_as_it_is_cannot_matter():
    nothing = replace(FACTORS["precision"], as_keras=lambda setting: setting)
    assert (
        not_applicable_reason(nothing, aligned_setting(), CIFAR) == "both values are the same here"
    )


def test_factors_are_found_by_name_in_the_tables_order():
    assert [f.name for f in get_factors(["padding", "initializer"])] == ["initializer", "padding"]
    assert len(get_factors([])) == len(FACTORS)


def test_unknown_factor_is_refused_with_the_nearest():
    message = "Unknown factor 'initialiser'. Did you mean 'initializer'?"
    with pytest.raises(UnknownNameError, match=message.replace("?", "\\?")):
        get_factors(["padding", "initialiser"])
