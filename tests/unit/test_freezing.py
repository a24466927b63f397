import pytest

from alexnet_impl.errors import RecipeError, UnknownNameError
from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.recipe.trainable import frozen_prefix, rate_factors, trainable_layers
from alexnet_impl.training.features import cut_network, head_recipe, head_weights
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.fast

CIFAR = build_spec("cifar", width=0.125)
DROPOUT = build_spec("cifar-dropout", width=0.125)
BEFORE = build_spec("torchvision", width=0.125)
VGG, MOBILE, RESNET = (build_spec(name) for name in ("vgg16", "mobilenetv2", "resnet50"))


def learning(spec, trainable):
    """Names of the layers with weights that learn."""
    found = trainable_layers(spec, Recipe(trainable=trainable)).layers
    return [s.layer.name for s in trace(spec).layers if s.num_params and s.layer.name in found]


def test_all_layers_learn_unless_a_recipe_says_otherwise():
    everything = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "fc3"]
    assert learning(CIFAR, "all") == everything


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("head", ["fc3"]),
        ("last-1", ["fc3"]),
        ("last-3", ["fc2", "fc3"]),  # fc2, relu7, fc3
        ("last-99", learning(CIFAR, "all")),
        ("conv5, fc3", ["conv5", "fc3"]),
    ],
)
def test_layers_learn_by_name_and_by_count_from_the_end(trainable, expected):
    assert learning(CIFAR, trainable) == expected


def test_the_head_of_a_backbone_is_all_behind_it():
    assert learning(VGG, "head") == ["fc1", "fc2", "fc3"]
    assert learning(MOBILE, "head") == ["fc1"]


def test_of_a_backbone_the_last_layers_are_its_own():
    found = trainable_layers(RESNET, Recipe(trainable="last-15"))
    assert found.backbone_layers == 15
    assert learning(RESNET, "last-15") == ["backbone", "fc1", "fc2", "fc3"]


@pytest.mark.parametrize(
    ("trainable", "error", "what"),
    [
        ("fc9", UnknownNameError, "Did you mean 'fc"),
        ("last-0", RecipeError, "none of these layers has weights"),
        ("relu1", RecipeError, "none of these layers has weights"),
        ("", UnknownNameError, "layer to train"),
    ],
)
def test_a_trainable_that_means_nothing_is_refused(trainable, error, what):
    with pytest.raises(error, match=what):
        trainable_layers(CIFAR, Recipe(trainable=trainable))


def test_rate_factors_are_by_layer():
    assert rate_factors(CIFAR, Recipe(rate_factors=("fc3=10", "conv1=0.1"))) == {
        "fc3": 10.0,
        "conv1": 0.1,
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fc3", RecipeError),
        ("fc3=0", RecipeError),
        ("fc3=nan", RecipeError),
        ("fc3=ten", RecipeError),
        ("fc4=1", UnknownNameError),
    ],
)
def test_a_rate_factor_that_cannot_be_is_refused(text, error):
    with pytest.raises(error):
        rate_factors(CIFAR, Recipe(rate_factors=(text,)))


@pytest.mark.parametrize(
    ("spec", "trainable", "layer"),
    [
        (CIFAR, "head", "relu7"),
        (CIFAR, "fc1,fc2,fc3", "pool5"),  # not behind the flattening
        (CIFAR, "last-3", "relu6"),
        (DROPOUT, "head", "relu6"),  # up to the first mask
        (BEFORE, "head", "pool5"),
        (VGG, "head", "backbone"),
        (MOBILE, "head", "average"),
    ],
)
def test_a_network_is_cut_where_nothing_changes_from_epoch_to_epoch(spec, trainable, layer):
    cut = cut_network(spec, Recipe(trainable=trainable))
    assert cut.layer == layer
    steps = trace(spec).layers
    names = [step.layer.name for step in steps]
    assert cut.head.input_shape == steps[names.index(layer)].output_shape
    assert cut.head.skipped == names.index(layer) + 1
    assert trace(cut.head).output_shape == trace(spec).output_shape


@pytest.mark.parametrize("trainable", ["all", "conv1,fc3"])
def test_nothing_is_cut_off_where_the_first_layer_learns(trainable):
    assert frozen_prefix(CIFAR, Recipe(trainable=trainable)) == 0
    with pytest.raises(RecipeError, match=r"--recipe\.trainable head"):
        cut_network(CIFAR, Recipe(trainable=trainable))


def test_a_cut_holds_for_every_phase():
    recipe = Recipe(phases=("epochs=1,trainable=head", "epochs=1,trainable=conv5,fc3"))
    assert cut_network(CIFAR, recipe).layer == "relu4"


def test_the_heads_weights_are_those_behind_the_cut():
    weights = initial_weights(CIFAR, Recipe())
    cut = cut_network(CIFAR, Recipe(trainable="fc2,fc3"))
    assert list(head_weights(weights, cut)) == ["fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"]


@pytest.mark.parametrize(
    ("variant", "learning"),
    [("vgg16", {"fc1", "fc2", "fc3"}), ("mobilenetv2", {"fc1"}), ("torchvision", {"fc3"})],
)
def test_head_behind_features_learns_what_it_would_without_them(variant, learning):
    spec = build_spec(variant, input_size=64)
    recipe = Recipe(trainable="head")
    cut = cut_network(spec, recipe)
    found = trainable_layers(cut.head, head_recipe(recipe, spec, cut)).layers
    assert {name for name in found if name.startswith("fc")} == learning
