"""What every error promises: one base, the received name, the nearest one."""

from dataclasses import fields

import pytest

from alexnet_impl import errors
from alexnet_impl.errors import AlexNetError, RecipeError, UnknownNameError, nearest
from alexnet_impl.recipe.recipe import Recipe

pytestmark = pytest.mark.fast

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_all_have_one_base(kind):
    assert issubclass(kind, AlexNetError)


def test_recipe_error_is_no_value_error():
    """Tyro turns a ValueError into a box of its own and exit code 2."""
    assert not issubclass(RecipeError, ValueError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torhc", "Unknown framework 'torhc'. Did you mean 'torch'? Known: torch, tensorflow."),
        ("Torch", "Unknown framework 'Torch'. Did you mean 'torch'? Known: torch, tensorflow."),
        ("xyz", "Unknown framework 'xyz'. Known: torch, tensorflow."),
        ("", "Unknown framework ''. Known: torch, tensorflow."),
    ],
    ids=["a slip", "another case", "nothing near", "empty"],
)
def test_unknown_name_offers_the_nearest_and_lists_the_known(name, message):
    error = UnknownNameError("framework", name, ("torch", "tensorflow"))
    assert str(error) == error.message == message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "learning_rate"),
        ("wd", "weight_decay"),
        ("bs", "global_batch_size"),
        ("batch-size", "global_batch_size"),
        ("learning-rat", "learning_rate"),
        ("EPOCHS", "epochs"),
        ("dropout", "dropout_masks"),
        ("q", None),
        ("zzzzzz", None),
    ],
)
def test_nearest_knows_initials_parts_and_slips(name, meant):
    assert nearest(name, [field.name for field in fields(Recipe)]) == meant


def test_suggestion_can_be_given():
    error = UnknownNameError("variant", "x", ("cifar", "torchvision"), near="torchvision")
    assert "Did you mean 'torchvision'?" in str(error)


def test_unknown_name_reads_without_the_quotes_of_a_key_error():
    with pytest.raises(KeyError, match=r"^Unknown variant 'b'\. Known: a\.$"):
        raise UnknownNameError("variant", "b", iter(["a"]))
