"""How long a benchmark will take, said before it starts."""

from collections.abc import Sequence

from alexnet_impl.machine.fact import Facts
from alexnet_impl.machine.interference import MAX_INTERFERENCE
from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.measured_cases import NUM_CLASSES, RoundsPlan
from alexnet_impl.measurement.rounds import calibration_s, seconds_left
from alexnet_impl.network.spec import trace

START_S = 5.0
"""Seconds until a process has its framework and model, on two cores that are free."""
GATE_S, GATE_S_PER_WEIGHT = 5.0, 3e-7
"""Seconds of a gate for any network, and for each weight, which both processes send and receive."""
FIRST_ROUND_S = 4.0
"""Seconds of the first round: four groups, each after an untimed call."""


def forecast(cases: Sequence[Case], plan: RoundsPlan, *, has_gate: bool, machine: Facts) -> str:
    """Say what the parts of a benchmark will take, and whether they fit into its time limit.

    Args:
        cases: One side or two.
        plan: How long to measure; the time that is over is not given out again.
        has_gate: Whether the gate comes first.
        machine: The machine before, with 'busy_share' and 'load_average'.
    """
    slower = _slowdown(machine)
    left_s = seconds_left(plan)
    config = cases[0].config
    num_weights = trace(config.spec(NUM_CLASSES)).num_params
    gate_s = slower * (GATE_S + GATE_S_PER_WEIGHT * num_weights) if has_gate else 0.0
    starts_s = slower * len(cases) * START_S
    peaks_s = slower * sum(map(calibration_s, cases))
    least_s = gate_s + starts_s + peaks_s + slower * FIRST_ROUND_S
    parts = [f"gate {gate_s:.0f} s"] if has_gate else []
    parts += [f"starts {starts_s:.0f} s", f"calibration {peaks_s:.0f} s"]
    if least_s > left_s:
        return (
            f"Expected: {', '.join(parts)}. These and one round take about {least_s:.0f} s, more "
            f"than is left of --budget {plan.budget_s:g}; it may end after one round."
        )
    warm_s = min(len(cases) * plan.warm_up_s, (left_s - least_s) / 2)
    rest_s = left_s - least_s - warm_s + slower * FIRST_ROUND_S
    parts += [f"warm-up up to {warm_s:.0f} s", f"rounds up to {rest_s:.0f} s"]
    return f"Expected: {', '.join(parts)}; in all at most {plan.budget_s:g} s (--budget)."


def _slowdown(machine: Facts) -> float:
    """How many times as long work takes beside what keeps the cores busy now."""
    load, cpus = machine.get("load_average"), machine.get("logical_cpus")
    if not load or not cpus or (machine.get("busy_share") or 0.0) <= MAX_INTERFERENCE:
        return 1.0
    return float(max(1.0, (1 + load[0]) / cpus))
