"""Recipes: what is refused, what JSON keeps, and the learning rate at every step."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import recipes

from alexnet_impl.errors import AlexNetError, RecipeError, UnknownNameError
from alexnet_impl.recipe.named import RECIPES, get_recipe
from alexnet_impl.recipe.recipe import Recipe, learning_rate_at, total_steps

pytestmark = pytest.mark.fast

PEAK = 0.5  # a power of two: float32 keeps its products with other such numbers exact


def rates(num_steps, **values):
    recipe = Recipe(learning_rate=PEAK, **values)
    return [learning_rate_at(recipe, step, num_steps) for step in range(num_steps)]


@settings(max_examples=25)
@given(recipes())
def test_recipe_comes_back_from_json_as_it_was(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_recipe_to_dict_has_every_field():
    assert list(Recipe().to_dict()) == [field.name for field in fields(Recipe)]


def test_recipe_cannot_be_changed():
    with pytest.raises(AttributeError):
        Recipe().epochs = 2


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipe_is_found_by_its_name(name):
    assert get_recipe(name) is RECIPES[name]


def test_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Unknown recipe 'speedrnu'.*'speedrun'"):
        get_recipe("speedrnu")


@pytest.mark.parametrize(
    ("name", "near"), [("learning_rat", "learning_rate"), ("batch_size", "global_batch_size")]
)
def test_recipe_refuses_an_unknown_field_with_the_nearest(name, near):
    with pytest.raises(UnknownNameError, match=f"Unknown recipe field '{name}'.*'{near}'"):
        Recipe.from_dict({name: 1})


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("optimizer", "sdg", "sgd"),
        ("schedule", "onecycle", "one-cycle"),
        ("initializer", "torch", "torch-default"),
        ("input_scaling", "cifar", "cifar10"),
        ("precision", "bfloat", "bfloat16"),
        ("memory_layout", "channels_last", "channels-last"),
        ("compile_mode", "compile", "compiled"),
        ("weight_decay_on", "kernel", "kernels"),
    ],
)
def test_recipe_refuses_an_unknown_choice_with_the_nearest(name, value, near):
    with pytest.raises(UnknownNameError, match=f"Unknown {name} '{value}'.*'{near}'"):
        Recipe(**{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate=-0.1 must be at least 0."),
        ({"learning_rate": 1e39}, "learning_rate=1e+39 must be at most 3e+38."),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001 must be at least 0."),
        ({"epochs": 0}, "epochs=0 must be at least 1."),
        ({"steps": 0}, "steps=0 must be at least 1."),
        ({"global_batch_size": 0}, "global_batch_size=0 must be at least 1."),
        ({"crop_padding": -1}, "crop_padding=-1 must be at least 0."),
        ({"input_size": 0}, "input_size=0 must be at least 1."),
        ({"last_layer_std": -0.01}, "last_layer_std=-0.01 must be at least 0."),
        ({"step_factor": -0.1}, "step_factor=-0.1 must be at least 0."),
        ({"step_factor": 1.5}, "step_factor=1.5 must be at most 1."),
        ({"seed": -1}, "seed=-1 must be at least 0."),
        ({"seed": 2**32}, "seed=4294967296 must be at most 4294967295."),
        ({"momentum": 1.0}, "momentum=1.0 must lie in [0, 1)."),
        ({"momentum": -0.1}, "momentum=-0.1 must lie in [0, 1)."),
        ({"beta1": 1.0}, "beta1=1.0 must lie in [0, 1)."),
        ({"beta2": 1.5}, "beta2=1.5 must lie in [0, 1)."),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0 must lie in [0, 1)."),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0 must lie in [0, 1)."),
        ({"warmup": -0.2}, "warmup=-0.2 must lie in [0, 1)."),
        ({"epsilon": 0.0}, "epsilon=0.0 must be above 0."),
        ({"clip_norm": 0.0}, "clip_norm=0.0 must be above 0."),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 must be above 0."),
        ({"learning_rate": math.nan}, "learning_rate=nan must be a finite number."),
        ({"weight_decay": math.inf}, "weight_decay=inf must be a finite number."),
        ({"step_at": (0.5, 1.0)}, "step_at=(0.5, 1.0) must be fractions between 0 and 1."),
        ({"step_at": (0.0,)}, "step_at=(0.0,) must be fractions between 0 and 1."),
        ({"step_at": (math.nan,)}, "step_at=(nan,) must be fractions between 0 and 1."),
        (
            {"alternate_flips": True},
            "alternate_flips=True needs flip=True, since it decides which epochs flip.",
        ),
        ({"steps_per_call": 0}, "steps_per_call=0 must be at least 1."),
        (
            {"steps_per_call": 2, "dropout_masks": "shared"},
            "steps_per_call=2 needs dropout_masks=framework: the host draws shared masks' keys.",
        ),
        (
            {"nesterov": True, "optimizer": "adam"},
            "nesterov=True needs momentum of sgd, sgdw or muon, not adam with momentum=0.9.",
        ),
        (
            {"nesterov": True, "momentum": 0.0},
            "nesterov=True needs momentum of sgd, sgdw or muon, not sgd with momentum=0.0.",
        ),
        ({"learning_rate": "0.1"}, "learning_rate='0.1': expected float, got str."),
        ({"learning_rate": True}, "learning_rate=True: expected float, got bool."),
        ({"epochs": 1.5}, "epochs=1.5: expected int, got float."),
        ({"epochs": True}, "epochs=True: expected int, got bool."),
        ({"flip": 1}, "flip=1: expected bool, got int."),
        ({"steps": "all"}, "steps='all': expected int | null, got str."),
        ({"step_at": 0.5}, "step_at=0.5: expected array, got float."),
        ({"step_at": ("x",)}, "step_at[0]='x': expected float, got str."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_recipe_refuses_what_cannot_be_followed(values, message):
    for make in (lambda: Recipe(**values), lambda: Recipe.from_dict(values)):
        with pytest.raises(RecipeError) as caught:
            make()
        assert str(caught.value) == message


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 0},
        {"momentum": 0.0},
        {"last_layer_std": 0.0},
        {"step_at": ()},
        {"step_factor": 1},
        {"seed": 2**32 - 1},
        {"warmup": 0.999},
    ],
    ids=str,
)
def test_recipe_takes_the_ends_of_each_range(values):
    assert Recipe(**values).to_dict() | values == Recipe(**values).to_dict()


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([f.name for f in fields(Recipe)]), st.integers(-9, 9)))
def test_recipe_of_any_numbers_is_valid_or_refused_in_words(values):
    try:
        recipe = Recipe.from_dict(values)
    except AlexNetError as error:
        assert any(name in str(error) for name in values)  # noqa: PT017 - both outcomes are fine
    else:
        assert recipe == Recipe(**values)


@pytest.mark.parametrize(
    ("values", "batches_per_epoch", "expected"),
    [({"epochs": 3}, 7, 21), ({"epochs": 3, "steps": 10}, 7, 10), ({"steps": 100}, 7, 100)],
    ids=["epochs", "fewer steps than the epochs have", "more steps than the epochs have"],
)
def test_total_steps_are_the_epochs_batches_unless_steps_are_given(
    values, batches_per_epoch, expected
):
    assert total_steps(Recipe(**values), batches_per_epoch) == expected


@settings(max_examples=25)
@given(recipes(), st.integers(1, 1000), st.data())
def test_learning_rate_is_exact_in_float32_and_never_above_the_highest(recipe, num_steps, data):
    step = data.draw(st.integers(0, num_steps - 1))
    rate = learning_rate_at(recipe, step, num_steps)
    assert float(np.float32(rate)) == rate
    assert 0 <= rate <= float(np.float32(recipe.learning_rate))


def test_constant_schedule_stays():
    assert rates(5) == [PEAK] * 5


def test_warmup_rises_by_equal_steps_and_reaches_the_highest_rate():
    assert rates(10, warmup=0.4) == [PEAK / 4, PEAK / 2, PEAK * 3 / 4, *[PEAK] * 7]


def test_warmup_of_less_than_a_step_is_none():
    assert rates(10, warmup=0.09) == rates(10)


def test_step_schedule_falls_at_each_fraction():
    schedule = {"schedule": "step", "step_at": (0.5, 0.75), "step_factor": 0.25}
    assert rates(8, **schedule) == [PEAK] * 4 + [PEAK / 4] * 2 + [PEAK / 16] * 2


def test_step_schedule_does_not_care_for_the_order_of_its_fractions():
    assert rates(8, schedule="step", step_at=(0.75, 0.5)) == rates(8, schedule="step")


def test_cosine_schedule_is_half_a_cosine():
    expected = [PEAK * 0.5 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert rates(16, schedule="cosine") == [float(np.float32(rate)) for rate in expected]


def test_cosine_schedule_begins_after_the_warmup():
    after = rates(20, schedule="cosine", warmup=0.2)[4:]
    assert after == pytest.approx(rates(16, schedule="cosine"))


def test_one_cycle_falls_in_a_straight_line():
    assert rates(8, schedule="one-cycle") == [PEAK * (8 - step) / 8 for step in range(8)]


def test_one_cycle_rises_for_its_warmup_and_ends_one_step_above_zero():
    """The speedrun's: up for a fifth of the steps, then down to 0."""
    cycle = rates(20, schedule="one-cycle", warmup=0.2)
    assert cycle[:4] == [PEAK / 4, PEAK / 2, PEAK * 3 / 4, PEAK]
    assert cycle[4:] == [PEAK * (20 - step) / 16 for step in range(4, 20)]
    assert cycle[-1] == PEAK / 16


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
@settings(max_examples=25)
@given(warmup=st.floats(0, 0.8), num_steps=st.integers(20, 500))
def test_falling_schedules_rise_then_fall_to_nearly_zero(schedule, warmup, num_steps):
    cycle = rates(num_steps, schedule=schedule, warmup=warmup)
    top = cycle.index(max(cycle))
    assert cycle[: top + 1] == sorted(cycle[: top + 1])
    assert cycle[top:] == sorted(cycle[top:], reverse=True)
    last_share = 1 / (num_steps * (1 - warmup))
    assert cycle[-1] <= PEAK * last_share * (1 + 1e-6)


def test_recipes_are_these():
    assert list(RECIPES) == ["quick", "explain", "report", "speedrun", "accurate"]


def test_report_recipe_has_the_numbers_of_r3():
    """R3: SGD 1e-3, momentum 0.9, batch 30, 20 epochs, pixels to [-1, 1], nothing else."""
    expected = Recipe(
        optimizer="sgd",
        learning_rate=1e-3,
        momentum=0.9,
        global_batch_size=30,
        epochs=20,
        input_scaling="symmetric",
        schedule="constant",
    )
    assert RECIPES["report"] == expected


def test_speedrun_and_accurate_have_the_numbers_that_were_measured():
    """docs/speedrun.md has what they reach: other numbers would be another claim."""
    expected = Recipe(
        optimizer="muon",
        learning_rate=0.03,
        momentum=0.9,
        nesterov=True,
        schedule="one-cycle",
        warmup=0.2,
        global_batch_size=64,
        weight_decay=1e-3,
        weight_decay_on="kernels",
        flip=True,
        alternate_flips=True,
        initializer="he-dirac",
        last_layer_std=0.01,
        precision="auto",
        eval_flip=True,
        epochs=3,
    )
    assert RECIPES["speedrun"] == expected
    longer = {"epochs": 12, "crop_padding": 2, "label_smoothing": 0.1}
    assert RECIPES["accurate"] == replace(expected, **longer)


def test_quick_recipe_validates_and_trains_in_float32():
    quick = RECIPES["quick"]
    assert quick.validation_fraction == 0.1
    assert quick.precision == "float32"
    assert replace(quick, seed=1).seed == 1
