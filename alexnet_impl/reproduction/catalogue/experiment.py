"""An experiment: what a report trained, as data from which it can be trained again.

Experiments in PyTorch have PyTorch's defaults (initial weights, momentum, Adam), experiments in
Keras have Keras's.
"""

from dataclasses import dataclass, replace
from typing import Any

from alexnet_impl.recipe.named import KERAS
from alexnet_impl.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One training of a report.

    Attributes:
        id: Report, framework, and what distinguishes the experiment.
        about: One line on what is trained.
        variant: A key of VARIANTS.
        recipe: Every number of the training; its epochs are the report's.
        data: What the report does to the images.
        steps_per_epoch: Steps of an epoch, if they are printed or follow from the report's figures.
        in_memory: Whether the resized images of both parts are held as float32 at once.
        weights: Published weights that it starts from; None: it is trained from scratch.
        unpermuted: Whether fc1's rows are left in PyTorch's order, as transposes alone leave them.
        cache_features: Whether features of frozen layers are computed once, as in RunConfig.
        assumptions: What is assumed where the report says nothing.
        mistake: The experiment's known mistake; empty if there is none.
        corrects: The experiment whose mistake this one corrects.
    """

    id: str
    about: str
    variant: str
    recipe: Recipe
    data: str
    steps_per_epoch: int | None = None
    in_memory: bool = False
    weights: str | None = None
    unpermuted: bool = False
    cache_features: bool = False
    assumptions: tuple[str, ...] = ()
    mistake: str = ""
    corrects: str = ""

    @property
    def report(self) -> str:
        """The report's name, R0 to R4."""
        return self.id.partition("-")[0]

    @property
    def framework(self) -> str:
        """The framework, 'torch' or 'tensorflow' (tf in the ids)."""
        return "tensorflow" if self.id.split("-")[1] == "tf" else "torch"


def keras_recipe(**changes: Any) -> Recipe:
    """Returns a recipe with Keras's defaults and these changes."""
    return replace(KERAS, **changes)


def torch_recipe(**changes: Any) -> Recipe:
    """Returns a recipe with PyTorch's defaults, which are Recipe's own, and these changes."""
    return Recipe(**{"learning_rate": 1e-3} | changes)
