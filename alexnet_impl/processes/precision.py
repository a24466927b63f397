"""Settles a job's precision once, from the reports of its workers, before it prepares a run."""

import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from alexnet_impl.errors import AlexNetWarning
from alexnet_impl.frameworks import get_framework
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.processes.remote_trainer import remote_side
from alexnet_impl.runs.config import RunConfig

Ask = Callable[[RunConfig], Bfloat16Support]
"""Reports bfloat16 of a config's framework on its device, with its threads."""


def ask_here(config: RunConfig) -> Bfloat16Support:
    """Asks the framework in this process, which will train in it."""
    framework = get_framework(config.framework)
    if config.threads is not None:
        framework.set_threads(config.threads)
    return framework.bfloat16_support(config.device)


def ask_workers(interpreters: Mapping[str, str]) -> Ask:
    """Asks a worker process of each framework; several may start at once, and probe in turns.

    `interpreters` maps a framework to the Python that runs it, by default this one.
    """
    probe = threading.Lock()

    def ask(config: RunConfig) -> Bfloat16Support:
        with (
            remote_side(
                config.framework,
                config.data,
                device=config.device,
                threads=config.threads,
                interpreter=interpreters.get(config.framework, sys.executable),
            ) as side,
            probe,
        ):
            return side.bfloat16_support()

    return ask


CHOOSE = "use --recipe.precision float32, or auto, which chooses."
"""What to do about a slow bfloat16, in most commands."""


def settle_precision(
    configs: Sequence[RunConfig],
    ask: Ask,
    announce: Callable[[str], None],
    remedy: str = CHOOSE,
) -> list[RunConfig]:
    """Replaces precision=auto in the configs of a job, and warns of a bfloat16 that is slow.

    auto becomes bfloat16 if every framework of the job has it natively, otherwise float32: the same
    for all sides. Without auto or bfloat16 nobody is asked.

    Args:
        configs: One for each side of the job.
        ask: Reports bfloat16 of one config's framework; asked once for each framework, of all at
            once.
        announce: Is given a sentence about what auto became, if a config has it.
        remedy: What to do about a slow bfloat16, the end of the warning's sentence.

    Raises:
        RunError: If a worker fails.
    """
    if not any(config.recipe.precision in ("auto", "bfloat16") for config in configs):
        return list(configs)
    by_framework = {config.framework: config for config in configs}
    with ThreadPoolExecutor() as pool:
        found = dict(zip(by_framework, pool.map(ask, by_framework.values()), strict=True))
    slow = {name: _slowness(name, one) for name, one in found.items() if not one.is_native}
    settled = [_settled(config, slow) for config in configs]
    if settled != list(configs):
        reason = f"float32, because {' and '.join(slow.values())}"
        announce(f"precision auto: {reason if slow else f'bfloat16, native in {_named(found)}'}.")
    for name in {config.framework for config in configs if config.recipe.precision == "bfloat16"}:
        if name in slow:
            warnings.warn(
                f"precision=bfloat16: {slow[name]}; {remedy}", AlexNetWarning, stacklevel=2
            )
    return settled


def _settled(config: RunConfig, slow: Mapping[str, str]) -> RunConfig:
    if config.recipe.precision != "auto":
        return config
    recipe = replace(config.recipe, precision="float32" if slow else "bfloat16")
    return replace(config, recipe=recipe, auto_precision=True)


def _slowness(name: str, found: Bfloat16Support) -> str:
    if not found.speed:
        return f"{name} has no bfloat16 on this device"
    text = f"{name} multiplies bfloat16 at {found.speed:.2g} times float32's speed"
    lacking = found.hardware is False  # None: the system does not say
    return f"{text} (this hardware has no instructions for it)" if lacking else text


def _named(found: Mapping[str, Bfloat16Support]) -> str:
    return " and ".join(found)
