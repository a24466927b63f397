"""Claims that come by the dozen: curves and tables, said once as they are printed."""

from collections.abc import Iterable, Iterator

from alexnet_impl.reproduction.claims.claim import PER_CLASS, Claim, Quantity

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
"""CIFAR-10's own names, in its order."""
SPANISH = dict(
    zip(
        (
            "avión",
            "auto",
            "pájaro",
            "gato",
            "ciervo",
            "perro",
            "rana",
            "caballo",
            "barco",
            "camión",
        ),
        CLASSES,
        strict=True,
    )
)


def curve(
    experiment: str, quantity: Quantity, quote: str, rows: Iterable[tuple[int, int, str]]
) -> Iterator[Claim]:
    """One claim an epoch.

    Args:
        experiment: Its id.
        quantity: Of the curve.
        quote: The printed words, with {epoch} and {printed} in their places.
        rows: Epoch, line, and the figure as it is printed.
    """
    for epoch, line, printed in rows:
        yield Claim(
            experiment=experiment,
            quantity=quantity,
            epoch=epoch,
            line=line,
            printed=printed,
            quote=quote.format(epoch=epoch, printed=printed),
        )


def progress_bar(
    experiment: str, first_line: int, columns: tuple[Quantity, ...], bars: str
) -> Iterator[Claim]:
    """Claims from Keras's progress bars, which stand in every second line.

    Args:
        experiment: Its id.
        first_line: Of the first epoch's bar.
        columns: What the figures behind the times are of.
        bars: An epoch a line: seconds, milliseconds a step, then the columns, as printed.
    """
    for epoch, bar in enumerate(bars.strip().splitlines(), start=1):
        line = first_line + 2 * (epoch - 1)
        epoch_time, step_time, *figures = bar.split()
        times: tuple[tuple[Quantity, str, str], ...] = (
            ("epoch_time", epoch_time, "s"),
            ("step_time", step_time, "ms"),
        )
        for quantity, printed, unit in times:
            yield Claim(
                experiment=experiment,
                quantity=quantity,
                epoch=epoch,
                line=line,
                printed=printed,
                unit=unit,
                quote=f"{epoch_time}s {step_time}ms/step",
            )
        for column, printed in zip(columns, figures, strict=True):
            yield Claim(
                experiment=experiment,
                quantity=column,
                epoch=epoch,
                line=line,
                printed=printed,
                quote=f"{_BAR_NAMES[column]}: {printed}",
                from_bar=not column.startswith("eval_"),
            )


def evaluation_times(experiment: str, line: int, seconds: str, step_ms: str) -> Iterator[Claim]:
    """Of Keras's progress bar over the test images.

    Args:
        experiment: Its id.
        line: Of the bar.
        seconds: Of the whole, as printed.
        step_ms: Milliseconds of a step, as printed.
    """
    times: tuple[tuple[Quantity, str, str], ...] = (
        ("evaluation_time", seconds, "s"),
        ("evaluation_step_time", step_ms, "ms"),
    )
    for quantity, printed, unit in times:
        yield Claim(
            experiment=experiment,
            quantity=quantity,
            line=line,
            printed=printed,
            unit=unit,
            quote=f"{seconds}s {step_ms}ms/step",
        )


_BAR_NAMES: dict[Quantity, str] = {
    "train_top1_accuracy": "accuracy",
    "loss": "loss",
    "eval_top1_accuracy": "val_accuracy",
    "eval_loss": "val_loss",
}
"""Keras averages again what it shows while batches pass; validation is shown once."""


def classification_report(experiment: str, first_line: int, rows: str) -> Iterator[Claim]:
    """Precision, recall and F1 of every row of scikit-learn's table, a line each.

    Args:
        experiment: Its id.
        first_line: Of the first row.
        rows: The rows as printed, without the support.
    """
    for place, row in enumerate(rows.strip().splitlines()):
        *words, precision, recall, f1 = row.split()
        name = " ".join(words)
        for quantity, printed in zip(PER_CLASS, (precision, recall, f1), strict=True):
            yield Claim(
                experiment=experiment,
                quantity=quantity,
                of=SPANISH.get(name, name),
                line=first_line + place,
                printed=printed,
                quote=f"{name} {precision} {recall} {f1}",
            )
