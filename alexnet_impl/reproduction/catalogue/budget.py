"""Budgets: how much of an experiment is run, all of it or less by one stated rule.

A smaller budget takes fewer images, balanced over the classes, and fewer epochs, and changes
nothing else. Learning rates are constant in every phase of an experiment, so the first epochs of a
run of one phase on all images are those of the full run.
"""

from dataclasses import dataclass, replace

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.errors import UnknownNameError
from alexnet_impl.recipe.phases import num_epochs, shorten
from alexnet_impl.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A rule that says how much of an experiment is run.

    Attributes:
        name: full, hours or minutes: the time that it takes on two cores.
        train_images: Number of training images to keep; None keeps all.
        test_images: Number of test images to keep.
        most_epochs: Maximum number of epochs; None: as many as the report.
    """

    name: str
    train_images: int | None = None
    test_images: int | None = None
    most_epochs: int | None = None

    @property
    def about(self) -> str:
        """The rule in words."""
        images = "all images"
        if self.train_images is not None:
            images = f"{self.train_images:,} training and {self.test_images:,} test images"
        epochs = "the report's epochs"
        if self.most_epochs is not None:
            epochs = f"at most {self.most_epochs} epochs"
        return f"{images}, {epochs}"

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with its epochs cut."""
        return recipe if self.most_epochs is None else shorten(recipe, self.most_epochs)

    def data(self, data: DataConfig) -> DataConfig:
        """The data with its images cut."""
        if self.train_images is None:
            return data
        return replace(data, train_images=self.train_images, test_images=self.test_images)

    def label(self, recipe: Recipe) -> str:
        """Describes what the budget cuts from the report's run; empty for a full run."""
        if self == BUDGETS["full"]:
            return ""
        epochs = num_epochs(self.recipe(recipe))
        images = "all images" if self.train_images is None else f"{self.train_images:,} images"
        return f"scaled down: {images}, {epochs} of {num_epochs(recipe)} epochs"


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(name="full"),
        Budget(name="hours", most_epochs=3),
        Budget(name="minutes", train_images=5_000, test_images=1_000, most_epochs=2),
    )
}


def get_budget(name: str) -> Budget:
    """The budget of that name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in BUDGETS:
        raise UnknownNameError("budget", name, BUDGETS)
    return BUDGETS[name]
