"""An explanation finds a planted effect, says that a planted null has none, and is not fooled."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from support import fake_framework
from support.starting import series_in_process

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.explain import study as explain
from alexnet_impl.explain.factors import FACTORS, Factor
from alexnet_impl.explain.results import METRICS, measure, read_explanation
from alexnet_impl.explain.study import (
    aligned_config,
    dataset_facts,
    execute,
    make_plan,
    make_request,
    prepare_arms,
    write_request,
)
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.explain.tables import verdict
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.stats.paired_effects import estimate, holm
from alexnet_impl.training import start as training

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=200, test_images=100, image_size=4)
RECIPE = Recipe(learning_rate=0.1, steps=20, global_batch_size=16)


def planted(name, **fields):
    """A factor that sets these fields of the recipe."""
    return Factor(
        name=name,
        what="planted",
        in_torch="no",
        in_keras="yes",
        source="this test",
        as_keras=lambda setting: replace(setting, recipe=replace(setting.recipe, **fields)),
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The explanation of an effect and of two nulls; its folder is to be read only."""
    folder = tmp_path_factory.mktemp("explained")
    factors = [
        planted("never-learns", learning_rate=1e-6),
        planted("unheeded", dropout_masks="shared"),
        planted("unchanged", learning_rate=RECIPE.learning_rate),
    ]
    with pytest.MonkeyPatch.context() as patch:
        fake_framework.install(patch)
        patch.setattr(explain, "worker_series", series_in_process)
        patch.setattr(training, "environment_fingerprint", dict)
        for factor in factors:
            patch.setitem(FACTORS, factor.name, factor)
        config = aligned_config(fake_framework.linear_config(RECIPE, DATA))
        request = make_request(config, 200, (0, 1, 2), [factor.name for factor in factors])
        write_request(folder, request)
        dataset = load_dataset(DATA)
        plan = make_plan(request, dataset_facts(dataset))
        execute(plan, prepare_arms(plan, dataset), folder, Console(quiet=True), {})
        yield read_explanation(folder)


def effect(found, name):
    return next(one for one in found.factors if one.row.name == name)


@pytest.mark.slow
def test_planted_effect_is_found_and_leads_the_ranking(found):
    assert found.factors[0].row.name == "never-learns"
    for metric in METRICS:
        assert effect(found, "never-learns").estimates[metric].measurable
    assert effect(found, "never-learns").estimates["test_loss"].mean > 0.1
    assert verdict(found.factors[0]).startswith("changes accuracy and test loss")


@pytest.mark.slow
def test_planted_nulls_are_said_to_have_no_effect(found):
    assert verdict(effect(found, "unheeded")) == "none measurable"
    assert effect(found, "unheeded").num_seeds == 3
    message = "not applicable: both values are the same here"
    assert verdict(effect(found, "unchanged")) == message


@pytest.mark.slow
def test_effect_goes_away_where_runs_are_not_paired_by_seed(found):
    """The break: the aligned runs' figures handed to the wrong seeds."""
    spread = {}
    for (arm, seed), outcome in found.outcomes.items():
        gain = 0.0 if arm.name == "aligned" else 1.0 + seed / 100
        spread[arm, seed] = replace(outcome, figures=dict.fromkeys(METRICS, 10.0 * seed + gain))
    assert unheeded(measure(found.plan, spread)).measurable
    mixed = {
        (arm, seed): spread[arm, (seed + 1) % 3] if arm.name == "aligned" else outcome
        for (arm, seed), outcome in spread.items()
    }
    assert not unheeded(measure(found.plan, mixed)).measurable


def unheeded(effects):
    return next(effect for effect in effects if effect.row.name == "unheeded")


@pytest.mark.slow
def test_figures_come_from_the_run_folders(found, tmp_path):
    """The break: a result that was changed on disk shows."""
    folder = tmp_path / "copy"
    shutil.copytree(found.folder, folder)
    arm = effect(found, "unheeded").row.after
    run = RunFolder.open(folder / found.outcomes[arm, 0].path.relative_to(found.folder))
    values = run.read_json("result.json")
    run.write_json("result.json", values | {"test_loss": values["test_loss"] + 1})
    again = unheeded(read_explanation(folder).factors)
    assert again.estimates["test_loss"].differences == pytest.approx([1, 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 5])
def test_interval_calls_chance_measurable_once_in_twenty(count):
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (2000, count)).tolist()
    share = sum(estimate(row).measurable for row in rows) / len(rows)
    assert 0.035 < share < 0.065


@pytest.mark.slow
def test_holms_correction_keeps_false_alarms_of_a_whole_table_rare():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        p_values = holm([estimate(row).p_value for row in rng.normal(0, 1, (12, 3)).tolist()])
        alarms += min(p_values) < 0.05
    assert alarms / 300 < 0.08
