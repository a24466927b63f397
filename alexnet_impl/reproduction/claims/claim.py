"""A claim: one figure or conclusion that a report published, as printed, with its line."""

import functools
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

FILES = {
    "R0": "000_cbfffd70ce58061c.txt",
    "R1": "001_8ba6589dddb694a8.txt",
    "R2": "002_a3143bcaa6a7019d.txt",
    "R3": "003_bcbf86262f8b3394.txt",
    "R4": "004_09b705a8a93e3fd7.txt",
}
"""File name of each report's text."""

Quantity = Literal[
    "test_top1_accuracy",
    "train_top1_accuracy",
    "eval_top1_accuracy",
    "loss",
    "eval_loss",
    "test_loss",
    "precision",
    "recall",
    "f1",
    "training_time",
    "epoch_time",
    "step_time",
    "evaluation_time",
    "evaluation_step_time",
    "time_ratio",
    "precision_difference",
    "steps_taken",
    "num_params",
    "model_size",
    "machine_memory",
    "sample_prediction",
    "sample_confidence",
    "input_scaling",
    "listing",
    "conclusion",
]
"""What a claim states. `eval_*` is measured on the report's validation part; `evaluation_*` is the
time of a pass over the test images; `precision_difference` compares macro averages; `steps_taken`
is the last printed step of an epoch; `sample_*` describes one image that the report shows: the
number of its predicted class, or that class's probability. The last three are words instead of
figures; a `listing` is a line of code that the report prints."""

SCALES = {
    "": 1.0,
    "%": 0.01,
    "ms": 0.001,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "MB": 2.0**20,
    "GB": 1e9,
}
"""Factor from each printed unit to the project's: shares, seconds, bytes. Keras prints 2**20 bytes
as 1 MB."""

PER_CLASS: tuple[Quantity, ...] = ("precision", "recall", "f1")
MOST_DECIMALS, SHORT_DECIMALS = 6, 4
"""A figure with more than the first number of decimals is shown with the second number of them."""
READING_DECIMALS = 12
"""Figures that agree to this many decimals are one value; the rest is floating-point error."""
AVERAGES = ("macro avg", "weighted avg")
"""Rows of a classification report that average over the classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One published figure or conclusion; each field is a column of claims.csv.

    Attributes:
        experiment: The experiment's id, such as R3-torch; it starts with the report's name.
        quantity: What the claim states.
        line: Line of the report's text, counted from 1.
        quote: Words of that line.
        printed: The figure exactly as it stands in the quote; empty if the claim is in words.
        unit: The unit it is printed in; shares have none.
        upto: Upper end of a range, in the same unit.
        about: How far 'about' or 'above' may lie from the printed figure, in the same unit.
        epoch: The epoch that the figure belongs to; None if it describes the whole run.
        of: The class, the layer, or the second experiment of a comparison.
        says: The claim in our words, where it has no figure or spells it out; shown to readers.
        from_bar: Whether Keras's progress bar printed it: a mean of running means.
        steps: Number of steps that the figure covers, if the epoch did not end; None: all steps.
    """

    experiment: str
    quantity: Quantity
    line: int
    quote: str
    printed: str = ""
    unit: str = ""
    upto: str = ""
    about: float = 0.0
    epoch: int | None = None
    of: str = ""
    says: str = ""
    from_bar: bool = False
    steps: int | None = None

    @property
    def report(self) -> str:
        """The report's name, R0 to R4."""
        return self.experiment.partition("-")[0]

    @property
    def subject(self) -> tuple[str, str, str, int | None]:
        """Experiment, quantity, class and epoch; claims with one subject must agree."""
        return self.experiment, self.quantity, self.of, self.epoch

    @property
    def id(self) -> str:
        """Unique name of the claim: its subject and line."""
        parts = [self.experiment, self.quantity]
        parts += [self.of] if self.of else []
        parts += [f"epoch-{self.epoch}"] if self.epoch is not None else []
        parts += ["bar"] if self.from_bar else []
        return f"{'/'.join(parts)}@{self.line}"

    @property
    def quantity_words(self) -> str:
        """The quantity as words: 'test accuracy', 'epoch time'."""
        return self.quantity.replace("_", " ").replace("top1 ", "")

    @property
    def what(self) -> str:
        """The quantity with its class and epoch: 'recall of cat', 'loss, epoch 3'."""
        name = self.quantity_words
        if self.quantity in ("conclusion", "listing"):
            return name
        name += f" of {self.of}" if self.of else ""
        name += f", epoch {self.epoch}" if self.epoch is not None else ""
        return name + (f" to step {self.steps:,}" if self.steps is not None else "")

    @property
    def has_figure(self) -> bool:
        """Whether the claim has a number."""
        return bool(self.printed)

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of a printed range in the project's units; a single figure is both ends."""
        scale = SCALES[self.unit]
        return (
            float(read_number(self.printed)) * scale,
            float(read_number(self.upto or self.printed)) * scale,
        )

    @property
    def value(self) -> float:
        """The figure in the project's units; the middle of a range."""
        middle = read_number(self.printed)
        if self.upto:
            middle = (middle + read_number(self.upto)) / 2
        return float(middle) * SCALES[self.unit]

    @property
    def low(self) -> float:
        """Smallest value that rounds to the printed figure, in the project's units."""
        return (float(read_number(self.printed)) - self._leeway) * SCALES[self.unit]

    @property
    def high(self) -> float:
        """Largest value that rounds to the printed figure, in the project's units."""
        return (float(read_number(self.upto or self.printed)) + self._leeway) * SCALES[self.unit]

    @property
    def reading(self) -> tuple[float, float] | str:
        """The printed value whatever its unit: 79.22 % and 0.7922 have one reading."""
        if not self.has_figure:
            return self.says
        return round(self.low, READING_DECIMALS), round(self.high, READING_DECIMALS)

    @property
    def _leeway(self) -> float:
        exponent = read_number(self.printed).as_tuple().exponent
        return max(self.about, 0.5 * 10.0 ** (exponent if isinstance(exponent, int) else 0))

    @property
    def text(self) -> str:
        """The words, or the figure with its unit; long figures are rounded."""
        if self.says:
            return self.says
        sign = "about " if self.about else ""
        end = f"-{self.upto}" if self.upto else ""
        return f"{sign}{_short(self.printed)}{end}{' ' if self.unit else ''}{self.unit}"


def percent(share: float, decimals: int = 2) -> str:
    """A share in the form of the claims: '71.95 %'."""
    return f"{100 * share:.{decimals}f} %"


def _short(printed: str) -> str:
    """A figure printed with all digits of a float, shortened to SHORT_DECIMALS."""
    _, _, digits = printed.partition(".")
    if len(digits) <= MOST_DECIMALS or not digits.isdecimal():
        return printed
    return f"{read_number(printed):.{SHORT_DECIMALS}f}"


@functools.cache
def read_number(printed: str) -> Decimal:
    """The exact number of a printed figure; commas separate thousands."""
    return Decimal(printed.replace(",", ""))
