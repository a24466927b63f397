"""Parts of parity that need no framework: distances, reference, masks, changes of variants."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from support import reference as slow
from support.comparing import TINY
from support.strategies import specs

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import SpecError
from alexnet_impl.network.dropout_masks import hash32, keep_mask, mask_key
from alexnet_impl.network.spec import trace
from alexnet_impl.network.spec_json import spec_from_dict, spec_to_dict
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.parity import lockstep
from alexnet_impl.parity.lockstep import apart, divergence, l2_apart, parity_recipe, slots_apart
from alexnet_impl.parity.reference import forward
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("measure", [apart, l2_apart])
def test_distance_is_relative_and_sees_what_is_not_a_number(measure):
    one = np.array([3.0, 4.0])
    assert measure(one, one) == 0
    assert measure(one, one * 1.5) == pytest.approx(0.5)
    assert measure(one * 0, one * 0) == 0
    assert measure(one * 0, one) == math.inf
    assert math.isnan(measure(one, np.array([3.0, math.nan])))


def test_distance_of_other_shapes_is_infinite():
    assert apart(np.zeros(2), np.zeros(3)) == math.inf


def test_divergence_never_shrinks():
    assert divergence([1.0, 2.0, 3.0], [1.0, 2.5, 3.1]) == [0.0, 0.5, 0.5]


def test_optimizer_state_that_one_side_lacks_is_seen():
    state = {"optimizer.fc.weight.momentum": np.ones(3), "step": np.array(1)}
    assert slots_apart(state, state) == {"optimizer.fc.weight.momentum": 0.0}
    assert slots_apart(state, {"step": np.array(1)}) == {"optimizer.fc.weight.momentum": math.inf}


@pytest.mark.parametrize("name", VARIANTS)
def test_spec_travels_to_another_process_unchanged(name):
    spec = build_spec(name)
    assert spec_from_dict(spec_to_dict(spec)) == spec


@settings(max_examples=25)
@given(spec=specs(max_size=9, max_layers=4))
def test_fast_reference_agrees_with_the_slow_one(spec):
    weights = initial_weights(spec, Recipe(initializer="he", bias_initializer="uniform"))
    images = np.random.default_rng(0).normal(size=(2, *spec.input_shape))
    found = forward(spec, weights, images)
    values = images
    for step in trace(spec).layers:
        layer = step.layer
        own = {short: weights[f"{layer.name}.{short}"] for short in step.weight_shapes}
        values = slow.forward(layer, values, own)
        np.testing.assert_allclose(found[layer.name], values, rtol=1e-10, atol=1e-10)


def test_recipe_of_a_comparison_can_see_something():
    recipe = parity_recipe(get_recipe("report"), TINY)
    assert (recipe.initializer, recipe.dropout_masks) == ("he", "shared")
    assert recipe.schedule == "step"
    assert recipe.last_layer_std == pytest.approx(0.1 * math.sqrt(2 / 32))
    assert parity_recipe(get_recipe("quick"), TINY).schedule == "one-cycle"


def test_hash_is_one_to_one_and_masks_keep_their_share():
    values = np.arange(2**16, dtype=np.uint32)
    assert len(np.unique(hash32(values))) == len(values)
    kept = keep_mask(64, 1000, 0.25, mask_key(0, 0, 0))
    assert kept.mean() == pytest.approx(0.75, abs=0.01)


def test_masks_of_another_step_layer_or_seed_are_unrelated():
    masks = [keep_mask(32, 500, 0.5, mask_key(*who)) for who in np.ndindex(2, 2, 2)]
    for number, one in enumerate(masks):
        for other in masks[:number]:
            assert (one == other).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("base", "change", "kinds"),
    [
        ("torchvision", "no-dropout", 0),
        ("cifar", "dropout-before", 2),
        ("torchvision", "dropout-behind", 2),
    ],
)
def test_change_of_a_variant_places_dropout(base, change, kinds):
    spec = build_spec(f"{base}+{change}")
    names = [layer.name for layer in spec.layers]
    dropouts = [name for name in names if name.startswith("dropout")]
    assert len(dropouts) == kinds
    if change == "dropout-before":
        assert names[names.index("dropout1") + 1] == "fc1"
    if change == "dropout-behind":
        assert names[names.index("dropout2") - 1] == "relu7"


def test_same_padding_is_a_change_of_conv1_alone():
    plain, changed = build_spec("torchvision"), build_spec("torchvision+same-padding")
    differing = [a.name for a, b in zip(plain.layers, changed.layers, strict=True) if a != b]
    assert differing == ["conv1"]
    assert changed.layers[0].padding == (3, 4)


def test_dropouts_of_several_rates_keep_their_places():
    from alexnet_impl.network.spec_changes import dropout_before_dense

    spec = build_spec("torchvision")
    layers = tuple(
        replace(layer, rate=0.1) if layer.name == "dropout1" else layer for layer in spec.layers
    )
    with pytest.raises(SpecError, match="several rates"):
        dropout_before_dense(replace(spec, layers=layers))


CONFIG = RunConfig(
    framework="torch",
    variant="cifar",
    width=1.0,
    recipe=get_recipe("report"),
    data=DataConfig(dataset="digits"),
)


def test_weights_of_a_case_are_drawn_once(monkeypatch):
    """At full width that takes a second, and every check starts from them."""
    drawn = []
    draw = lambda *given: drawn.append(given) or {"fc": np.ones(2, np.float32)}  # noqa: E731
    monkeypatch.setattr(lockstep, "initial_weights", draw)
    case = lockstep.ParityCase(spec=build_spec("cifar"), recipe=Recipe(seed=8731), batches=())
    weights = [case.weights() for _ in range(3)]
    assert [one["fc"].tolist() for one in weights] == [[1.0, 1.0]] * 3
    assert len(drawn) == 1
