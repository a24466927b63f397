"""One question from its beginning to its record: two processes, the ladder, the file."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from alexnet_impl.data import Dataset
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.ladder import Announce, climb
from alexnet_impl.parity.lockstep import Question, Sides, draw_batches, parity_recipe
from alexnet_impl.parity.record import ParityRecord
from alexnet_impl.remote import remote_side
from alexnet_impl.results import RunConfig, environment_fingerprint


def make_question(config: RunConfig, dataset: Dataset, steps: int) -> Question:
    """What the ladder is to be climbed with.

    Args:
        config: Its variant, width, recipe and data; its framework is not used.
        dataset: What config.data loads.
        steps: How many the lockstep forms take.
    """
    spec = config.spec(dataset.num_classes)
    recipe = parity_recipe(config.recipe, spec)
    return Question(spec=spec, recipe=recipe, batches=draw_batches(dataset.train, recipe, steps))


def prove(
    config: RunConfig,
    dataset: Dataset,
    steps: int,
    interpreters: Mapping[str, str],
    announce: Announce,
) -> ParityRecord:
    """Climb the ladder with each framework in a process of its own.

    Args:
        config: What to compare; its framework is not used.
        dataset: What config.data loads.
        steps: How many the lockstep forms take.
        interpreters: Framework to the Python that runs it; this one by default.
        announce: Is told of every rung.

    Raises:
        RunError: If a process fails.
    """
    question = make_question(config, dataset, steps)
    with ExitStack() as stack:
        sides: Sides = [
            stack.enter_context(
                remote_side(
                    name,
                    config.data,
                    device=config.device,
                    interpreter=interpreters.get(name, sys.executable),
                )
            )
            for name in FRAMEWORKS
        ]
        climbed = climb(sides, question, dataset.test, announce)
        environment: dict[str, Any] = environment_fingerprint()
        environment["frameworks"] = {side.name: side.fingerprint() for side in sides}
    return ParityRecord(
        request=request_of(config, dataset, steps, question),
        environment=environment,
        rungs=climbed.rungs,
        series=climbed.series,
    )


def request_of(
    config: RunConfig, dataset: Dataset, steps: int, question: Question
) -> dict[str, Any]:
    """What was asked, so that a benchmark can tell whether a record is about its own case."""
    asked = config.to_dict()
    del asked["framework"]
    return asked | {
        "steps": steps,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "parity_recipe": asdict(question.recipe),
    }


JUDGED = (
    "optimizer",
    "momentum",
    "momentum_formula",
    "nesterov",
    "beta1",
    "beta2",
    "epsilon",
    "epsilon_formula",
    "weight_decay",
    "weight_decay_on",
    "clip_norm",
    "loss_input",
    "label_smoothing",
    "input_scaling",
    "input_size",
    "resize",
    "precision",
    "memory_layout",
    "compile_mode",
)
"""Fields of a Recipe that decide what is computed in a step; the others decide from which weights,
with which images and for how long."""


def covers(record: ParityRecord, config: RunConfig) -> bool:
    """Whether a ladder that held speaks for this run: the same network and step.

    Args:
        record: What a ladder found.
        config: A run, or a benchmark's case.

    Returns:
        False as well where the ladder did not hold.
    """
    asked = record.request
    recipe, own = asked["recipe"], config.recipe.to_dict()
    return (
        record.holds
        and (asked["variant"], asked["width"]) == (config.variant, config.width)
        and asked["device"] == config.device
        and all(recipe[name] == own[name] for name in JUDGED)
    )
