"""Cases on noise images, and sides of a benchmark as if they had been measured."""

from dataclasses import replace

from alexnet_impl.measurement.case import Case, synthetic_data
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, MeasuredPair, RoundsPlan
from alexnet_impl.parity.record import CheckResult
from alexnet_impl.recipe.named import get_recipe
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.stats.speed_ratios import paired_ratio

HELD = CheckResult(name="logits", precision="float32", measured=1e-6, tolerance=1e-5, reason="sums")
MACHINE_FACTS = {
    "cpu": "a processor",
    "logical_cpus": 2,
    "packages": {"torch": "2.14.1", "tensorflow": "2.21.0", "keras": "3.15.1"},
}
EQUAL, DIFFERS = Gate(checks=(HELD,)), Gate(checks=(replace(HELD, measured=0.5, where="fc3"),))


def noise_config(recipe, **changes):
    """A narrow network in PyTorch on a CPU, with a batch of noise images."""
    values = {
        "framework": "torch",
        "variant": "cifar",
        "width": 1 / 16,
        "recipe": recipe,
        "data": synthetic_data(recipe.global_batch_size),
        "device": "cpu",
    }
    return RunConfig(**values | changes)


def side(framework, /, *times_s, **changes):
    recipe = replace(get_recipe("quick"), global_batch_size=128)
    config = noise_config(recipe, framework=framework, width=1.0, device="auto")
    values = {
        "case": Case(workload="training", config=config),
        "times_s": times_s,
        "calls_per_group": 3,
        "amount": 128,
        "unit": "images",
        "preparation_s": 1.0,
        "first_call_s": 0.5,
        "warm_up_calls": 10,
        "steady": True,
        "memory": {"process": 2**30, "device": None},
        "peaks": {"matmul float32": 1e12},
        "round_trip_s": 1e-4,
        "framework": {},
        "warnings": (),
    }
    return MeasuredCase(**values | changes)


def pair(**changes):
    first, second = side("torch", 0.1, 0.1, 0.11, 0.1), side("tensorflow", 0.2, 0.21, 0.2, 0.2)
    ratio = paired_ratio([0.2, 0.21, 0.2], [0.4, 0.41, 0.4])
    values = {"ratio": ratio, "verdict": "faster", "plan": RoundsPlan()}
    return MeasuredPair(first=first, second=second, **values | changes)
