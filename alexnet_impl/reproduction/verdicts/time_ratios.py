"""Training times as ratios: between experiments of one report, and of our runs on one machine."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alexnet_impl.recipe.phases import num_epochs
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import Finding
from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.queries import CLAIMS, final_claims
from alexnet_impl.reproduction.runs.evidence import Evidence, own_runs, shared_runs

GPU_DEVICES = ("cuda", "gpu", "mps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine of a run; times are compared only between runs on one machine.

    Attributes:
        processor: The name of the GPU, or of the CPU and its number of logical CPUs.
        threads: CPU threads of the framework; None on a GPU.
    """

    processor: str
    threads: int | None

    @property
    def text(self) -> str:
        """Processor and threads in words."""
        if self.threads is None:
            return self.processor
        return f"{self.processor}, {self.threads} thread{'' if self.threads == 1 else 's'}"


def machine_of(run: Evidence) -> Machine | None:
    """The machine of a run by its environment.json; None if that is missing or incomplete."""
    environment = run.environment
    framework = environment.get("framework", {})
    cpu, logical = environment.get("cpu"), environment.get("logical_cpus")
    device = framework.get("device")
    if device in GPU_DEVICES:
        return Machine(processor=f"{framework.get('gpu') or device} beside {cpu}", threads=None)
    if device is None or cpu is None:
        return None
    told = framework.get("threads") or framework.get("intra_op_threads")
    threads = run.config.threads or told or logical
    return Machine(processor=f"{cpu}, {logical} CPUs", threads=threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class OurRatio:
    """Time ratio of two of our runs on one machine.

    Attributes:
        value: First over second, for the report's numbers of epochs.
        title: Budget and seed of both runs.
    """

    value: float
    title: str
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRatio:
    """Ratio of the first total times that a report gives for two experiments.

    Attributes:
        value: First over second.
        doubts: For each of the two times that the report contradicts, a sentence.
    """

    value: float
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRatio:
    """Time of the first experiment over that of the second, both of one report.

    Attributes:
        ours: Our ratio; None without two runs of one budget, seed, dataset and machine.
        left_out: Titles of our runs that were left out, since other work used the machine.
    """

    first: str
    second: str
    published: PublishedRatio
    ours: OurRatio | None
    left_out: tuple[str, ...] = ()


def compare_times(
    evidence: Sequence[Evidence],
    findings: Sequence[Finding] = (),
    claims: Sequence[Claim] = CLAIMS,
) -> tuple[TimeRatio, ...]:
    """Compares every pair of experiments of one report whose total times are published."""
    pairs = itertools.combinations(dict.fromkeys(claim.experiment for claim in claims), 2)
    return tuple(
        TimeRatio(
            first=first,
            second=second,
            published=published,
            ours=next(_our_ratios(shared), None),
            left_out=left_out(shared),
        )
        for first, second in pairs
        if EXPERIMENTS[first].report == EXPERIMENTS[second].report
        and (published := published_ratio(first, second, findings, claims)) is not None
        for shared in [shared_runs(own_runs(evidence, first), own_runs(evidence, second))]
    )


def published_ratio(
    first: str, second: str, findings: Sequence[Finding], claims: Sequence[Claim] = CLAIMS
) -> PublishedRatio | None:
    """Ratio of two experiments' published total times; None if one is not given."""
    totals = [
        c for name in (first, second) for c in final_claims(name, "training_time", claims)[:1]
    ]
    if len(totals) < 2:
        return None
    denied = [c for f in findings if f.kind == "inconsistent" for c in f.claims]
    doubts = (f"{c.text} of {c.experiment} is inconsistent" for c in totals if c in denied)
    return PublishedRatio(value=totals[0].value / totals[1].value, doubts=tuple(doubts))


def _our_ratios(pairs: Sequence[tuple[Evidence, Evidence]]) -> Iterator[OurRatio]:
    for first, second in pairs:
        if (value := time_ratio(first, second)) and (machine := machine_of(first)):
            title = f"{first.record.budget}, seed {first.record.seed}"
            yield OurRatio(value=value, title=title, machine=machine)


def left_out(pairs: Sequence[tuple[Evidence, Evidence]]) -> tuple[str, ...]:
    """Experiments and titles of the runs whose times are in no ratio, since others worked too."""
    return tuple(
        f"{run.record.experiment} ({run.title})"
        for pair in pairs
        for run in pair
        if run.is_beside_other_work
    )


def time_ratio(first: Evidence, second: Evidence) -> float | None:
    """First over second; None unless both ran on one machine, device and number of threads.

    None as well if other work used the machine meanwhile.
    """
    if first.is_beside_other_work or second.is_beside_other_work:
        return None
    times = full_time_s(first), full_time_s(second)
    machines = machine_of(first), machine_of(second)
    if machines[0] is None or machines[0] != machines[1] or not (times[0] and times[1]):
        return None
    return times[0] / times[1]


def full_time_s(run: Evidence) -> float | None:
    """Seconds that the steps of all of the report's epochs would take on the run's images.

    Extrapolated from the epochs that ended. None if no epoch ended; if phases are still to come,
    whose epochs take other times; and if features were cached: the report computed them anew in
    each epoch.
    """
    ended = run.history.epochs
    recipe = run.config.recipe
    has_phases_left = recipe.phases and len(ended) < num_epochs(recipe)
    if not ended or has_phases_left or run.config.cache_features:
        return None
    spent = sum(record.training_time_s for record in ended)
    return spent / len(ended) * num_epochs(run.experiment.recipe)
