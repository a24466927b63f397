"""Comparisons of two experiments that differ in more than what the report compares."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from alexnet_impl.experiments.catalogue import EXPERIMENTS, Experiment
from alexnet_impl.experiments.claim import Claim
from alexnet_impl.experiments.claims import final_claims
from alexnet_impl.experiments.finding import Finding
from alexnet_impl.experiments.foreign import FOREIGN
from alexnet_impl.recipe import MOMENTUM_OPTIMIZERS, Recipe

_OF_MOMENTUM = ("momentum", "momentum_formula", "nesterov")
_OF_ADAM = ("beta1", "beta2", "epsilon", "epsilon_formula")


def comparisons(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Conclusions that name another experiment, with all that differs between the two."""
    for claim in claims:
        if claim.quantity != "conclusion" or not _is_known(claim.of):
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


def _is_known(name: str) -> bool:
    return name in EXPERIMENTS or name in FOREIGN


def differences(first: str, second: str) -> list[str]:
    """What two experiments differ in, as 'field: one / other'; the framework aside."""
    one, other = EXPERIMENTS.get(first), EXPERIMENTS.get(second)
    if one is None or other is None:
        pairs = zip(("network", "images"), _words(first), _words(second), strict=True)
        return [f"{what}: {a} / {b}" for what, a, b in pairs if a != b]
    found = [] if one.variant == other.variant else [f"variant: {one.variant} / {other.variant}"]
    for entry in fields(Recipe):
        values = [getattr(experiment.recipe, entry.name) for experiment in (one, other)]
        idle = all(_is_idle(experiment, entry.name) for experiment in (one, other))
        if values[0] != values[1] and not idle:
            found.append(f"{entry.name}: {values[0]} / {values[1]}")
    return found


def _words(name: str) -> tuple[str, str]:
    """Network and images of an experiment, in words."""
    if name in FOREIGN:
        return FOREIGN[name].network, FOREIGN[name].images
    experiment = EXPERIMENTS[name]
    return f"{experiment.about} ({experiment.variant})", experiment.data


def _is_idle(experiment: Experiment, name: str) -> bool:
    """Whether a field of the recipe says nothing about this experiment."""
    recipe = experiment.recipe
    if name in _OF_MOMENTUM:
        return recipe.optimizer not in MOMENTUM_OPTIMIZERS
    if name in _OF_ADAM:
        return recipe.optimizer in MOMENTUM_OPTIMIZERS
    # Upwards both filters are the same.
    return name == "resize"
