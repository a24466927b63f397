"""The same facts of every variant's model, read off each framework's own model."""

import numpy as np
import pytest
from hypothesis import given, settings
from support.comparing import ALL_LAYERS
from support.strategies import specs

from alexnet_impl.network.spec import Conv, Dense, Flatten, MaxPool, Relu, Spec, trace
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.parity.lockstep import apart
from alexnet_impl.parity.reference import forward
from alexnet_impl.parity.tolerances import tolerance
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

NARROW = 1 / 16


def layer_facts(framework_name, model, images):
    """Of each layer in order: (name, output shape without the batch), channels first."""
    facts = []
    if framework_name == "torch":
        import torch

        values = torch.from_numpy(images.transpose(0, 3, 1, 2))
        for name, module in model.named_children():
            values = module(values)
            facts.append((name, tuple(values.shape[1:])))
        return facts
    values = images
    for layer in model.layers:
        values = layer(values)
        _, *sizes = values.shape
        facts.append((layer.name, tuple(sizes[-1:] + sizes[:-1])))
    return facts


def num_params(framework_name, model):
    if framework_name == "torch":
        return sum(parameter.numel() for parameter in model.parameters())
    return model.count_params()


def count_kinds(framework_name, model):
    """(convolutions, max pools, dense layers), by the framework's own classes."""
    if framework_name == "torch":
        from torch import nn

        kinds, layers = (nn.Conv2d, nn.MaxPool2d, nn.Linear), list(model.modules())
    else:
        import keras

        from alexnet_impl.frameworks.tensorflow.layers import GroupedConv2D

        convolutions = (keras.layers.Conv2D, GroupedConv2D)
        kinds = (convolutions, keras.layers.MaxPooling2D, keras.layers.Dense)
        layers = model.layers
    return tuple(sum(isinstance(layer, kind) for layer in layers) for kind in kinds)


def images_for(spec, count=1):
    channels, height, width = spec.input_shape
    return np.random.default_rng(0).standard_normal((count, height, width, channels), np.float32)


def assert_model_follows_spec(framework_name, framework, spec):
    model = framework.build_model(spec)
    steps = trace(spec).layers
    expected = [(step.layer.name, step.output_shape) for step in steps]
    found = [
        fact
        for fact in layer_facts(framework_name, model, images_for(spec))
        if "." not in fact[0]  # Keras pads in a layer of its own
    ]
    assert found == expected
    assert num_params(framework_name, model) == trace(spec).num_params
    return model


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(
            name,
            marks=pytest.mark.fast if name in ("cifar", "krizhevsky2012") else pytest.mark.slow,
        )
        for name in VARIANTS
    ],
)
def test_model_has_the_specs_layers_shapes_and_total(variant, framework_name, framework):
    spec = build_spec(variant, width=NARROW)
    model = assert_model_follows_spec(framework_name, framework, spec)
    found = count_kinds(framework_name, model)
    by_spec = tuple(
        sum(isinstance(layer, kind) for layer in spec.layers) for kind in (Conv, MaxPool, Dense)
    )
    assert found == by_spec


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_model_at_full_width_has_the_published_total(variant, framework_name, framework):
    published = VARIANTS[variant].published_num_params or {
        10: trace(build_spec(variant)).num_params
    }
    for num_classes, total in published.items():
        model = framework.build_model(build_spec(variant, num_classes=num_classes))
        assert num_params(framework_name, model) == total


@pytest.mark.fast
@settings(max_examples=4)
@given(spec=specs())
def test_model_of_any_valid_spec_has_the_shapes_that_trace_says(framework_name, framework, spec):
    assert_model_follows_spec(framework_name, framework, spec)


PADDED = Conv(name="conv1", out_channels=4, kernel_size=3, stride=2, padding=(2, 1))
"""Not TensorFlow's 'same' on 7 pixels: Keras needs a padding layer of its own."""


@pytest.mark.fast
@pytest.mark.parametrize("name", ["conv1_padding", "conv1_pad", "padding"])
def test_layer_may_be_called_like_a_padding(name, framework_name, framework):
    layers = (PADDED, Relu(name=name), Flatten(name="flatten"), Dense(name="fc1", out_features=2))
    spec = Spec(name="small", input_shape=(3, 7, 7), layers=layers)
    assert_model_follows_spec(framework_name, framework, spec)


@pytest.mark.slow
def test_logits_without_a_dense_layer_are_the_map_channels_first(framework):
    layers = (PADDED, Flatten(name="flatten"), Relu(name="relu1"))
    spec = Spec(name="small", input_shape=(3, 7, 7), layers=layers)
    recipe = Recipe(initializer="he", precision="float64")
    weights = initial_weights(spec, recipe)
    trainer = framework.make_trainer(spec, recipe, weights, "cpu")
    assert_same_values(trainer.weights(), weights, 0)
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 7, 3), np.uint8)
    found = trainer.activations(images)
    expected = forward(spec, weights, found["images"])
    bound = tolerance("logits", "float64")
    assert_same_values({name: found[name] for name in expected}, expected, bound)
    assert_same_values({"relu1": trainer.logits(images)}, {"relu1": expected["relu1"]}, bound)


def assert_same_values(found, expected, bound):
    assert list(found) == list(expected)
    assert {name: apart(array, found[name]) for name, array in expected.items()} == {
        name: pytest.approx(0, abs=bound) for name in expected
    }


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "jit_compile",
    [
        pytest.param(False, marks=pytest.mark.fast, id="graph"),
        pytest.param("auto", marks=pytest.mark.slow, id="default"),
    ],
)
def test_keras_model_is_a_model_as_keras_users_know_it(tmp_path, capsys, jit_compile):
    import keras

    from alexnet_impl.frameworks.tensorflow import build_model

    model = build_model(ALL_LAYERS)
    model.summary()
    assert "conv2" in capsys.readouterr().out
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, jit_compile=jit_compile)
    images = images_for(ALL_LAYERS, 4)
    model.fit(images, np.arange(4), verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again(images), model(images))
    assert model.predict(images, verbose=0).shape == (4, 10)


@pytest.mark.fast
@pytest.mark.torch
def test_torch_model_is_a_module_as_pytorch_users_know_it():
    import torch

    from alexnet_impl.frameworks.torch import AlexNet

    model = AlexNet(build_spec("cifar", width=NARROW))
    assert isinstance(model, torch.nn.Module)
    assert model.conv1.weight.shape == (6, 3, 3, 3)
    assert list(model.state_dict())[:2] == ["conv1.weight", "conv1.bias"]
    logits = model(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 10)
