"""The reports' experiments, at their own length (`-m accuracy --data-dir PATH`).

Each test's name has the minutes that it should take on a GPU.
"""

import pytest
from rich.console import Console
from support.agreement import agree, held_claims, judged, of_one_fate
from support.experiment_runs import base_config
from support.starting import images_of

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import settle
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.network.variants import BACKBONE_VARIANTS
from alexnet_impl.report.ledger.experiments import full_flops
from alexnet_impl.reproduction.catalogue.budget import get_budget
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.reproduction.checks.finding import NUM_TEST, NUM_TRAIN
from alexnet_impl.reproduction.claims.queries import curve_claims, final_claims
from alexnet_impl.reproduction.runs.evidence import own_runs
from alexnet_impl.reproduction.runs.reading import read_evidence
from alexnet_impl.reproduction.runs.requests import make_request
from alexnet_impl.reproduction.runs.runner import prepare_request, reproduce
from alexnet_impl.stats.accuracy import difference_interval, top1_accuracy

pytestmark = [pytest.mark.accuracy, pytest.mark.torch, pytest.mark.tensorflow]

FLOPS_PER_S = 5e12
"""Of a GPU that trains in float32; TF32 is off."""
NAMES = tuple(name for name, experiment in EXPERIMENTS.items() if not experiment.in_memory)
IN_BOTH = tuple(name for name in NAMES if EXPERIMENTS[name].variant not in BACKBONE_VARIANTS)
"""Those whose network is one and the same in both."""
SEEDS = (0, 1)
"""That are trained for what was published: one alone has no spread between seeds."""

BACKBONE_MACS = {"vgg16": 15.3e9, "resnet50": 3.9e9, "mobilenetv2": 0.1e9}
"""Of a forward pass at the reports' input sizes, which the Spec does not count."""


def gpu_minutes(name):
    """Of one training."""
    experiment = EXPERIMENTS[name]
    flops = full_flops(experiment)
    passes = 1 if experiment.cache_features else experiment.recipe.epochs
    flops += 2 * BACKBONE_MACS.get(experiment.variant, 0) * (NUM_TRAIN + NUM_TEST) * passes
    return max(1, round(flops / FLOPS_PER_S / 60))


def with_minutes(names, trainings):
    return [pytest.param(n, id=f"{n}-{trainings * gpu_minutes(n)}min") for n in names]


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Where the runs lie, so that no test trains what another one has trained."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture
def train(root, data_dir, refuse_cpu):
    """Train an experiment in a framework, or take the run that is there."""

    def train(name, framework, seed=SEEDS[0]):
        refuse_cpu(name, framework, gpu_minutes(name))
        base = base_config(seed, data=settle(DataConfig(data_dir=data_dir)))
        asked = make_request(EXPERIMENTS[name], get_budget("full"), base, framework=framework)
        run = prepare_request(asked, images_of(asked.config), {})
        return reproduce(asked, run, root, Console())

    return train


def accuracy_claims(name):
    """What the reports say that an experiment reaches."""
    return [
        *final_claims(name, "test_top1_accuracy"),
        *curve_claims(name, "eval_top1_accuracy")[-1:],
    ]


CLAIMED = tuple(name for name in NAMES if accuracy_claims(name))


def accuracy_of(run):
    predictions = run.read_predictions()
    return top1_accuracy(predictions.predicted, predictions.labels)


@pytest.mark.parametrize("name", with_minutes(CLAIMED, len(SEEDS)))
def test_experiment_reaches_what_was_published(name, train, root):
    for seed in SEEDS:
        train(name, EXPERIMENTS[name].framework, seed)
    evidence, problems = read_evidence(root)
    runs = own_runs(evidence, name)
    assert problems == ()
    assert sorted(run.record.seed for run in runs if run.is_full) == list(SEEDS)
    found = [run.result.test_top1_accuracy for run in runs]
    if not judged(name, runs):
        pytest.skip(f"no network died, of which alone a bar is published: {found}")
    # Where a report gives two values for one run, one of them at most is true.
    assert held_claims(accuracy_claims(name), judged(name, runs)), f"ours: {found}"


CORRECTIONS = ("R2-tf-converted-permuted", "R3-tf-vgg16")
"""Of a mistake that costs accuracy, so that there is a figure though no report gives one."""


@pytest.mark.parametrize("name", with_minutes(CORRECTIONS, 2))
def test_experiment_without_the_mistake_beats_the_one_with_it(name, train):
    names = (name, EXPERIMENTS[name].corrects)
    found = [accuracy_of(train(one, EXPERIMENTS[one].framework)) for one in names]
    low, _ = difference_interval(*found)
    assert low > 0, f"{names}: {' and '.join(map(str, found))}"


@pytest.mark.parametrize("name", with_minutes(IN_BOTH, 2))
def test_frameworks_agree_on_the_experiment(name, train):
    runs = [train(name, framework) for framework in FRAMEWORKS]
    found = [accuracy_of(run) for run in runs]
    if not of_one_fate(name, runs):
        pytest.skip(f"one network died, which is chance: {' and '.join(map(str, found))}")
    assert agree(*found), f"{name}: {' and '.join(map(str, found))}"
