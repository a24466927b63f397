"""Tables and sentences for `alexnet explain`: effect of each factor, uncertainty, budget."""

import math
from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from alexnet_impl.explain.factors import FACTORS, input_size
from alexnet_impl.explain.results import METRICS, NUM_LAST_STEPS, Effect, ExplainResults
from alexnet_impl.explain.study import ALIGNED, DEFAULTS_ROW, FRAMEWORK_ROW, TOGETHER_ROW
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.fitted_table import FittedTable
from alexnet_impl.report.formatting import framework_label
from alexnet_impl.stats.paired_effects import Estimate

METRIC_LABELS = {
    "test_top1_accuracy": "accuracy, points",
    "test_loss": "test loss",
    "train_loss": "training loss",
}
NONE = "none measurable"
_SIGNIFICANT = 0.05


def effects_table(explanation: ExplainResults) -> Table:
    """Table of all factors, the largest effect first, and of the summary comparisons."""
    table = FittedTable(
        title="Effect of each factor, switched alone",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("factor", style="bold", no_wrap=True)
    for label in METRIC_LABELS.values():
        table.add_column(label.replace(", ", "\n"), justify="right", no_wrap=True)
    table.add_column("effect")
    for effects in (explanation.factors, explanation.summaries):
        for effect in effects:
            if effect.estimates:
                table.add_row(effect.row.name, *_cells(effect), verdict(effect))
        table.add_section()
    return table


def _cells(effect: Effect) -> list[Text]:
    """Mean above its interval for each metric, bold if the interval excludes 0."""
    return [
        Text(
            effect_text(effect, metric).replace(" [", "\n["),
            style="bold" if effect.estimates[metric].measurable else "dim",
        )
        for metric in METRICS
    ]


def markdown_factors() -> str:
    """The table of docs/explain.md."""
    lines = ["| factor | PyTorch's value | switched to | kind |", "|---|---|---|---|"]
    for factor in FACTORS.values():
        cells = (f"`{factor.name}`: {factor.what}", factor.in_torch, factor.in_keras, factor.kind)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def not_applicable_lines(explanation: ExplainResults) -> list[str]:
    """One line for each comparison that does not apply, with the reason."""
    effects = (*explanation.factors, *explanation.summaries)
    return [f"{e.row.name} {verdict(e)}" for e in effects if e.row.after is None]


def effect_text(effect: Effect, metric: str) -> str:
    """Mean with its interval, accuracy in points; a star marks significance after Holm."""
    found = effect.estimates.get(metric)
    if found is None or not found.differences:
        return numbers.MISSING
    text = estimate_text(found, metric)
    return f"{text}*" if _holds(effect, metric) else text


def estimate_text(found: Estimate, metric: str) -> str:
    """Text such as '-3.10 [-4.20, -2.00]', or only the mean if there is no interval."""
    scale, decimals = (100, 2) if metric == "test_top1_accuracy" else (1, 3)
    mean = numbers.signed(scale * found.mean, decimals)
    if found.low is None or found.high is None:
        return mean
    low, high = (numbers.signed(scale * end, decimals) for end in (found.low, found.high))
    return f"{mean} [{low}, {high}]"


def verdict(effect: Effect) -> str:
    """The verdict on an effect in a few words."""
    row = effect.row
    if row.after is None:
        return f"not applicable: {row.not_applicable}"
    if effect.ends_before:
        return f"unknown: {row.before.name} {_counted(effect.ends_before, effect)}"
    if effect.ends:
        return _counted(effect.ends, effect)
    if effect.num_seeds < 2:
        return "unknown with one seed"
    changed = [
        METRIC_LABELS[metric].partition(",")[0]
        for metric, found in effect.estimates.items()
        if found.measurable
    ]
    return f"changes {' and '.join(changed)}" if changed else NONE


def _counted(ends: tuple[str, ...], effect: Effect) -> str:
    """Text such as 'diverged in 2 of 3 seeds'."""
    counts = Counter(ends).items()
    return ", ".join(f"{status} in {count} of {effect.num_seeds} seeds" for status, count in counts)


def headline(explanation: ExplainResults) -> str:
    """The outcome in one sentence; effects that chance may explain are named as such."""
    ran = [effect for effect in explanation.factors if effect.row.after is not None]
    if len(explanation.plan.request.seeds) < 2:
        return f"{len(ran)} factors switched with one seed: effects and chance are inseparable"
    firm = [e.row.name for e in ran if any(_holds(e, metric) for metric in e.estimates)]
    single = [e.row.name for e in ran if e.measurable and e.row.name not in firm]
    broken = [e.row.name for e in ran if e.ends]
    parts = [_firm_text(firm, len(ran), any_effect=bool(single))]
    if single:
        parts.append(f"without correction also {', '.join(single)}, some perhaps by chance")
    if broken:
        parts.append(f"some runs did not finish with {', '.join(broken)}")
    return "; ".join(parts)


def _firm_text(names: list[str], total: int, *, any_effect: bool) -> str:
    if names:
        found = ", ".join(names)
        have = "has" if len(names) == 1 else "have"
        return f"{len(names)} of {total} factors {have} an effect after Holm's correction: {found}"
    if any_effect:
        return f"None of {total} factors has an effect after Holm's correction"
    return f"None of {total} factors has a measurable effect"


def _holds(effect: Effect, metric: str) -> bool:
    """Whether a metric is significant after Holm's correction too."""
    adjusted = effect.holm.get(metric)
    return effect.estimates[metric].measurable and adjusted is not None and adjusted < _SIGNIFICANT


def notes(explanation: ExplainResults) -> list[str]:
    """Sentences on the budget, the summary comparisons and the statistics."""
    return [budget(explanation), *_ends(explanation), *_statistics(explanation)]


def budget(explanation: ExplainResults) -> str:
    """Paragraph with images, steps, network, seeds, machine and versions."""
    request, dataset = explanation.plan.request, explanation.dataset
    recipe = request.config.recipe
    steps = recipe.steps or 0
    epochs = steps * recipe.global_batch_size / dataset.num_train_images
    size = input_size(request.aligned)
    seeds = ", ".join(str(seed) for seed in request.seeds)
    plural = "seed" if len(request.seeds) == 1 else "seeds"
    return (
        f"Budget: {numbers.count(dataset.num_train_images)} training and "
        f"{numbers.count(dataset.num_test_images)} test images of {dataset.name} "
        f"({dataset.source.rstrip('.')}; fingerprint {dataset.fingerprint[:12]}), "
        f"{numbers.count(steps)} steps of {recipe.global_batch_size} images "
        f"({epochs:.1f} epochs) of {recipe.optimizer} at "
        f"learning rate {recipe.learning_rate:g}, {request.config.variant} at width "
        f"{request.config.width:g} and {size}x{size} pixels, {len(request.seeds)} {plural} "
        f"({seeds}), {len(explanation.outcomes)} runs; factors switched in "
        f"{framework_label(request.config.framework)}. {_machine(explanation)} "
        "With another budget the ranking may differ."
    )


def _machine(explanation: ExplainResults) -> str:
    first = next(iter(explanation.environments.values()))
    versions = [
        f"{name} {version}"
        for name, version in first.get("packages", {}).items()
        if name in ("torch", "tensorflow", "keras")
    ]
    return f"{first.get('logical_cpus')} CPUs, {first.get('cpu')}; {', '.join(versions)}."


def _ends(explanation: ExplainResults) -> Iterator[str]:
    """Sentences on the accuracy of the aligned trainings and on the summary comparisons."""
    means = []
    for arm in explanation.plan.arms:
        if arm.name == ALIGNED:
            values = _accuracies(explanation, arm.framework)
            label = framework_label(arm.framework)
            shown = numbers.percent(sum(values) / len(values)) if values else numbers.MISSING
            means.append(f"{shown} in {label}")
    yield f"Mean top-1 accuracy of the aligned trainings: {' and '.join(means)}."
    texts = {
        effect.row.name: effect_text(effect, "test_top1_accuracy")
        for effect in explanation.summaries
        if effect.estimates
    }
    yield (
        f"'{FRAMEWORK_ROW}' is TensorFlow - PyTorch, both aligned: {texts[FRAMEWORK_ROW]} points. "
        f"'{DEFAULTS_ROW}' is Keras with its defaults - PyTorch with its own, which equals the "
        f"aligned training: {texts[DEFAULTS_ROW]} points."
    )
    if TOGETHER_ROW in texts:
        yield f"'{TOGETHER_ROW}' switches every factor of kind default."


def _accuracies(explanation: ExplainResults, framework: str) -> list[float]:
    return [
        accuracy
        for (arm, _), outcome in explanation.outcomes.items()
        if (arm.name, arm.framework) == (ALIGNED, framework)
        and (accuracy := outcome.figures["test_top1_accuracy"]) is not None
    ]


def _statistics(explanation: ExplainResults) -> Iterator[str]:
    count = len(explanation.plan.request.seeds)
    if count < 2:
        yield "One seed gives no interval, so nothing is measurable. Use --seeds 3 or more."
        return
    yield (
        f"Differences from the aligned training are paired by seed. Intervals are 95%, from "
        f"Student's t over {count} seeds, which change initial weights, order and dropout but not "
        "the test images. About 1 of 20 intervals excludes 0 by chance; a star marks effects that "
        "remain after Holm's correction for all factors."
    )
    yield (
        f"Training loss is the mean of the training objective over the last {NUM_LAST_STEPS} "
        f"steps; with softmax-twice that is another loss, which cannot fall below "
        f"{_lowest_loss_of_softmax_twice(len(explanation.dataset.class_names)):.2f}."
    )


def _lowest_loss_of_softmax_twice(num_classes: int) -> float:
    """Cross-entropy of perfect probabilities, 1 and 0, used as logits."""
    return math.log(math.e + num_classes - 1) - 1
