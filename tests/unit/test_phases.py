import pytest

from alexnet_impl.errors import RecipeError, UnknownNameError
from alexnet_impl.recipe.phases import phase_recipes, phases, with_epochs_of_phases
from alexnet_impl.recipe.recipe import Recipe

pytestmark = pytest.mark.fast

TWO = Recipe(
    learning_rate=0.01,
    epochs=9,
    phases=("epochs=2, trainable=head", "epochs=3,learning-rate=0.001,trainable=conv5,fc1"),
)


def test_a_recipe_without_phases_is_its_own_only_phase():
    recipe = Recipe(epochs=3)
    assert phase_recipes(recipe) == (recipe,)
    (only,) = phases(recipe, 10)
    assert (only.recipe, only.first_step, only.num_steps) == (recipe, 0, 30)


def test_a_phase_has_what_it_says_and_else_what_the_recipe_says():
    first, second = phase_recipes(TWO)
    assert (first.epochs, first.learning_rate, first.trainable) == (2, 0.01, "head")
    assert (second.epochs, second.learning_rate, second.trainable) == (3, 0.001, "conv5,fc1")
    assert first.phases == second.phases == ()


def test_phases_follow_one_another():
    assert [(each.first_step, each.num_steps) for each in phases(TWO, 10)] == [(0, 20), (20, 30)]


def test_phases_survive_json():
    assert Recipe.from_dict(TWO.to_dict()) == TWO


@pytest.mark.parametrize(
    ("phase", "error", "what"),
    [
        ("epoch=2", UnknownNameError, "Did you mean 'epochs'"),
        ("2", RecipeError, "FIELD=VALUE"),
        ("epochs=two", RecipeError, "epochs=two must be of type int"),
        ("epochs=0", RecipeError, "epochs=0 must be at least 1"),
        ("learning_rate=-1", RecipeError, "learning_rate=-1"),
    ],
)
def test_a_phase_that_cannot_be_is_refused(phase, error, what):
    with pytest.raises(error, match=what):
        phase_recipes(Recipe(phases=(phase,)))


def test_phases_have_epochs_and_no_steps():
    with pytest.raises(RecipeError, match="omit it"):
        phase_recipes(Recipe(steps=5, phases=("epochs=1",)))


def test_epochs_are_the_sum_of_the_phases_unless_one_leaves_them_to_the_recipe():
    assert with_epochs_of_phases(TWO, stated=False).epochs == 5
    with pytest.raises(RecipeError, match="since the phases have their own, 5 in all"):
        with_epochs_of_phases(TWO, stated=True)
    shared = Recipe(epochs=9, phases=("epochs=2", "learning_rate=0.1"))
    for recipe in (shared, Recipe(epochs=3)):
        assert with_epochs_of_phases(recipe, stated=True) == recipe
