"""An experiment: what a report trained, as something that can be trained again.

A framework's defaults are that framework's: PyTorch's initial weights, momentum and Adam in its
experiments, Keras's in its.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from alexnet_impl.recipe.named import KERAS
from alexnet_impl.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One row of the reports' tables, as something to train.

    Attributes:
        id: Report, framework, and what sets it apart.
        about: One line on what is trained.
        variant: A key of VARIANTS.
        recipe: Every number of the training; its epochs are the report's.
        data: What the report does to the images.
        steps_per_epoch: Where the report prints them, or its figures tell them as R2's do.
        in_memory: Whether the resized images of both parts are held as float32 at once.
        weights: Published ones that it begins with; None: it is trained from scratch.
        unpermuted: Whether fc1's rows are left in PyTorch's order, as transposes alone leave them.
        cache_features: As of RunConfig: where layers are frozen and no image is augmented.
        assumptions: What the report leaves out, and what was taken for it.
        mistake: What is wrong with it; empty if it is not known for a mistake.
        corrects: The experiment whose mistake this one is without.
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
    assumptions: tuple[str, ...] = field(default=())
    mistake: str = ""
    corrects: str = ""

    @property
    def report(self) -> str:
        """R0 to R4."""
        return self.id.partition("-")[0]

    @property
    def framework(self) -> str:
        """'torch' or 'tensorflow', which the ids call tf."""
        return "tensorflow" if self.id.split("-")[1] == "tf" else "torch"


def keras_recipe(**changes: Any) -> Recipe:
    """A recipe with Keras's defaults where the report does not say otherwise."""
    return replace(KERAS, **changes)


def torch_recipe(**changes: Any) -> Recipe:
    """A recipe with PyTorch's defaults, which are Recipe's own."""
    return Recipe(**{"learning_rate": 1e-3} | changes)
