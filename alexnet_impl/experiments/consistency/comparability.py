"""Comparisons of two experiments that differ in more than what the report compares."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from alexnet_impl.experiments.catalogue import EXPERIMENTS
from alexnet_impl.experiments.claim import Claim
from alexnet_impl.experiments.claims import final_claims
from alexnet_impl.experiments.experiment import Experiment
from alexnet_impl.experiments.finding import Finding
from alexnet_impl.recipe import MOMENTUM_OPTIMIZERS, Recipe

_OF_MOMENTUM = ("momentum", "momentum_formula", "nesterov")
_OF_ADAM = ("beta1", "beta2", "epsilon", "epsilon_formula")
_IDLE = ("resize", "reset_layers", "prefetch")
"""Upwards all but nearest are the same; a last layer of another size begins anew in any case; and
when a batch is made changes no number."""


def comparisons(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Conclusions that name another experiment, with all that differs between the two."""
    for claim in claims:
        if claim.quantity != "conclusion" or claim.of not in EXPERIMENTS:
            continue
        differing = differences(claim.experiment, claim.of)
        missing = [
            f"no accuracy of {name} is given"
            for name in (claim.experiment, claim.of)
            if not final_claims(name, "test_top1_accuracy", claims)
        ]
        if differing or missing:
            yield Finding(
                check="comparisons",
                kind="incomparable",
                claims=(claim,),
                reason=f"{claim.experiment} against {claim.of}: {'; '.join(missing + differing)}",
            )


def differences(first: str, second: str) -> list[str]:
    """What two experiments differ in, as 'field: one / other'; the framework aside."""
    one, other = EXPERIMENTS[first], EXPERIMENTS[second]
    found = [] if one.variant == other.variant else [f"variant: {one.variant} / {other.variant}"]
    if one.weights != other.weights:
        found.append(f"weights: {one.weights or 'drawn'} / {other.weights or 'drawn'}")
    for entry in fields(Recipe):
        values = [getattr(experiment.recipe, entry.name) for experiment in (one, other)]
        idle = all(_is_idle(experiment, entry.name) for experiment in (one, other))
        if values[0] != values[1] and not idle:
            found.append(f"{entry.name}: {values[0]} / {values[1]}")
    return found


def _is_idle(experiment: Experiment, name: str) -> bool:
    """Whether a field of the recipe says nothing about this experiment."""
    recipe = experiment.recipe
    if name in _OF_MOMENTUM:
        return recipe.optimizer not in MOMENTUM_OPTIMIZERS
    if name in _OF_ADAM:
        return recipe.optimizer in MOMENTUM_OPTIMIZERS
    return name in _IDLE
