"""Error rates of the collapse warning: repeats the short runs of docs/collapse.md.

The runs are read from the table on that page: its rows, counted from 1, with seeds counted from 0.
Rows on digits need no files.

    python collapse_rates.py --rows 11
    python collapse_rates.py --data-dir PATH
"""

import argparse
import math
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from alexnet_impl.data.batches import Batch, epoch_batches
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetError
from alexnet_impl.frameworks import Trainer, get_framework
from alexnet_impl.network.spec import Conv, Dense, Spec
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.records import ActivationStatistics
from alexnet_impl.stats.accuracy import wilson_accuracy
from alexnet_impl.training.collapse import (
    CHECKS_IN_A_ROW,
    NUM_CHECK_IMAGES,
    PROBE_SHIFT,
    CollapseDetector,
    layer_statistics,
    probe,
)
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.weights.initializers import initial_weights

PAGE = Path(__file__).parents[1] / "collapse.md"
CHANCE = math.log(10)
"""The loss of ten equal probabilities."""
CHECKS_A_READING = 4
"""Gradients are read at every fourth check."""
GRACE_CHECKS = 8
"""Checks for which a run continues after its gradients vanish: the rule needs some."""
LEARNED = CHANCE - 0.1
"""A run ends once its mean loss over 20 steps is below this."""
TRACED = ("conv1", "conv5", "fc1", "fc3")
"""Layers whose gradients --trace shows."""
TRUTHS = ("collapsed", "learning", "slow", "undecided")
FRAMEWORK_NAMES = {"PyTorch": "torch", "TensorFlow": "tensorflow"}
BATCH_SIZES = {"cifar": 30, "caffenet-like-pad2": 64, "caffenet-like-same": 64}
"""Batch sizes of R3's and R2's networks on CIFAR-10; 32 for all others."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the page's table: runs that differ only in their seed.

    Attributes:
        number: Its place in the table, from 1.
        text: Its first four cells.
        digits: Whether it trains on digits, not on CIFAR-10.
        dense: Width of the hidden dense layers; None for the network's own.
        runs: How many.
        steps: Maximum number of steps of a run.
        check_every: Steps from one check to the next.
    """

    number: int
    text: str
    framework: str
    variant: str
    width: float
    dense: int | None
    digits: bool
    recipe: Recipe
    runs: int
    steps: int
    check_every: int

    def spec(self) -> Spec:
        """The network."""
        spec = build_spec(self.variant, input_size=self.recipe.input_size, width=self.width)
        if self.dense is None:
            return spec
        *layers, last = spec.layers
        narrow = [
            replace(layer, out_features=self.dense) if isinstance(layer, Dense) else layer
            for layer in layers
        ]
        return replace(spec, layers=(*narrow, last))


def read_rows() -> list[Row]:
    """Reads the table of runs in docs/collapse.md."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line.startswith(("| Adam ", "| SGD "))]
    return [_read_row(number, line) for number, line in enumerate(found, start=1)]


def _read_row(number: int, line: str) -> Row:
    optimizer, network, start, framework, runs, *_ = (cell.strip() for cell in line.split("|")[1:])
    variant, size, *others = network.replace("`", "").replace(",", "").split()
    numbers = dict(re.findall(r"(width|dense) ([\d.]+)", network))
    digits = "digits" in others
    name, rate = optimizer.split()
    initializer, scaling = start.split(", ")
    is_keras = initializer == "keras"
    is_he = initializer == "he"
    is_r3 = variant == "cifar" and not digits
    recipe = Recipe(
        optimizer="adam" if name == "Adam" else "sgd",
        learning_rate=float(rate),
        epsilon=1e-7 if is_keras else 1e-8,
        epsilon_formula="keras" if is_keras else "torch",
        initializer="he" if is_he else f"{initializer}-default",
        last_layer_std=0.01 if is_he else None,  # as the recipes quick and speedrun have it
        input_scaling=scaling,
        input_size=int(size),
        global_batch_size=32 if digits else BATCH_SIZES.get(variant, 32),
    )
    return Row(
        number=number,
        text=f"{optimizer} | {network} | {start} | {framework}",
        framework=FRAMEWORK_NAMES[framework],
        variant=variant,
        width=float(numbers.get("width", 1)),
        dense=int(numbers["dense"]) if "dense" in numbers else None,
        digits=digits,
        recipe=recipe,
        runs=int(runs),
        steps=340 if is_r3 else 60 if size == "227" else 140,
        check_every=10 if is_r3 else 2,
    )


@dataclass(kw_only=True)
class Log:
    """Observations of one run.

    Attributes:
        shift: The probe's largest, of all convolutions.
        losses: Of every step.
        checks: The statistics at the start and at every check.
        gradients: Norm of the gradient of conv1's kernel, at the start and at every reading.
        gone_checks: So many checks in a row found the gradients gone.
    """

    shift: float
    losses: list[float] = field(default_factory=list)
    checks: list[ActivationStatistics] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)
    gone_checks: int = 0

    @property
    def lost_its_gradients(self) -> bool:
        """Whether the loss stays at its first value, and no gradient reaches conv1."""
        first, *later = self.gradients
        gone = len(later) > 1 and max(later[-2:]) < 0.01 * first
        return gone and bool(np.mean(self.losses[-8:]) > CHANCE - 0.05)

    @property
    def is_over(self) -> bool:
        """Whether the outcome of the run is known."""
        learned = len(self.losses) >= 20 and np.mean(self.losses[-20:]) < LEARNED
        return bool(learned) or self.gone_checks >= GRACE_CHECKS

    @property
    def truth(self) -> str:
        """The outcome of the run, judged without activation statistics."""
        if self.lost_its_gradients:
            return "collapsed"
        if np.mean(self.losses[-20:]) < CHANCE - 0.03:
            return "learning"
        return "slow" if self.gradients[-1] >= 0.5 * self.gradients[0] else "undecided"


def train(row: Row, seed: int, dataset: Dataset, *, trace: bool = False) -> Log:
    """Trains one run of a row until its outcome is known or its steps are over."""
    recipe, spec = replace(row.recipe, seed=seed), row.spec()
    weights = initial_weights(spec, recipe)
    trainer = get_framework(row.framework).make_trainer(spec, recipe, weights, "cpu")
    first = next(_batches(dataset, recipe))
    shift = probe(trainer, spec, first.images, first.labels, recipe.learning_rate).shift
    convs = [layer.name for layer in spec.layers if isinstance(layer, Conv)]
    log = Log(shift=max(shift[name] for name in convs))
    places = np.linspace(0, len(dataset.train) - 1, NUM_CHECK_IMAGES).round().astype(int)
    shown = Batch(images=dataset.train.images[places], labels=dataset.train.labels[places])
    _check(log, trainer, spec, shown, trace=trace)
    for step, batch in enumerate(islice(_batches(dataset, recipe), row.steps), start=1):
        handle = trainer.train_step(batch.images, batch.labels, recipe.learning_rate)
        log.losses.append(trainer.read([handle])[0].loss)
        if step % row.check_every == 0:
            _check(log, trainer, spec, shown, trace=trace)
        if log.is_over:
            break
    return log


def _batches(dataset: Dataset, recipe: Recipe) -> Iterator[Batch]:
    """Yields batches epoch after epoch, without end."""
    plan = batch_plan(recipe)
    return (batch for epoch in count() for batch in epoch_batches(dataset.train, plan, epoch))


def _check(log: Log, trainer: Trainer, spec: Spec, shown: Batch, *, trace: bool) -> None:
    """Records activation statistics and, at every fourth check, gradients.

    Dropout draws a mask for these as well, so that a run is not that of `alexnet train` to the bit.
    """
    log.checks.append(layer_statistics(trainer.activations(shown.images), spec, len(log.losses)))
    norms = {}
    if (len(log.checks) - 1) % CHECKS_A_READING == 0:
        _, gradients = trainer.gradients(shown.images, shown.labels)
        norms = {name: float(np.linalg.norm(gradients[f"{name}.weight"])) for name in TRACED}
        log.gradients.append(norms["conv1"])
    log.gone_checks = log.gone_checks + 1 if log.lost_its_gradients else 0
    if trace:
        print(_trace_line(log, norms), flush=True)


def _trace_line(log: Log, norms: dict[str, float]) -> str:
    """Formats a row of the tables of one run."""
    statistics = log.checks[-1]
    loss = f"{log.losses[-1]:.3f}" if log.losses else ""
    shares = [f"{100 * share:.3g}" for share in statistics.dead_share.values()]
    dead = " | ".join((" ".join(shares[:5]), " ".join(shares[5:])))
    found = " | ".join(f"{norms[name]:.1e}" if norms else "" for name in TRACED)
    return f"| {statistics.step} | {loss} | {dead} | {statistics.logits_std:.1e} | {found} |"


# --- what the rules say -----------------------------------------------------------------------


def watch_alarm(log: Log) -> int | None:
    """Returns the step at which the package's own rule warns."""
    detector = CollapseDetector()
    return next((statistics.step for statistics in log.checks if detector.check(statistics)), None)


def draft_alarm(log: Log) -> int | None:
    """Returns the step at which the draft of the rule warns."""
    return fifth_in_a_row(
        (statistics.step, statistics.worst[1] >= 0.8 and statistics.logits_std < 0.1)
        for statistics in log.checks
    )


def loss_alarm(log: Log) -> int | None:
    """Returns the step at which the loss alone would warn."""
    near = (abs(loss - CHANCE) < 0.02 for loss in log.losses)
    return fifth_in_a_row(enumerate(near, start=1))


def fifth_in_a_row(suspicions: Iterable[tuple[int, bool]]) -> int | None:
    """Returns the step of the last of five suspicions in a row."""
    in_a_row = 0
    for step, is_suspicious in suspicions:
        in_a_row = in_a_row + 1 if is_suspicious else 0
        if in_a_row == CHECKS_IN_A_ROW:
            return step
    return None


RULES: dict[str, Callable[[Log], int | None]] = {
    "**dead >= 0.9 and logits' std < 1e-4, five checks in a row**": watch_alarm,
    "dead >= 0.8 and logits' std < 0.1, five checks in a row": draft_alarm,
    "loss within 0.02 of ln 10 for five steps in a row": loss_alarm,
}
Runs = Sequence[tuple[Row, Log]]


def report(runs: Runs) -> Iterator[str]:
    """Formats the tables of the page for these runs."""
    yield "| rule | false alarms | missed | alarm at step: first, median, last |"
    yield "|---|---|---|---|"
    for name, rule in RULES.items():
        healthy = [rule(log) for _, log in runs if log.truth in ("learning", "slow")]
        dead = [rule(log) for _, log in runs if log.truth == "collapsed"]
        steps = sorted(step for step in dead if step is not None)
        when = f"{steps[0]}, {steps[len(steps) // 2]}, {steps[-1]}" if steps else ""
        false = len(healthy) - healthy.count(None)
        missed = dead.count(None)
        yield f"| {name} | {rate(false, len(healthy))} | {rate(missed, len(dead))} | {when} |"
    warned = [log.truth for _, log in runs if log.shift > PROBE_SHIFT]
    others = [log.truth for _, log in runs if log.shift <= PROBE_SHIFT]
    yield ""
    yield (
        f"Of the {len(warned)} runs that the probe warned of {warned.count('collapsed')} "
        f"collapsed, of the {len(others)} others {others.count('collapsed')}."
    )
    yield ""
    yield f"| optimiser | network | start | framework | runs | {' | '.join(TRUTHS)} | alarms |"
    yield f"|---|---|---|---|--:|{'--:|' * (len(TRUTHS) + 1)}"
    for row in dict.fromkeys(row.number for row, _ in runs):
        yield _row_line([(other, log) for other, log in runs if other.number == row])


def _row_line(runs: Runs) -> str:
    truths = [log.truth for _, log in runs]
    counts = [len(runs), *(truths.count(truth) for truth in TRUTHS)]
    alarms = sum(watch_alarm(log) is not None for _, log in runs)
    return f"| {runs[0][0].text} | {' | '.join(map(str, [*counts, alarms]))} |"


def rate(num: int, total: int) -> str:
    """Formats a count with Wilson's interval."""
    if total == 0:
        return "none to count"
    found = wilson_accuracy(num, total)
    return f"{num} of {total} ({100 * found.low:.0f} to {100 * found.high:.0f} %)"


# --- the command ------------------------------------------------------------------------------


def parse(arguments: Sequence[str], rows: Sequence[Row]) -> argparse.Namespace:
    """Parses the flags; invalid ones end with a usage message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="collapse_rates.py", description="Run the short runs of docs/collapse.md again."
    )
    parser.add_argument("--data-dir", type=Path, help="CIFAR-10, as for alexnet train")
    parser.add_argument(
        "--rows", type=int, nargs="+", metavar="ROW", help="rows of the table, from 1; default: all"
    )
    parser.add_argument("--steps", type=int, help="maximum number of steps of each run")
    parser.add_argument("--trace", action="store_true", help="print the statistics at every check")
    found = parser.parse_args(arguments)
    if found.steps is not None and found.steps < 1:
        parser.error(f"--steps {found.steps}: must be at least 1.")
    found.rows = found.rows or [row.number for row in rows]
    if unknown := [number for number in found.rows if not 1 <= number <= len(rows)]:
        parser.error(f"--rows {unknown[0]}: the table has rows 1 to {len(rows)}.")
    digits = [row.number for row in rows if row.digits]
    if found.data_dir is None and (others := [n for n in found.rows if n not in digits]):
        parser.error(
            f"row {others[0]} is on CIFAR-10: give --data-dir, or --rows with rows on digits: "
            f"{', '.join(map(str, digits))}."
        )
    return found


def run(row: Row, seed: int, data_dir: Path | None, trace: bool) -> Log:  # noqa: FBT001
    """Trains one run in its own process."""
    data = DataConfig(dataset="digits") if row.digits else DataConfig(data_dir=data_dir)
    return train(row, seed, load_dataset(data), trace=trace)


def main(arguments: Sequence[str]) -> None:
    """Trains the chosen runs, and prints a line for each and the tables."""
    rows = read_rows()
    chosen = parse(arguments, rows)
    runs: list[tuple[Row, Log]] = []
    # A process for each run: the frameworks never meet, and no run's memory is left behind.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool:
        for row in (rows[number - 1] for number in chosen.rows):
            limited = replace(row, steps=chosen.steps or row.steps)
            for seed in range(row.runs):
                log = pool.submit(run, limited, seed, chosen.data_dir, chosen.trace).result()
                runs.append((row, log))
                alarm = watch_alarm(log)
                said = "no alarm" if alarm is None else f"alarm at step {alarm}"
                print(
                    f"row {row.number} ({row.text.replace(' | ', ', ')}), seed {seed}: {log.truth} "
                    f"after {len(log.losses)} steps; {said}; the probe's shift is {log.shift:.2f}",
                    flush=True,
                )
    print("", *report(runs), sep="\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AlexNetError as error:
        sys.exit(str(error))
