"""The list of `alexnet reproduce --list`: experiments, budgets, and what each report leaves out."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from alexnet_impl.network.spec import backbone_of, trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.ledger.stacked import stacked
from alexnet_impl.reproduction.catalogue.budget import BUDGETS
from alexnet_impl.reproduction.catalogue.experiment import Experiment
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TRAIN
from alexnet_impl.reproduction.claims.queries import distinct_texts, final_claims


def experiments_table(width: int) -> RenderableType:
    """Table of the experiments that `alexnet reproduce` can run, and the budgets."""
    header = ("id", "framework", "variant", "TFLOP", "published", "what it is")
    rows = [
        (
            experiment.id,
            experiment.framework,
            experiment.variant,
            _tflop_text(experiment),
            distinct_texts(final_claims(experiment.id, "test_top1_accuracy")) or numbers.MISSING,
            experiment.about,
        )
        for experiment in EXPERIMENTS.values()
    ]
    lines = [Text(f"{budget.name}: {budget.about}") for budget in BUDGETS.values()]
    return Group(stacked("", header, rows, width, unbroken=set(header[:4])), *lines)


def experiments_json() -> list[dict[str, Any]]:
    """Every experiment with what it does and assumes, for --json."""
    return [
        {
            "id": experiment.id,
            "framework": experiment.framework,
            "variant": experiment.variant,
            "about": experiment.about,
            "published": distinct_texts(final_claims(experiment.id, "test_top1_accuracy")) or None,
            "details": list(assumption_lines(experiment)),
        }
        for experiment in EXPERIMENTS.values()
    ]


def _tflop_text(experiment: Experiment) -> str:
    """The training's TFLOP; a dash for backbones, whose layers the Spec does not count."""
    if backbone_of(build_spec(experiment.variant)) is not None:
        return numbers.MISSING
    return f"{full_flops(experiment) / 1e12:,.0f}"


def assumption_lines(experiment: Experiment) -> Iterator[str]:
    """Yields what a run of this experiment does, and what is assumed beyond the report's words."""
    yield f"images: {experiment.data}"
    yield f"training: {_recipe_text(experiment)}"
    if experiment.mistake:
        yield f"mistake: {experiment.mistake}"
    if experiment.corrects:
        yield f"corrects {experiment.corrects}"
    if experiment.weights is not None:
        kept = "; its features of each image are computed once" if experiment.cache_features else ""
        yield f"starts from {experiment.weights}{kept}"
    for assumption in experiment.assumptions:
        yield f"assumed: {assumption}"


def _recipe_text(experiment: Experiment) -> str:
    """The recipe's main numbers, in words."""
    recipe = experiment.recipe
    spec = build_spec(experiment.variant, input_size=recipe.input_size)
    phases = f", in phases {' then '.join(recipe.phases)}" if recipe.phases else ""
    return (
        f"{recipe.optimizer} at {recipe.learning_rate:g}, batches of {recipe.global_batch_size}, "
        f"{num_epochs(recipe)} epochs{phases}; input of {spec.input_shape[1]} pixels, "
        f"{recipe.input_scaling}"
    )


def full_flops(experiment: Experiment) -> float:
    """Floating-point operations of the whole training without evaluation, from the Spec's MACs.

    A step's backward pass costs about twice its forward pass.
    """
    recipe = experiment.recipe
    macs = trace(build_spec(experiment.variant, input_size=recipe.input_size)).num_macs
    images = round(NUM_TRAIN * (1 - recipe.validation_fraction))
    return 2.0 * macs * (1 + 2) * images * num_epochs(recipe)
