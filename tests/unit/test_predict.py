"""Evaluating a weight file on a dataset: the classes of both are matched by name."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from support import fake_framework

from alexnet_impl.cli import commands
from alexnet_impl.cli.flags import WeightsFlags
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.errors import WeightsError
from alexnet_impl.network.spec import weight_shapes
from alexnet_impl.network.variants import build_spec
from alexnet_impl.predict import Network, evaluate_network
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.matching import spec_layers
from alexnet_impl.weights.safetensors_io import write_safetensors

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _framework(monkeypatch):
    fake_framework.install(monkeypatch)


def network(*class_names):
    """A network that is always sure of its second class."""
    spec = build_spec("linear", num_classes=len(class_names))
    bias = np.zeros(len(class_names), np.float32)
    bias[1] = 100
    return Network(
        framework="torch",
        spec=spec,
        recipe=Recipe(),
        weights={"fc1.weight": np.zeros((len(class_names), 48), np.float32), "fc1.bias": bias},
        class_names=class_names,
        image_size=4,
    )


def dataset(*class_names):
    split = Split(images=np.zeros((4, 4, 4, 3), np.uint8), labels=np.array([0, 0, 0, 1]))
    return Dataset(name="a", source="", class_names=class_names, train=split, test=split)


@pytest.mark.parametrize(
    ("known", "given", "right"),
    [
        (("a", "b"), ("a", "b"), 1),
        (("a", "b"), ("b", "a"), 3),
        (("a", "b", "c"), ("b", "c"), 3),
        (("class 0", "class 1"), ("cat", "dog"), 1),
    ],
    ids=["same", "another order", "some", "unnamed"],
)
def test_labels_are_matched_by_the_names_of_classes(known, given, right):
    found = evaluate_network(network(*known), dataset(*given), "cpu")
    assert found.probabilities.shape == (4, len(known))
    assert int((found.predicted == found.labels).sum()) == right


@pytest.mark.parametrize(
    ("known", "given"),
    [(("a", "b"), ("a", "c")), (("class 0", "class 1"), ("a", "b", "c"))],
    ids=["other names", "another number"],
)
def test_images_of_other_classes_are_refused(known, given):
    with pytest.raises(WeightsError) as caught:
        evaluate_network(network(*known), dataset(*given), "cpu")
    assert str(caught.value) == (
        f"the weights know 2 classes ({', '.join(known)}), the images are of {len(given)} "
        f"({', '.join(given)}); give images of the classes that the weights were trained on."
    )


def test_weights_of_other_names_are_evaluated_by_number():
    unnamed = replace(network("a", "b"), class_names=("class 0", "class 1"))
    found = evaluate_network(unnamed, dataset("class 1", "class 0"), "cpu")
    assert (found.labels == [1, 1, 1, 0]).all()


def test_how_weights_of_other_names_were_paired_is_printed(tmp_path):
    spec = build_spec("cifar", width=1 / 64)
    names = dict(zip(spec_layers(spec), "abcdefgh", strict=True))
    arrays = {
        f"{names[name.partition('.')[0]]}.{name.partition('.')[2]}": np.zeros(shape, np.float32)
        for name, shape in weight_shapes(spec).items()
    }
    write_safetensors(path := tmp_path / "a.safetensors", arrays, {})
    console = Console(file=io.StringIO(), width=100)
    flags = WeightsFlags(variant="cifar", input_scaling="unit")
    found = commands._network(path, "torch", flags, console)  # noqa: SLF001 - what it prints
    assert [one.theirs for one in found.pairing][::2] == [f"{name}.weight" for name in "abcdefgh"]
    assert "Paired by shape and order with cifar" in console.file.getvalue()
    assert re.search(r"c\.weight .* conv3\.weight", console.file.getvalue())
