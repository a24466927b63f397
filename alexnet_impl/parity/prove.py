"""Runs a parity comparison of a built-in network, each framework in its own process."""

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

from alexnet_impl.data.dataset import Dataset
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.network.variants import refuse_library
from alexnet_impl.parity.lockstep import (
    FrameworkSide,
    FrameworkSides,
    ParityCase,
    draw_batches,
    parity_recipe,
)
from alexnet_impl.parity.record import CheckResult, ParityRecord
from alexnet_impl.parity.stages import run_stages
from alexnet_impl.processes.remote_trainer import remote_side
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.environment import environment_fingerprint
from alexnet_impl.training.prepare import PreparedRun


def make_parity_case(run: PreparedRun, dataset: Dataset, steps: int) -> ParityCase:
    """Build the parity case of a prepared run, whose framework is not used, on its images."""
    if run.config.network is None:
        refuse_library(run.config.variant)
    recipe = parity_recipe(run.config.recipe, run.spec)
    batches = draw_batches(dataset.train, recipe, steps)
    return ParityCase(spec=run.spec, recipe=recipe, batches=batches)


@contextmanager
def both_sides(config: RunConfig, interpreters: Mapping[str, str]) -> Iterator[FrameworkSides]:
    """Start each framework in its own process, with the config's images, device and threads.

    `interpreters` maps a framework to the Python that runs it; this one by default.
    """

    def start(name: str) -> FrameworkSide:
        side = remote_side(
            name,
            config.data,
            device=config.device,
            threads=config.threads,
            interpreter=interpreters.get(name, sys.executable),
        )
        return stack.enter_context(side)

    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:  # each imports its framework meanwhile
            sides = list(pool.map(start, FRAMEWORKS))
        yield sides


def prove(
    run: PreparedRun,
    dataset: Dataset,
    steps: int,
    interpreters: Mapping[str, str],
    announce: Callable[[ParityRecord], None],
) -> ParityRecord:
    """Run the parity stages with each framework in its own process.

    Args:
        run: What to compare; its framework is not used.
        dataset: The images that its config loads.
        steps: Number of lockstep steps.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Called with the record so far after every check; all may take an hour.

    Raises:
        RunError: If a process fails.
    """
    config, case = run.config, make_parity_case(run, dataset, steps)
    with both_sides(config, interpreters) as sides:
        environment: dict[str, Any] = environment_fingerprint()
        blank = ParityRecord(
            request=request_of(config, dataset, steps, case),
            environment=environment,
            checks=(),
            complete=False,
        )
        checks: list[CheckResult] = []

        def keep(check: CheckResult) -> None:
            if len(checks) < 2:  # the trainers of the second check have set the flags: no TF32
                environment["frameworks"] = {side.name: side.fingerprint() for side in sides}
            checks.append(check)
            announce(replace(blank, checks=tuple(checks)))

        results = run_stages(sides, case, dataset.test, keep)
    return replace(blank, checks=results.checks, series=results.series, complete=results.complete)


def request_of(config: RunConfig, dataset: Dataset, steps: int, case: ParityCase) -> dict[str, Any]:
    """The request as parity.json stores it."""
    asked = config.to_dict()
    del asked["framework"]
    return asked | {
        "steps": steps,
        "num_classes": dataset.num_classes,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "parity_recipe": asdict(case.recipe),
    }
