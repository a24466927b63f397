"""Evaluating a weight file on a dataset: the classes of both are matched by name."""

from dataclasses import replace

import numpy as np
import pytest
from support import fake_framework

from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.errors import WeightsError
from alexnet_impl.network.variants import build_spec
from alexnet_impl.predict import Network, evaluate_network
from alexnet_impl.recipe.recipe import Recipe

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
