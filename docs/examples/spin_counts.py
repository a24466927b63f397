"""Speed of PyTorch's training step by how long OpenMP's threads spin before they sleep.

    python docs/examples/spin_counts.py --busy 2

A worker process for each number of spins trains in turns with the others: alone, beside busy
processes, and alone again. Each line has the median over the rounds of the speed over that of the
last number, and images per second. The processes stay for all series, so run it several times:
two processes of one number differ as well.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median

from harness_checks import make_case

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.case_worker import case_worker
from alexnet_impl.measurement.measured_cases import RoundsPlan
from alexnet_impl.measurement.rounds import TimedSide

DEFAULT_SPINS = 300_000
"""What libgomp does where nothing is set."""


def start(case: Case, spins: int, plan: RoundsPlan, stack: ExitStack) -> TimedSide:
    """Starts and warms up a worker whose threads sleep after a number of spins."""
    os.environ["GOMP_SPINCOUNT"] = str(spins)
    return TimedSide(stack.enter_context(case_worker(case)), plan)


def take_series(label: str, sides: Mapping[int, TimedSide], rounds: int) -> None:
    """Times all sides in turns, each round in the opposite order, and prints their speeds."""
    counts, times = list(sides), {count: list[float]() for count in sides}
    for number in range(rounds):
        for count in counts if number % 2 else counts[::-1]:
            times[count].append(sides[count].time_group())
    for count, own in times.items():
        over = median(last / time_s for time_s, last in zip(own, times[counts[-1]], strict=True))
        print(f"{label}: {count:>7,} spins: {over:.3f}, {1 / median(own):,.0f}/s", flush=True)


def main() -> None:
    """Measures every number of spins alone and beside busy processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spins", type=int, nargs="+", help="the last one is compared with")
    parser.add_argument("--busy", type=int, default=2, help="busy processes beside it")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.set_defaults(framework="torch")
    parser.set_defaults(spins=[0, 1_000, 3_000, 10_000, 30_000, 100_000, DEFAULT_SPINS])
    given = parser.parse_args()
    os.environ.pop("OMP_WAIT_POLICY", None)
    case, plan = make_case(given), RoundsPlan(warm_up_s=3.0)
    with ExitStack() as stack:
        sides = {spins: start(case, spins, plan, stack) for spins in given.spins}
        take_series("alone", sides, given.rounds)
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(given.busy)]  # noqa: S603 - this Python
        try:
            time.sleep(1)
            take_series(f"beside {given.busy} busy processes", sides, given.rounds)
        finally:
            for process in busy:
                process.kill()
        take_series("alone again", sides, given.rounds)


if __name__ == "__main__":
    main()
