"""Known causes of published figures, from this project's measurements, with the page of each."""

from dataclasses import dataclass

from alexnet_impl.reproduction.claims.claim import PER_CLASS, Claim, Quantity

_ACCURACIES: tuple[Quantity, ...] = (
    *("test_top1_accuracy", "train_top1_accuracy", "eval_top1_accuracy"),
)
OUTCOMES: tuple[Quantity, ...] = (
    *_ACCURACIES,
    *("loss", "eval_loss", "test_loss"),
    *PER_CLASS,
)
"""Results of a training, which a mistake in its network or data can explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCause:
    """The cause of some claims of some experiments.

    Attributes:
        text: Why the figures are what they are; measured values in it are this project's.
        page: Path of the document that shows it, below the project's root.
        of: Conclusions that are explained, by their field `of`.
    """

    experiments: tuple[str, ...]
    text: str
    page: str
    quantities: tuple[Quantity, ...] = OUTCOMES
    of: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Text and page as shown to readers."""
        return f"{self.text} ({self.page})"

    def fits(self, claim: Claim) -> bool:
        """Whether this is a cause of the claim."""
        if claim.experiment not in self.experiments:
            return False
        if claim.quantity == "conclusion":
            return claim.of in self.of
        return claim.quantity in self.quantities


KNOWN_CAUSES = (
    KnownCause(
        experiments=("R0-tf",),
        of=("more epochs",),
        text="Adam at 1e-3 kills the network: with these settings every unit of conv5 was dead by "
        "step 45 of the first epoch; no gradient reaches the layers below any more, so further "
        "epochs teach it nothing, and ten equal probabilities cost ln 10",
        page="docs/collapse.md",
    ),
    KnownCause(
        experiments=("R0-torch",),
        of=("sample image",),
        text="a loss that stays at ln 10 is that of a network that Adam at 1e-3 has killed; with "
        "these settings one seed of ours lost 96 % of a layer within 20 steps and went on "
        "learning for 60, so whether it dies is chance",
        page="docs/collapse.md",
    ),
    KnownCause(
        experiments=("R1-tf", "R1-torch"),
        quantities=_ACCURACIES,
        of=("R1-torch",),
        text="the networks differ, so no default can be made out in the figures; in one network, "
        "switched one by one in PyTorch, Keras's initial weights changed the training loss by "
        "-0.135 and pixels in [0, 1] by +0.321; padding changed nothing measurably, nor did the "
        "framework itself: -0.15 points of accuracy [-15.49, +15.19]",
        page="docs/explain.md",
    ),
    KnownCause(
        experiments=("R3-tf", "R3-torch"),
        quantities=_ACCURACIES,
        of=("R3-torch",),
        text="initial weights and shuffling are all that differs; in another network, switched one "
        "by one in PyTorch, Keras's initial weights changed the training loss by -0.135 "
        "[-0.197, -0.072]; a buffer of 1,000 costs accuracy where images are stored class by "
        "class, which the official archive is not",
        page="docs/explain.md",
    ),
    KnownCause(
        experiments=("R2-tf-converted",),
        of=("",),
        text="in a network of ours that transposes alone had moved, 64.32 % became 9.64 %; with "
        "fc1's rows permuted it kept all of it",
        page="docs/parity.md",
    ),
    KnownCause(
        experiments=("R3-tf-vgg16",),
        quantities=("test_top1_accuracy", "test_loss"),
        of=("R3-torch-pretrained",),
        text="VGG16 is fed as its weights need it, from 0 to 255 with the mean taken off, once",
        page="docs/transfer.md",
    ),
)


def causes_of(claim: Claim) -> list[str]:
    """Texts of all known causes of a claim."""
    return [cause.words for cause in KNOWN_CAUSES if cause.fits(claim)]
