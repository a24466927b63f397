"""Checks of the benchmark harness: equal sides, and its overhead over a bare loop.

    python docs/examples/harness_checks.py alike --framework torch --comparisons 100
    python docs/examples/harness_checks.py overhead --framework torch

`alike` compares a side with itself in turns and counts the verdicts: every one but 'undecided' is
wrong. Every tenth comparison has new processes. `overhead` compares a worker of the harness, in
turns, with a loop that calls the same trainer and reads the clock around its steps. Every
comparison has two new processes and counts once, so that the interval contains the variation
between processes, such as the layout of their memory. Both print figures and write them as JSON.
"""

import argparse
import itertools
import json
import multiprocessing
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from alexnet_impl.data.batches import epoch_batches
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.frameworks import get_framework
from alexnet_impl.machine.facts import machine_fingerprint
from alexnet_impl.measurement.case import READY_BATCHES, Case, synthetic_data
from alexnet_impl.measurement.case_worker import case_worker
from alexnet_impl.measurement.measured_cases import RoundsPlan
from alexnet_impl.measurement.rounds import TimedSide, take_rounds
from alexnet_impl.measurement.timing import GROUP_S
from alexnet_impl.measurement.workloads import LEARNING_RATE
from alexnet_impl.processes.host_memory import keep_freed_memory
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.stats.speed_ratios import Ratio, paired_ratio, verdict
from alexnet_impl.training.feeding import batch_plan
from alexnet_impl.weights.initializers import initial_weights

COMPARISONS_A_PAIR = 10
"""Comparisons by the same two processes."""


def make_case(given: argparse.Namespace) -> Case:
    """Returns the case of a training step of cifar on noise."""
    recipe = Recipe(initializer="he", last_layer_std=0.01, global_batch_size=given.batch_size)
    config = RunConfig(
        framework=given.framework,
        variant="cifar",
        width=given.width,
        recipe=recipe,
        data=synthetic_data(given.batch_size),
        device="cpu",
        threads=given.threads,
    )
    return Case(workload="training", config=config)


def silent(_rounds: int, _ratio: Ratio) -> None:
    """Ignores progress."""


def alike(case: Case, plan: RoundsPlan, comparisons: int) -> dict[str, object]:
    """Returns the verdicts of `count` comparisons of a side with itself."""
    verdicts: Counter[str] = Counter()
    ratios = []
    for first in range(0, comparisons, COMPARISONS_A_PAIR):
        with ExitStack() as stack:
            workers = [stack.enter_context(case_worker(case)) for _ in range(2)]
            sides = [TimedSide(worker, plan) for worker in workers]
            for _ in range(min(COMPARISONS_A_PAIR, comparisons - first)):
                ratio = take_rounds(sides, plan, silent)
                ratios.append(asdict(ratio))
                verdicts[verdict(ratio, plan.margin)] += 1
        print(f"{sum(verdicts.values())} comparisons: {dict(verdicts)}", flush=True)
    return {"verdicts": dict(verdicts), "ratios": ratios}


class BareLoop:
    """Steps of a trainer in this process, between two readings of the clock."""

    def __init__(self, case: Case) -> None:
        config, recipe = case.config, case.config.recipe
        keep_freed_memory()  # as every worker does
        framework, dataset = get_framework(config.framework), load_dataset(config.data)
        framework.set_threads(config.threads or 1)
        spec = config.spec(dataset.num_classes)
        weights = initial_weights(spec, recipe)
        self.trainer = framework.make_trainer(spec, recipe, weights, config.device)
        ready = itertools.islice(epoch_batches(dataset.train, batch_plan(recipe), 0), READY_BATCHES)
        self.batches = itertools.cycle(list(ready))
        self.amount, self.steps = recipe.global_batch_size, 1
        while (spent := self.time_group() * self.amount * self.steps) < GROUP_S:
            self.steps = max(self.steps + 1, int(self.steps * GROUP_S / spent))

    def time_group(self) -> float:
        """Returns seconds per image, after one untimed step, as in the harness."""
        self.take_step()
        self.trainer.synchronize()
        started = time.perf_counter()
        for _ in range(self.steps):
            self.take_step()
        self.trainer.synchronize()
        return (time.perf_counter() - started) / self.steps / self.amount

    def take_step(self) -> None:
        """Takes one step on the next batch."""
        batch = next(self.batches)
        self.trainer.train_step(batch.images, batch.labels, LEARNING_RATE)


def overhead(case: Case, plan: RoundsPlan, comparisons: int) -> dict[str, object]:
    """Measures the speed ratio of the harness to a bare loop."""
    ratios = []
    with ProcessPoolExecutor(
        max_workers=1, max_tasks_per_child=1, mp_context=multiprocessing.get_context("spawn")
    ) as processes:
        for number in range(1, comparisons + 1):
            ratio = processes.submit(against_bare_loop, case, plan).result()
            ratios.append(ratio)
            print(f"{number}: {shown(ratio)} rounds", flush=True)
    pooled = paired_ratio([1 / one.ratio for one in ratios], [1.0] * len(ratios))
    print(f"harness / bare loop, speed: {shown(pooled)} comparisons")
    return {"ratio": asdict(pooled), "ratios": [asdict(one) for one in ratios]}


def against_bare_loop(case: Case, plan: RoundsPlan) -> Ratio:
    """Compares a worker of the harness with a loop in this process."""
    with case_worker(case) as worker:
        return take_rounds([TimedSide(worker, plan), BareLoop(case)], plan, silent)


def shown(ratio: Ratio) -> str:
    """Formats a ratio in one line."""
    return f"{ratio.ratio:.4f} [{ratio.low:.4f}, {ratio.high:.4f}], {ratio.rounds}"


def main() -> None:
    """Runs one of the two checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=["alike", "overhead"])
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--comparisons", type=int, help="default: 100 alike, 12 of overhead")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of one comparison")
    parser.add_argument("--output", type=Path, default=Path("harness.json"))
    given = parser.parse_args()
    case, plan = make_case(given), RoundsPlan(budget_s=given.budget, warm_up_s=5.0)
    if given.check == "alike":
        done = alike(case, plan, given.comparisons or 100)
    else:
        plan = replace(plan, width=1e-4, max_rounds=1000)  # all the budget: to see 1 %
        done = overhead(case, plan, given.comparisons or 12)
    facts = {"case": case.to_dict(), "plan": asdict(plan), "machine": machine_fingerprint()}
    given.output.write_text(json.dumps(facts | done, indent=1, default=str))


if __name__ == "__main__":
    main()
