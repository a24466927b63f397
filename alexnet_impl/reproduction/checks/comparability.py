"""Check of comparisons: two experiments may differ in more than the report compares."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol

from alexnet_impl.network.variants import get_variant
from alexnet_impl.recipe.phases import phase_recipes
from alexnet_impl.recipe.recipe import MOMENTUM_OPTIMIZERS, Recipe
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import final_claims


class Trained(Protocol):
    """An experiment, or the config of a run."""

    @property
    def variant(self) -> str:
        """A key of VARIANTS."""

    @property
    def weights(self) -> str | None:
        """The weights it starts from; None: drawn."""

    @property
    def recipe(self) -> Recipe:
        """Every number of the training."""


_OF_MOMENTUM = ("momentum", "momentum_formula", "nesterov")
_OF_ADAM = ("beta1", "beta2", "epsilon", "epsilon_formula")
_UNSET = {"shuffle_buffer": "a permutation", "resize_to": "no crop"}
"""Meaning of None in fields where the word none would not tell it."""
_NOT_APPLICABLE = ("resize", "reset_layers", "prefetch")
"""All methods of enlarging but nearest are the same; a last layer of another size is initialised
anew in any case; and the moment at which a batch is made changes no number."""


def comparisons(claims: Sequence[Claim]) -> Iterator[Finding]:
    """Checks conclusions that name another experiment: lists all that differs between the two."""
    for claim in claims:
        if claim.quantity != "conclusion" or claim.of not in EXPERIMENTS:
            continue
        differing = differences(EXPERIMENTS[claim.experiment], EXPERIMENTS[claim.of])
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


def differences(one: Trained, other: Trained) -> list[str]:
    """Fields in which two trainings differ, as 'field: one / other'; without the framework."""
    found = [] if one.variant == other.variant else [f"variant: {one.variant} / {other.variant}"]
    if one.weights != other.weights:
        found.append(f"weights: {one.weights or 'drawn'} / {other.weights or 'drawn'}")
    sides = (one, other)
    for entry in fields(Recipe):
        values = [_in_effect(side, entry.name) for side in sides]
        acts = not all(_is_not_applicable(side.recipe, entry.name) for side in sides)
        if values[0] != values[1] and acts:
            found.append(f"{entry.name}: {' / '.join(_words(entry.name, v) for v in values)}")
    return found


def _in_effect(side: Trained, name: str) -> Any:
    """A field's value, or the variant's own if the recipe leaves the choice to the variant."""
    value = getattr(side.recipe, name)
    if name == "input_size" and value is None:
        return get_variant(side.variant).input_size
    return value


def _words(name: str, value: Any) -> str:
    if value is None:
        return _UNSET.get(name, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _is_not_applicable(recipe: Recipe, name: str) -> bool:
    """Whether a field of the recipe changes nothing in this training."""
    has_momentum = recipe.optimizer in MOMENTUM_OPTIMIZERS
    if name == "momentum_formula" and _has_one_rate(recipe):
        return True
    if name in _OF_MOMENTUM:
        return not has_momentum
    if name in _OF_ADAM:
        return has_momentum
    return name in _NOT_APPLICABLE


def _has_one_rate(recipe: Recipe) -> bool:
    """Whether the learning rate is constant: both momentum formulas then give the same steps."""
    return all(part.schedule == "constant" and not part.warmup for part in phase_recipes(recipe))
