"""What the long accuracy tests ask of runs, asked of runs that are made of chosen numbers."""

import pytest
from support.agreement import agree, died, held_claims, judged, of_one_fate
from support.experiment_runs import write_experiment

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.reproduction.claims.queries import final_claims
from alexnet_impl.reproduction.runs.evidence import own_runs
from alexnet_impl.reproduction.runs.reading import read_evidence
from alexnet_impl.stats.accuracy import wilson_accuracy

pytestmark = pytest.mark.fast


def runs_of(root, name, *accuracies, **changes):
    """A run of each accuracy, seed by seed."""
    for seed, accuracy in enumerate(accuracies):
        write_experiment(root, name, accuracy=accuracy, seed=seed, **changes)
    return own_runs(read_evidence(root)[0], name)


def held(name, runs):
    claims = final_claims(name, "test_top1_accuracy")
    return {claim.text for claim in held_claims(claims, judged(name, runs))}


def test_bar_of_two_seeds_holds_their_spread(tmp_path):
    assert held("R3-torch", runs_of(tmp_path / "one", "R3-torch", 0.779)) == set()
    assert held("R3-torch", runs_of(tmp_path / "two", "R3-torch", 0.779, 0.783)) == {
        "79.22 %",
        "0.7922",
    }


@pytest.mark.parametrize("accuracies", [(0.1, 0.1), (0.70, 0.702)], ids=str)
def test_bar_is_missed_by_runs_that_are_elsewhere(tmp_path, accuracies):
    runs = runs_of(tmp_path, "R3-torch", *accuracies)
    assert len(judged("R3-torch", runs)) == 2
    assert held("R3-torch", runs) == set()


def test_network_of_r0_that_lived_is_not_held_against_the_figures_of_a_dead_one(tmp_path):
    runs = runs_of(tmp_path, "R0-torch", 0.65, 0.1)
    assert [died(run) for run in runs] == [False, True]
    assert held("R0-torch", runs) == {"10.00 %"}
    assert judged("R0-torch", runs[:1]) == []


def test_network_of_r0_that_the_watch_calls_dead_must_do_no_better_than_chance(tmp_path):
    runs = runs_of(tmp_path, "R0-torch", 0.65, 0.65, collapsed=True)
    assert len(judged("R0-torch", runs)) == 2
    assert held("R0-torch", runs) == set()


@pytest.mark.parametrize(
    ("name", "accuracies", "asked", "agreed"),
    [
        ("R0-torch", (0.1, 0.7), False, False),
        ("R0-torch", (0.1, 0.1), True, True),
        ("R0-torch", (0.65, 0.7), True, False),
        ("R3-torch", (0.1, 0.7), True, False),
        ("R3-torch", (0.79, 0.795), True, True),
    ],
    ids=str,
)
def test_frameworks_are_asked_to_agree_unless_a_network_of_r0_died_in_one_alone(
    tmp_path, name, accuracies, asked, agreed
):
    runs = [
        write_experiment(tmp_path, name, accuracy=accuracy, framework=framework)
        for framework, accuracy in zip(FRAMEWORKS, accuracies, strict=True)
    ]
    assert of_one_fate(name, runs) == asked
    found = [wilson_accuracy(round(10_000 * accuracy), 10_000) for accuracy in accuracies]
    assert agree(*found) == agreed
