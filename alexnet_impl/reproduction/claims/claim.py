"""A claim: one figure that a report published, as it is printed, and where it stands."""

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
"""Each report's text, beside REPORTS.md."""

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
"""What a figure is of. `eval_` is the report's validation; `evaluation_` a pass over the test
images; `precision_difference` of the macro averages; `steps_taken` the last step that was printed
of an epoch; `sample_` one image that the report shows, and the number of a class or its
probability. The last three are words instead of figures; `listing` is of the code that it prints.
"""

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
"""Printed unit to the project's: shares, seconds, bytes. Keras calls 2**20 bytes a MB."""

PER_CLASS: tuple[Quantity, ...] = ("precision", "recall", "f1")
MOST_DECIMALS, SHORT_DECIMALS = 6, 4
"""A figure with more decimals is shown with so many."""
READING_DECIMALS = 12
"""Beyond them, two ways to print one value differ by the arithmetic of floats."""
AVERAGES = ("macro avg", "weighted avg")
"""Rows of a classification report that are of no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One published figure.

    Attributes:
        experiment: The id; the report is its first part.
        quantity: What the figure is of.
        line: Line of the report's text, from 1.
        quote: Words of that line.
        printed: The figure as it stands in the quote; empty for words.
        unit: The unit it is printed in; shares have none.
        upto: Upper end of a range, in the same unit.
        about: By so much, in the same unit, 'about' or 'above' may mean another value.
        epoch: Which one, of figures by epoch.
        of: The class or layer.
        says: In our words, where there is no figure or it is spelled out; a reader is shown these.
        from_bar: Read off Keras's progress bar, which prints the mean of running means.
        steps: Of an epoch that did not end: its figure is of so many steps. None: of all.
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
        """R0 to R4."""
        return self.experiment.partition("-")[0]

    @property
    def subject(self) -> tuple[str, str, str, int | None]:
        """What it speaks of: two claims with one subject must agree."""
        return self.experiment, self.quantity, self.of, self.epoch

    @property
    def id(self) -> str:
        """Names it: subject and line."""
        parts = [self.experiment, self.quantity]
        parts += [self.of] if self.of else []
        parts += [f"epoch-{self.epoch}"] if self.epoch is not None else []
        parts += ["bar"] if self.from_bar else []
        return f"{'/'.join(parts)}@{self.line}"

    @property
    def quantity_words(self) -> str:
        """'test accuracy', 'epoch time'."""
        return self.quantity.replace("_", " ").replace("top1 ", "")

    @property
    def what(self) -> str:
        """The quantity in words: 'recall of cat', 'loss, epoch 3'."""
        name = self.quantity_words
        if self.quantity in ("conclusion", "listing"):
            return name
        name += f" of {self.of}" if self.of else ""
        name += f", epoch {self.epoch}" if self.epoch is not None else ""
        return name + (f" to step {self.steps:,}" if self.steps is not None else "")

    @property
    def has_figure(self) -> bool:
        """Whether there is a number."""
        return bool(self.printed)

    @property
    def value(self) -> float:
        """The figure in the project's units; the middle of a range."""
        middle = _number(self.printed)
        if self.upto:
            middle = (middle + _number(self.upto)) / 2
        return float(middle) * SCALES[self.unit]

    @property
    def ends(self) -> tuple[float, float]:
        """The figures as they are printed, in the project's units; one is both of its ends."""
        first, last = _number(self.printed), _number(self.upto or self.printed)
        return float(first) * SCALES[self.unit], float(last) * SCALES[self.unit]

    @property
    def low(self) -> float:
        """The least that rounds to what is printed."""
        return (float(_number(self.printed)) - self._leeway) * SCALES[self.unit]

    @property
    def high(self) -> float:
        """The most that rounds to what is printed."""
        return (float(_number(self.upto or self.printed)) + self._leeway) * SCALES[self.unit]

    @property
    def reading(self) -> tuple[float, float] | str:
        """What is printed, whatever its unit: 79.22 % and 0.7922 are one reading."""
        if not self.has_figure:
            return self.says
        return round(self.low, READING_DECIMALS), round(self.high, READING_DECIMALS)

    @property
    def _leeway(self) -> float:
        return max(self.about, 0.5 * 10.0**self._exponent)

    @property
    def _exponent(self) -> int:
        exponent = _number(self.printed).as_tuple().exponent
        return exponent if isinstance(exponent, int) else 0

    @property
    def text(self) -> str:
        """The words; or the figure as a reader finds it, with its unit, long ones rounded."""
        if self.says:
            return self.says
        sign = "about " if self.about else ""
        end = f"-{self.upto}" if self.upto else ""
        return f"{sign}{_short(self.printed)}{end}{' ' if self.unit else ''}{self.unit}"


def percent(share: float, decimals: int = 2) -> str:
    """A share as the claims print it: '71.95 %'."""
    return f"{100 * share:.{decimals}f} %"


def _short(printed: str) -> str:
    """A figure that was printed with all the digits that a float has, as others print it."""
    _, _, digits = printed.partition(".")
    if len(digits) <= MOST_DECIMALS or not digits.isdecimal():
        return printed
    return f"{_number(printed):.{SHORT_DECIMALS}f}"


def _number(printed: str) -> Decimal:
    return Decimal(printed.replace(",", ""))
