from dataclasses import replace

import numpy as np
import pytest
from support.starting import start_weights

from alexnet_impl.errors import RecipeError, UnknownNameError, WeightsError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights
from alexnet_impl.weights.metadata import WeightsInfo, save_weights
from alexnet_impl.weights.pretrained_files import (
    adopt_preprocessing,
    check_preprocessing,
    find_pretrained,
)

pytestmark = pytest.mark.fast

WIDTH = 0.0625
SPEC = build_spec("cifar", width=WIDTH, num_classes=5)
INFO = WeightsInfo(
    variant="cifar",
    num_classes=7,
    input_size=32,
    width=WIDTH,
    input_scaling="imagenet",
    resize_to=40,
)
RECIPE = Recipe(input_scaling="imagenet", seed=3)


@pytest.fixture
def given():
    """Weights of seven classes."""
    return initial_weights(build_spec("cifar", width=WIDTH, num_classes=7), Recipe(seed=1))


@pytest.fixture
def path(tmp_path, given):
    """The file that holds them."""
    save_weights(tmp_path / "weights.safetensors", given, INFO)
    return tmp_path / "weights.safetensors"


def start(path, spec=SPEC, recipe=RECIPE):
    return start_weights(str(path), spec, recipe, "torch", WIDTH)


def test_a_head_of_another_number_of_classes_begins_anew(path, given):
    found = start(path)
    fresh = initial_weights(SPEC, RECIPE)
    for name, array in found.items():
        expected = fresh if name.startswith("fc3") else given
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_layers_that_the_recipe_names_begin_anew(path, given):
    spec = build_spec("cifar", width=WIDTH, num_classes=7)
    recipe = replace(RECIPE, reset_layers=("fc2",))
    found, fresh = start(path, spec, recipe), initial_weights(spec, recipe)
    for name, array in found.items():
        expected = fresh if name.startswith("fc2") else given
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_layer_to_reset_that_is_none_is_refused(path):
    with pytest.raises(UnknownNameError, match="Did you mean 'fc3'"):
        start(path, recipe=replace(RECIPE, reset_layers=("fc4",)))


def test_weights_of_another_width_or_variant_are_refused(path):
    with pytest.raises(WeightsError, match=r"conv1.weight has shape"):
        start(path, build_spec("cifar", width=0.25))
    with pytest.raises(WeightsError, match="weights of cifar, not of cifar-dropout"):
        start(path, build_spec("cifar-dropout", width=WIDTH))


@pytest.mark.parametrize("scaling", ["symmetric", "unit", "caffe", "cifar10"])
def test_what_weights_were_not_trained_on_is_refused_with_both_ranges(path, scaling):
    with pytest.raises(RecipeError) as caught:
        start(path, recipe=replace(RECIPE, input_scaling=scaling))
    assert "trained on imagenet: values from -2.118 to 2.64" in str(caught.value)
    assert f"would feed it {scaling}: values from" in str(caught.value)
    assert "--recipe.input-scaling imagenet" in str(caught.value)


def test_a_mistake_may_be_reproduced_by_its_name(path):
    check_preprocessing(
        replace(RECIPE, input_scaling="symmetric-then-caffe"),
        find_pretrained(str(path), "cifar", 32),
    )


def test_the_preprocessing_of_images_travels_with_the_weights(path):
    found = find_pretrained(str(path), "cifar", 32)
    adopted = adopt_preprocessing(Recipe(), found)
    assert (adopted.input_scaling, adopted.resize_to) == ("imagenet", 40)


def test_a_file_that_does_not_say_what_it_reads_is_taken_as_the_recipe_says(tmp_path, given):
    path = tmp_path / "old.safetensors"
    save_weights(path, given, replace(INFO, input_scaling=None, resize_to=None))
    start(path, recipe=Recipe(input_scaling="unit"))
    found = find_pretrained(str(path), "cifar", 32)
    assert adopt_preprocessing(Recipe(), found) == Recipe()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("alexnet", "neither the name of published weights"),
        ("weights.onnx", "nor a file that ends in"),
        ("missing.pth", "there is no such file"),
    ],
)
def test_a_name_that_is_none_says_what_names_there_are(name, what):
    with pytest.raises(WeightsError, match=what):
        find_pretrained(name, "cifar", 32)


def test_a_file_that_lacks_a_weight_is_refused_and_not_filled_up(path, given):
    save_weights(path, {k: v for k, v in given.items() if k != "conv3.weight"}, INFO)
    with pytest.raises(WeightsError, match=r"conv3\.weight .* is missing"):
        start(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="truncated or damaged"):
        start(path)


@pytest.mark.parametrize(
    ("name", "variant", "framework"),
    [
        ("torchvision:IMAGENET1K_V1", "vgg16", "tensorflow"),
        ("keras:imagenet", "resnet50", "torch"),
        ("vgg16.pth", "vgg16", "tensorflow"),
    ],
)
def test_a_backbone_of_the_other_library_is_refused_before_it_is_fetched(
    monkeypatch, name, variant, framework
):
    monkeypatch.setattr(
        "alexnet_impl.weights.pretrained_files.fetch_published", lambda *_: pytest.fail("fetched")
    )
    with pytest.raises(
        WeightsError, match=f"whose {variant} is another network than {framework}'s"
    ):
        find_pretrained(name, variant, 224, framework=framework)


def test_an_alexnet_may_come_from_either_library(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "alexnet_impl.weights.pretrained_files.fetch_published", lambda *_: tmp_path / "a.pth"
    )
    for framework in ("torch", "tensorflow"):
        find_pretrained("torchvision:IMAGENET1K_V1", "torchvision", 224, framework=framework)


def test_published_weights_of_another_variant_are_refused_by_their_name(tmp_path, monkeypatch):
    monkeypatch.setattr("alexnet_impl.weights.pretrained_files.check_copy", lambda *_: None)
    path = tmp_path / "vgg16-397923af.pth"
    path.touch()
    with pytest.raises(WeightsError, match="weights of vgg16, not of torchvision"):
        find_pretrained(str(path), "torchvision", 224)
