"""Terminal tables of finished runs: comparison, equality checks, evaluation, predictions."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from alexnet_impl.convert import Conversion
from alexnet_impl.predict import ImagePrediction, Network
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.report.formatting import framework_label
from alexnet_impl.report.run.differences import comparison_rows, equalities, other_work_note
from alexnet_impl.report.run.groups import group_runs
from alexnet_impl.report.run.seeds import SeedComparison, SeedPair
from alexnet_impl.report.run.verdict import collapses
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import Predictions
from alexnet_impl.stats.accuracy import confusion_matrix, per_class_accuracy, top1_accuracy
from alexnet_impl.stats.paired_effects import Estimate

MAX_MATRIX_CLASSES = 20
"""With more classes, only the largest confusions are shown."""
_NUM_CONFUSIONS = 15


def predictions_table(predictions: Sequence[ImagePrediction], *, top: int) -> Table:
    """The `top` most probable classes of each image file."""
    table = _table(title="Predictions")
    table.add_column("image", style="bold", overflow="fold")
    table.add_column("class")
    table.add_column("probability", justify="right")
    for prediction in predictions:
        for place, (name, probability) in enumerate(prediction.top(top)):
            table.add_row("" if place else str(prediction.path), name, numbers.percent(probability))
    return table


def comparison_table(runs: Sequence[RunFolder]) -> Table:
    """Results of runs, one column for each group, and the difference if there are exactly two."""
    views = view_runs(runs)
    groups = group_runs(views)
    table = _table(title="Comparison" if len(views) > 1 else "Result")
    table.add_column("")
    for group in groups:
        table.add_column(Text(group.label, style=f"bold {group.colour}"), justify="right")
    if len(groups) == 2:
        table.add_column("difference", justify="right")
        labels = [group.label for group in groups]
        table.caption = f"Difference: {labels[0]} - {labels[1]}; with x: {labels[0]} / {labels[1]}."
    if note := other_work_note(views):
        table.caption = f"{table.caption}\n{note}" if table.caption else note
    for row in comparison_rows(views):
        cells = [*row.values, row.difference] if len(groups) == 2 else row.values
        table.add_row(row.what, *(Text(cell) for cell in cells))
    return table


def equality_table(runs: Sequence[RunFolder]) -> Table:
    """Table of the equality checks of runs, each with a tick, a cross or a question mark."""
    table = _table(title="Equality checks")
    for header in ("", "what", "value"):
        table.add_column(header)
    for check in equalities(view_runs(runs)):
        table.add_row(_MARKS[check.holds].copy(), check.what, Text(check.detail))
    return table


def seeds_table(found: SeedComparison) -> Table:
    """The test accuracies of both frameworks by seed, with the mean difference below."""
    table = _table(title="Test accuracy by seed")
    table.add_column("seed", justify="right")
    for label, view in zip(
        found.labels, (found.pairs[0].first, found.pairs[0].second), strict=True
    ):
        table.add_column(Text(label, style=f"bold {view.colour}"), justify="right")
    table.add_column("difference (points)", justify="right")
    table.add_column("difference of test loss", justify="right")
    for pair in found.pairs:
        shares = [one.accuracy for one in (pair.first, pair.second)]
        cells = [numbers.MISSING if one is None else numbers.percent(one.value) for one in shares]
        table.add_row(str(pair.seed), *cells, *_differences(pair))
    means = (_interval(found.accuracy, numbers.points), _interval(found.test_loss, _four_decimals))
    table.add_section()
    table.add_row("mean", "", "", *means)
    return table


def _differences(pair: SeedPair) -> list[str]:
    first, second = pair.first, pair.second
    if first.accuracy is None or second.accuracy is None:
        return [numbers.MISSING, numbers.MISSING]
    losses = [0.0 if one.result is None else one.result.test_loss or 0.0 for one in (first, second)]
    return [
        numbers.points(first.accuracy.value - second.accuracy.value),
        numbers.loss_difference(losses[0], losses[1]),
    ]


def _interval(found: Estimate, text: Callable[[float], str]) -> str:
    if not found.differences:
        return numbers.MISSING
    if found.low is None or found.high is None:
        return text(found.mean)
    return f"{text(found.mean)} [{text(found.low)}, {text(found.high)}]"


def _four_decimals(loss: float) -> str:
    return numbers.signed(loss, 4)


_MARKS = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("?", "yellow")}


def evaluation_renderables(folder: RunFolder) -> list[RenderableType]:
    """Accuracy of a finished run on the test images, for `alexnet evaluate`.

    Returns:
        Accuracy with its 95 % interval, accuracy per class, scikit-learn's classification
        report, and the confusion matrix.

    Raises:
        RunError: If the run is not finished, or its predictions are missing or damaged.
    """
    result = folder.finished_result()
    return [
        *(Text(sentence, style="yellow") for sentence in collapses(view_runs([folder]))),
        *predictions_renderables(
            folder.read_predictions(),
            folder.dataset.class_names,
            folder.config.framework,
            folder.dataset.name,
            loss=result.test_loss or 0.0,
        ),
    ]


def predictions_renderables(
    predictions: Predictions, names: Sequence[str], framework: str, dataset: str, *, loss: float
) -> list[RenderableType]:
    """Figures of predictions on test images.

    Returns:
        Accuracy with its 95 % interval, accuracy per class, scikit-learn's classification
        report, and the confusion matrix.
    """
    accuracy = top1_accuracy(predictions.predicted, predictions.labels)
    headline = f"{numbers.accuracy_text(accuracy)} (95% interval)"
    matrix = confusion_matrix(predictions.predicted, predictions.labels, len(names))
    return [
        Text.assemble(
            f"{framework_label(framework)} on {dataset}, "
            f"{numbers.count(accuracy.num_images)} test images: ",
            (headline, "bold"),
            f", loss {numbers.loss_text(loss)}",
        ),
        _per_class_table(predictions, names),
        Text(_classification_report(predictions, names)),
        _largest_confusions(matrix, names)
        if len(names) > MAX_MATRIX_CLASSES
        else _confusion_table(matrix, names),
    ]


def pairing_table(done: Conversion | Network) -> Table:
    """How the weights of a file of other names were paired with a network's by their shapes."""
    table = _table(title=f"Paired by shape and order with {done.spec.name}")
    table.add_column("in the file", overflow="fold")
    table.add_column("shape")
    table.add_column("here", overflow="fold")
    for one in done.pairing:
        table.add_row(one.theirs, " x ".join(map(str, one.shape)), one.ours)
    return table


def _per_class_table(predictions: Predictions, names: Sequence[str]) -> Table:
    table = _table(title="Accuracy per class")
    table.add_column("class", style="bold")
    for header in ("accuracy", "95% interval", "images"):
        table.add_column(header, justify="right")
    accuracies = per_class_accuracy(predictions.predicted, predictions.labels, len(names))
    for name, one in zip(names, accuracies, strict=True):
        cells = [numbers.MISSING, numbers.MISSING]
        if one.num_images:
            interval = f"[{numbers.percent(one.low)}, {numbers.percent(one.high)}]"
            cells = [numbers.percent(one.value), interval]
        table.add_row(Text(name), *cells, numbers.count(one.num_images))
    return table


def _classification_report(predictions: Predictions, names: Sequence[str]) -> str:
    # scikit-learn takes a second to import; only an evaluation needs it.
    from sklearn.metrics import classification_report  # noqa: PLC0415

    report: str = classification_report(
        predictions.labels,
        predictions.predicted,
        labels=range(len(names)),
        target_names=names,
        digits=4,
        zero_division=0,
    )
    return report.rstrip()


def _confusion_table(matrix: NDArray[np.int64], names: Sequence[str]) -> Table:
    table = _table(title="Confusion matrix (rows: true class, columns: predicted class)")
    table.may_shorten = True
    table.add_column("", style="bold", no_wrap=True)
    for name in names:
        table.add_column(Text(name, overflow="ellipsis"), justify="right", no_wrap=True)
    for index, (name, row) in enumerate(zip(names, matrix, strict=True)):
        shares = row / max(int(row.sum()), 1)
        cells = [
            Text(str(value), style=_heat(float(share), right=column == index))
            for column, (value, share) in enumerate(zip(row, shares, strict=True))
        ]
        table.add_row(Text(name), *cells)
    return table


def _heat(share: float, *, right: bool) -> str:
    """Style of a cell: green on the diagonal and red elsewhere, stronger with the share."""
    if share == 0:
        return "dim"
    strength = round(60 + 120 * share)
    background = f"rgb(20,{strength},60)" if right else f"rgb({strength},30,30)"
    return f"white on {background}"


def _largest_confusions(matrix: NDArray[np.int64], names: Sequence[str]) -> Table:
    table = _table(title=f"Most frequent confusions ({len(names)} classes)")
    for header in ("true class", "predicted class"):
        table.add_column(header)
    table.add_column("images", justify="right")
    wrong = matrix - np.diag(np.diag(matrix))
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:_NUM_CONFUSIONS]:
        row, column = divmod(int(flat), len(names))
        if wrong[row, column] > 0:
            table.add_row(Text(names[row]), Text(names[column]), str(wrong[row, column]))
    return table


def _table(title: str) -> FittedTable:
    return FittedTable(title=title, title_justify="left", caption_justify="left")
