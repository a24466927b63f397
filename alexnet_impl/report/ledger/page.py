"""The ledger as one HTML file: our answers to the reports, tables, curves and every claim."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.figure_style import INK, MUTED, house_style, inline_svg
from alexnet_impl.report.formatting import COLOURS
from alexnet_impl.report.ledger.view import (
    HEADER,
    LOSSES_HEADER,
    NOTE,
    NOTE_HEADER,
    headline,
    left_out_text,
    losses_text,
    pair_cells,
    pair_losses,
    pair_note,
    pair_tables,
    run_lines,
)
from alexnet_impl.report.templates import render_page, write_page
from alexnet_impl.reproduction.claims.claim import AVERAGES, Claim, percent
from alexnet_impl.reproduction.claims.queries import CLAIMS, claims_of, curve_claims
from alexnet_impl.reproduction.runs.dataset_check import class_place
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs
from alexnet_impl.reproduction.verdicts.answers import ANSWERS, Answer
from alexnet_impl.reproduction.verdicts.curves import CurveComparison
from alexnet_impl.reproduction.verdicts.ledger import ClaimLedger
from alexnet_impl.reproduction.verdicts.our_figures import class_table
from alexnet_impl.reproduction.verdicts.summary import ExperimentRow, comparison_rows
from alexnet_impl.reproduction.verdicts.time_ratios import TimeRatio, compare_times, full_time_s

SIGNS = {
    "reproduced": "good",
    "not reproduced": "bad",
    "inconsistent": "unsure",
    "not comparable": "",
    "not run": "",
}
"""The page's CSS class of each verdict."""
CLASS_TABLES = (
    *("R2-torch", "R2-torch-pretrained"),
    *("R3-torch", "R3-torch-pretrained", "R3-tf-vgg16"),
)
"""Experiments whose accuracies by class were published."""
_PANELS_A_ROW = 2


def write_ledger_page(path: Path, ledger: ClaimLedger) -> None:
    """Write the page; its picture is embedded."""
    write_page(path, render(ledger))


def render(ledger: ClaimLedger) -> str:
    """The page as HTML text."""
    context = {
        "title": "The five reports, claim by claim",
        "headline": headline(ledger),
        "notes": [
            _runs_note(ledger),
            *run_lines(ledger),
            *(f"Left out: {problem}" for problem in ledger.problems),
        ],
        "reports": [_section(answer, ledger) for answer in ANSWERS],
        "comparison": [_comparison_cells(row) for row in comparison_rows(ledger.evidence)],
        "pairs": [
            (title, [(*pair_cells(row), pair_losses(row), pair_note(row)) for row in rows])
            for title, rows in pair_tables(ledger)
        ],
        "pair_header": [*HEADER, LOSSES_HEADER, NOTE_HEADER],
        "pair_note": NOTE,
        "times": [time_cells(ratio) for ratio in compare_times(ledger.evidence, ledger.findings)],
        "curves": [_curve_cells(curve) for curve in ledger.curves],
        "image": inline_svg(curves_figure(ledger.curves)),
        "class_tables": list(_class_tables(ledger.evidence)),
        "signs": SIGNS,
    }
    return render_page("ledger/ledger.html.jinja", context)


def _runs_note(ledger: ClaimLedger) -> str:
    if not ledger.evidence:
        return "No run was read: the verdicts rest on the reports themselves and on arithmetic."
    full = sum(run.is_full for run in ledger.evidence)
    return (
        f"The verdicts rest on {len(ledger.evidence)} runs. {full} of them have the report's full "
        "length, all images, its framework and its weights. A shorter run on all images is "
        "compared with claims about single epochs only; one on fewer images or from other weights "
        "with none."
    )


def _section(answer: Answer, ledger: ClaimLedger) -> dict[str, Any]:
    """One report's section of the page."""
    runs = [run for run in ledger.evidence if run.experiment.report == answer.report]
    return {
        "name": answer.report,
        "concluded": answer.concluded,
        "answer": answer.answer,
        "rests_on": ", ".join(answer.rests_on),
        "runs": ", ".join(f"{run.record.experiment} ({run.title})" for run in runs) or "none",
        "findings": [found for found in ledger.findings if found.report == answer.report],
        "entries": [entry for entry in ledger.entries if entry.claim.report == answer.report],
    }


def _comparison_cells(row: ExperimentRow) -> tuple[str, ...]:
    accuracy = time = title = numbers.MISSING
    if row.run is not None:
        title = row.run.title
        if row.run.result is not None and row.run.result.test_top1_accuracy is not None:
            accuracy = percent(row.run.result.test_top1_accuracy)
        if (seconds := full_time_s(row.run)) is not None:
            time = numbers.seconds(seconds)
    return (
        row.id,
        "pretrained" if row.pretrained else "scratch",
        row.accuracy or numbers.MISSING,
        accuracy,
        row.time or numbers.MISSING,
        time,
        losses_text(row.losses),
        losses_text(row.our_losses),
        title,
    )


def _curve_cells(curve: CurveComparison) -> tuple[str, ...]:
    epoch, largest = curve.largest
    return (
        curve.experiment,
        curve.title if curve.comparable else f"{curve.title}: other images or weights",
        " ".join(f"{loss:.4f}" for loss in curve.published[: len(curve.ours)]),
        " ".join(f"{loss:.4f}" for loss in curve.ours),
        f"{curve.mean:.4f}",
        f"{numbers.signed(largest, 4)} in epoch {epoch}",
        shift_text(curve.shift),
    )


def shift_text(shift: float | None) -> str:
    """The shift of our curve from the published one, in words: epochs it lags or leads."""
    if shift is None:
        return numbers.MISSING
    if round(shift, 2) == 0:
        return "level"
    return f"{abs(shift):.2f} epochs {'behind' if shift > 0 else 'ahead'}"


def time_cells(ratio: TimeRatio) -> tuple[str, ...]:
    """Cells of a row of times as ratios, with the runs that were left out."""
    published, ours = ratio.published, ratio.ours
    runs = () if ours is None else (ours.title, ours.machine.text)
    return (
        f"{ratio.first} / {ratio.second}",
        "; ".join((f"{published.value:.2f}", *published.doubts)),
        numbers.MISSING if ours is None else f"{ours.value:.2f}",
        "; ".join((*runs, *map(left_out_text, ratio.left_out))) or numbers.MISSING,
    )


def curves_figure(curves: Sequence[CurveComparison]) -> Figure:
    """Figure of the loss by epoch: a panel for each published curve, with our runs."""
    published = {
        experiment: claims
        for experiment in dict.fromkeys(c.experiment for c in CLAIMS)
        if len(claims := curve_claims(experiment)) > 1
    }
    rows = -(-len(published) // _PANELS_A_ROW)
    with house_style():
        figure = Figure(figsize=(9.6, 2.9 * rows), layout="constrained", facecolor="white")
        panels = list(figure.subplots(rows, _PANELS_A_ROW, squeeze=False).flat)
        for axes, (experiment, claims) in zip(panels, published.items(), strict=False):
            _draw_curves(axes, claims, [c for c in curves if c.experiment == experiment])
            axes.set_title(experiment)
        for axes in panels[len(published) :]:
            axes.set_visible(False)
        return figure


def _draw_curves(axes: Axes, claims: Sequence[Claim], curves: Sequence[CurveComparison]) -> None:
    epochs = [claim.epoch or 0 for claim in claims]
    axes.plot(epochs, [claim.value for claim in claims], "o-", color=INK, markersize=3)
    axes.lines[-1].set_label("published")
    for curve in curves:
        shades = COLOURS["torch" if "torch" in curve.experiment else "tensorflow"]
        colour = shades[0] if curve.comparable else MUTED
        ours = range(1, len(curve.ours) + 1)
        axes.plot(ours, curve.ours, "s-", color=colour, markersize=4, label=curve.title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0, top=1.08 * axes.dataLim.ymax)
    axes.legend(loc="best", fontsize=7)


def _class_tables(evidence: Sequence[Evidence]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yields title and rows of the table of every experiment with accuracies by class."""
    for experiment in CLASS_TABLES:
        claims = [c for c in claims_of(experiment, "recall") if c.of not in AVERAGES]
        run = next(iter(own_runs(evidence, experiment)), None)
        title = experiment if run is None else f"{experiment}; ours: {run.title}"
        yield title, [_class_row(claim, run) for claim in claims]


def _class_row(recall: Claim, run: Evidence | None) -> tuple[str, ...]:
    theirs = [recall.text]
    for quantity in ("precision", "f1"):
        found = [c for c in claims_of(recall.experiment, quantity) if c.of == recall.of]
        theirs += [claim.text for claim in found] or [numbers.MISSING]
    return recall.of, *theirs, *_our_class(recall.of, run)


def _our_class(name: str, run: Evidence | None) -> tuple[str, str, str]:
    """Recall, precision and F1 of our run as text; dashes if there are none."""
    missing = (numbers.MISSING,) * 3
    if run is None or run.predictions is None:
        return missing
    place = class_place(name, run.dataset.class_names)
    if place is None:
        return missing
    precision, recall, f1 = class_table(run.predictions, len(run.dataset.class_names))[place]
    return f"{recall:.4f}", f"{precision:.4f}", f"{f1:.4f}"
