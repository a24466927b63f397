"""Checks that concern one claim each: a row names the claim, its evidence and the arithmetic.

Laws that hold for any claim are in the other modules of this folder.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN, Finding, Kind
from alexnet_impl.reproduction.checks.sizes import FLOAT32_BYTES, resized_bytes, resized_text
from alexnet_impl.reproduction.claims.claim import Claim

Outcome = tuple[Kind, str] | None
"""Kind and reason of a finding; None if the claim and its evidence agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleClaimCheck:
    """The check of one claim.

    Attributes:
        claim: Id of the claim.
        evidence: Ids of the claims it is compared with.
        compare: Returns the outcome for the claim and its evidence, in this order.
    """

    check: str
    claim: str
    evidence: tuple[str, ...] = ()
    compare: Callable[..., Outcome]


def _time_ratio(ratio: Claim, longer: Claim, cell: Claim, sentence: Claim) -> Outcome:
    """Compares 'at least n times' with the times of its own sentence, and of the cell."""
    texts = {
        time: f"{longer.text} (line {longer.line}) are {longer.value / time.value:.2f} times "
        f"{time.text} (line {time.line})"
        for time in (sentence, cell)
    }
    short = [time for time in texts if longer.value / time.value < ratio.value]
    if not short:
        return None
    if sentence in short:
        return "inconsistent", f"{ratio.says}: {'; '.join(texts[time] for time in short)}"
    reason = f"{ratio.says}: {'; '.join(texts.values())}"
    return "explained", f"{reason}: the contradiction is that of the two times"


def _precision_difference(claim: Claim, first: Claim, second: Claim) -> Outcome:
    if first.low - second.high <= claim.high and claim.low <= first.high - second.low:
        return None
    return "inconsistent", (
        f"{claim.experiment} is said to be more precise than {claim.of} by {claim.text}; "
        f"{first.text} and {second.text} differ by {first.value - second.value:.4f}"
    )


def _model_size(size: Claim, total: Claim) -> Outcome:
    """A model's size is four bytes a parameter."""
    num_bytes = FLOAT32_BYTES * total.value
    if size.low <= num_bytes <= size.high:
        return None
    text = f"{total.printed} parameters are {num_bytes / 2**20:.2f} MB, not {size.text}"
    return "inconsistent", text


def _resized_dataset(memory: Claim) -> Outcome:
    """A whole dataset, resized and held as float32, may not fit into the machine's memory."""
    size = EXPERIMENTS[memory.experiment].recipe.input_size or 0
    needed = resized_bytes(NUM_TRAIN + NUM_TEST, size)
    if needed <= memory.value:
        return None
    return "explained", (
        f"the training images take {resized_text(NUM_TRAIN, size)} and those for testing "
        f"{resized_text(NUM_TEST, size)}: {needed / 1e9:.1f} GB of {memory.text}, and the kernel "
        "is reported to have crashed"
    )


def _resized_training_part(_: Claim) -> Outcome:
    return "explained", (
        f"the training images alone take {resized_text(NUM_TRAIN, 224)}, whatever the batch size; "
        "batch by batch they take none of it"
    )


ROWS = (
    SingleClaimCheck(
        check="time_ratios",
        claim="R0-tf/time_ratio/R0-torch@320",
        evidence=(
            "R0-tf/training_time@320",
            "R0-torch/training_time@146",
            "R0-torch/training_time@320",
        ),
        compare=_time_ratio,
    ),
    SingleClaimCheck(
        check="precision_differences",
        claim="R3-torch-pretrained/precision_difference/R3-torch@755",
        evidence=(
            "R3-torch-pretrained/precision/macro avg@543",
            "R3-torch/precision/macro avg@273",
        ),
        compare=_precision_difference,
    ),
    SingleClaimCheck(
        check="model_sizes",
        claim="R2-tf-big/model_size@62",
        evidence=("R2-tf-big/num_params@62",),
        compare=_model_size,
    ),
    SingleClaimCheck(
        check="resized_datasets", claim="R0-tf/machine_memory@32", compare=_resized_dataset
    ),
    SingleClaimCheck(
        check="resized_datasets", claim="R4-tf-vgg16/conclusion@59", compare=_resized_training_part
    ),
)


def single_claims(name: str, claims: Sequence[Claim]) -> Iterator[Finding]:
    """Yields the findings of the rows with this name; a row whose claims are not there has none."""
    by_id = {claim.id: claim for claim in claims}
    for row in ROWS:
        found = [by_id[key] for key in (row.claim, *row.evidence) if key in by_id]
        if row.check != name or len(found) <= len(row.evidence):
            continue
        if (outcome := row.compare(*found)) is not None:
            kind, reason = outcome
            yield Finding(
                check=name, kind=kind, claims=(found[0],), against=tuple(found[1:]), reason=reason
            )
