"""`alexnet explain` with the NumPy framework: planning, training, resuming, results and report."""

import json
import math
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from support import fake_framework
from support.starting import train_prepared

import alexnet_impl
from alexnet_impl.cli import explain as explain_cli
from alexnet_impl.cli import main
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.progress import Ticker
from alexnet_impl.errors import DataError, RunError, StoppedError, UnknownNameError
from alexnet_impl.explain import results
from alexnet_impl.explain import study as explain
from alexnet_impl.explain.results import METRICS, read_explanation, read_outcome, to_dict
from alexnet_impl.explain.study import (
    ExplainRequest,
    aligned_config,
    dataset_facts,
    execute,
    make_plan,
    make_request,
    prepare_arms,
    read_request,
    run_path,
    seeds_from,
    write_request,
)
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.explain import page as explain_page
from alexnet_impl.report.explain.page import forest_figure, render, write_explain_page
from alexnet_impl.report.explain.tables import (
    budget,
    effect_text,
    effects_table,
    headline,
    markdown_factors,
    not_applicable_lines,
    notes,
    verdict,
)
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training import start as training
from alexnet_impl.training.events import Started, Stepped

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
RECIPE = Recipe(learning_rate=0.1, steps=6, global_batch_size=16)
FACTORS = ("initializer", "softmax-twice", "resize")
INTERPRETERS: dict[str, str] = {}
MACHINE = {"logical_cpus": 2, "cpu": "Abacus", "packages": {"torch": "2.99", "numpy": "2.5"}}


class InProcess:
    """Stands for a WorkerSeries: trains here, and remembers what it was asked for."""

    def __init__(self, framework):
        self.framework, self.trained = framework, []

    def train(self, run, folder, observer):
        assert run.config.framework == self.framework
        self.trained.append(folder)
        return train_prepared(run, folder, observer)


def install_series(patch):
    """Workers in this process; returns the list of those that are started."""
    started = []

    @contextmanager
    def worker_series(framework, log_path, *, interpreter):  # noqa: ARG001 - workers' own
        started.append(InProcess(framework))
        yield started[-1]

    patch.setattr(explain, "worker_series", worker_series)
    return started


def install_framework(patch):
    """The NumPy framework in the place of every other, on a machine that is known already."""
    patch.setattr(training, "environment_fingerprint", lambda: MACHINE)
    return fake_framework.install(patch)


@pytest.fixture
def series(monkeypatch):
    return install_series(monkeypatch)


@pytest.fixture
def framework(monkeypatch):
    return install_framework(monkeypatch)


@pytest.fixture
def console():
    return Console(file=StringIO(), width=120)


def request_of(*factors, num_seeds=2, **changes):
    config = fake_framework.linear_config(replace(RECIPE, **changes), DATA)
    seeds = seeds_from(config.recipe.seed, num_seeds)
    return make_request(aligned_config(config), 50, seeds, factors)


def explained(folder, request, console):
    """Train everything, and read it back."""
    folder.mkdir(exist_ok=True)
    write_request(folder, request)
    train(make_plan(request, dataset_facts(load_dataset(DATA))), folder, console)
    return read_explanation(folder)


def train(plan, folder, console):
    """Train every run of a plan that has not ended."""
    execute(plan, prepare_arms(plan, load_dataset(DATA)), folder, console, INTERPRETERS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of FACTORS with two seeds; its folder must not be changed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        started, adapter = install_series(patch), install_framework(patch)
        found = explained(folder, request_of(*FACTORS), Console(file=StringIO(), width=120))
        assert [one.framework for one in started] == ["torch", "tensorflow"]
        assert len(adapter.trainers) == 3 * 2 + 2 * 2
    return found


@pytest.fixture
def copy(study, tmp_path, framework):  # noqa: ARG001
    """A copy of the study's folder that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(study.folder, folder)
    return folder


def break_runs(folder, study, name, seeds):
    """Let the runs of an arm in PyTorch with these seeds count as diverged."""
    for (arm, seed), outcome in study.outcomes.items():
        if (arm.name, arm.framework) == (name, "torch") and seed in seeds:
            run = RunFolder.open(folder / outcome.path.relative_to(study.folder))
            figures = {"test_top1_accuracy": None, "test_loss": None}
            run.write_json(
                "result.json", run.read_json("result.json") | {"status": "diverged"} | figures
            )


def named(effects, name):
    return next(effect for effect in effects if effect.row.name == name)


# ---- the plan


def test_plan_trains_each_arm_once_with_every_seed(framework):  # noqa: ARG001
    plan = make_plan(request_of(*FACTORS), dataset_facts(load_dataset(DATA)))
    torch = [(arm.name, seed) for arm, seed in plan.runs("torch")]
    names = ["aligned", "initializer", "softmax-twice"]
    assert torch == [(name, seed) for seed in (0, 1) for name in names]
    tensorflow = [(arm.name, seed) for arm, seed in plan.runs("tensorflow")]
    assert tensorflow == [
        (name, seed) for seed in (0, 1) for name in ("aligned", "framework-defaults")
    ]


def test_plan_puts_defaults_together_but_no_mistake(framework):  # noqa: ARG001
    request = request_of("initializer", "input-scaling", "softmax-twice")
    plan = make_plan(request, dataset_facts(load_dataset(DATA)))
    together = next(arm for arm in plan.arms if arm.name == "all-together")
    recipe = together.setting.recipe
    assert (recipe.initializer, recipe.input_scaling) == ("keras-default", "unit")
    assert recipe.loss_input == "logits"


def test_plan_in_tensorflow_trains_what_comes_and_all_together_once(framework):  # noqa: ARG001
    request = request_of()
    request = replace(request, config=replace(request.config, framework="tensorflow"))
    plan = make_plan(request, dataset_facts(load_dataset(DATA)))
    assert [arm.name for arm, _ in plan.runs("torch")] == ["aligned"] * 2
    names = [arm.name for arm, seed in plan.runs("tensorflow") if seed == 0]
    assert "all-together" in names
    assert "framework-defaults" not in names
    rows = {row.name: row for row in plan.rows}
    assert rows["framework defaults"].after == rows["all together"].after


def test_run_differs_from_aligned_by_its_factor_and_seed_alone(framework):  # noqa: ARG001
    plan = make_plan(request_of("input-scaling"), dataset_facts(load_dataset(DATA)))
    arm = next(arm for arm in plan.arms if arm.name == "input-scaling")
    config = plan.config(arm, 1)
    expected = replace(plan.request.config.recipe, input_scaling="unit", seed=1)
    assert config == replace(plan.request.config, recipe=expected)


def test_request_says_epochs_as_steps_and_counts_seeds_up(framework):  # noqa: ARG001
    request = request_of(steps=None, epochs=3, seed=5, num_seeds=3)
    assert request.config.recipe.steps == 3 * 4
    assert request.seeds == (5, 6, 7)


def test_request_survives_its_file(tmp_path, framework):  # noqa: ARG001
    request = request_of(*FACTORS)
    write_request(tmp_path, request)
    assert read_request(tmp_path) == request


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "contains no plan.json of `alexnet explain`; start without --resume"),
        ("{", "plan.json: cannot be read as JSON"),
        ("[1]", "plan.json: holds a list instead of an object"),
        ('{"schema_version": 9}', "schema_version=9; this release reads 1"),
        ('{"schema_version": 1, "config": {}}', "is damaged"),
    ],
)
def test_folder_without_a_request_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_request(tmp_path)


def test_requests_that_cannot_be_are_refused(framework):  # noqa: ARG001
    request = request_of()
    with pytest.raises(RunError, match="seeds=0: must be at least 1"):
        request_of(num_seeds=0)
    with pytest.raises(RunError, match=r"seeds=\(1, 1\): must be one seed or several"):
        ExplainRequest(config=request.config, seeds=(1, 1))
    with pytest.raises(UnknownNameError, match="Unknown framework 'keras'"):
        ExplainRequest(config=replace(request.config, framework="keras"), seeds=(0,))
    with pytest.raises(UnknownNameError, match=r"Unknown factor 'paddin'\. Did you mean 'padding'"):
        request_of("paddin")


def test_plan_with_a_run_that_cannot_start_is_refused(framework, monkeypatch):  # noqa: ARG001
    def refuse(_, recipe):
        raise DataError(f"too few images for {recipe.validation_split}.")

    dataset = load_dataset(DATA)
    plan = make_plan(request_of("validation-split"), dataset_facts(dataset))
    prepare_arms(plan, dataset)
    monkeypatch.setattr(explain, "run_images", refuse)
    with pytest.raises(
        RunError, match=r"validation-split: too few images for last\. To leave it out"
    ):
        prepare_arms(plan, dataset)


# ---- what is trained


def test_study_finds_what_matters_and_what_does_not(study):
    # The NumPy network has no other loss: softmax-twice changes nothing in it.
    assert [effect.row.name for effect in study.factors][-1] == "resize"
    twice = named(study.factors, "softmax-twice")
    assert verdict(twice) == "none measurable"
    assert [effect_text(twice, metric) for metric in METRICS] == ["0.00", "0.000", "0.000"]
    assert "not applicable: images are not resized" in verdict(named(study.factors, "resize"))
    itself = named(study.summaries, "the framework itself")
    assert itself.estimates["test_loss"].differences == (0, 0)
    initializer = named(study.factors, "initializer")
    first = [read_outcome(run_path(study.folder, arm, 0)) for arm in study.plan.arms[:2]]
    difference = first[1].figures["test_loss"] - first[0].figures["test_loss"]
    assert initializer.estimates["test_loss"].differences[0] == difference
    assert difference != 0


def test_run_folders_keep_all_but_the_weights(study):
    for outcome in study.outcomes.values():
        names = {path.name for path in outcome.path.iterdir()}
        assert {"run.json", "history.json", "predictions.npz", "result.json"} <= names
        assert "weights.safetensors" not in names


def test_training_loss_is_the_mean_of_the_last_steps(study, monkeypatch):
    monkeypatch.setattr(results, "NUM_LAST_STEPS", 4)
    outcome = next(iter(study.outcomes.values()))
    losses = RunFolder.open(outcome.path).history.step_loss
    assert len(losses) == 6
    found = read_outcome(outcome.path).figures["train_loss"]
    assert found == pytest.approx(sum(losses[-4:]) / 4)


def test_what_has_ended_is_not_run_again(study, copy, framework, series, console):
    before = to_dict(study)
    assert to_dict(explained(copy, study.plan.request, console)) == before
    assert framework.trainers == []
    (run_path(copy, study.plan.arms[0], 1) / "result.json").unlink()
    series.clear()
    with pytest.raises(RunError, match="has not ended; continue with --resume"):
        read_explanation(copy)
    train(study.plan, copy, console)
    assert [folder.name for folder in series[0].trained] == ["seed-1"]
    assert len(series) == 1


def test_study_of_before_with_other_names_of_arms_is_read_and_continued(
    study, copy, framework, series, console
):
    """Folders written before 2026-11-29 say made-equal and as-it-comes."""
    for name in ("torch", "tensorflow"):
        (copy / "runs" / name / "aligned").rename(copy / "runs" / name / "made-equal")
    defaults = copy / "runs" / "tensorflow" / "framework-defaults"
    defaults.rename(defaults.with_name("as-it-comes"))
    found = read_explanation(copy)
    assert [effect.estimates for effect in found.factors] == [
        effect.estimates for effect in study.factors
    ]
    train(found.plan, copy, console)
    assert framework.trainers == series == []


@pytest.mark.usefixtures("framework")
def test_worker_is_started_afresh_after_some_runs(tmp_path, series, console, monkeypatch):
    monkeypatch.setattr(explain, "RUNS_PER_WORKER", 3)
    ended = SimpleNamespace(status="finished")
    monkeypatch.setattr(InProcess, "train", lambda self, *_: self.trained.append(1) or ended)
    plan = make_plan(request_of("initializer"), dataset_facts(load_dataset(DATA)))
    train(plan, tmp_path, console)
    assert [(one.framework, len(one.trained)) for one in series] == [
        *(("torch", 3), ("torch", 1), ("tensorflow", 3), ("tensorflow", 1))
    ]


@pytest.mark.usefixtures("series")
def test_folder_with_a_run_of_something_else_is_not_continued(copy, console):
    with pytest.raises(RunError, match="aligned/seed-0: contains a run with another config"):
        explained(copy, request_of("initializer", learning_rate=0.2), console)


def test_run_that_diverges_is_shown_and_ends_nothing(tmp_path, framework, series, console):  # noqa: ARG001
    def break_loss(trainer, step):
        if trainer.recipe.loss_input == "softmax-twice" and trainer.recipe.seed and step == 3:
            trainer.broken_loss = math.nan

    framework.before_step = break_loss
    found = explained(tmp_path, request_of("softmax-twice"), console)
    twice = named(found.factors, "softmax-twice")
    assert verdict(twice) == "diverged in 1 of 2 seeds"
    assert len(twice.estimates["test_loss"].differences) == 1
    assert not twice.measurable
    assert "some runs did not finish with softmax-twice" in headline(found)
    json.dumps(to_dict(found), allow_nan=False)
    render(found, b"")


def test_factor_that_breaks_every_run_leads_the_ranking(study, copy):
    break_runs(copy, study, "softmax-twice", (0, 1))
    found = read_explanation(copy)
    assert [e.row.name for e in found.factors] == ["softmax-twice", "initializer", "resize"]
    assert verdict(found.factors[0]) == "diverged in 2 of 2 seeds"
    labels = forest_figure(found).axes[0].get_yticklabels()
    assert labels[0].get_text() == "softmax-twice"


def test_effects_are_unknown_where_the_aligned_training_diverges(study, copy):
    break_runs(copy, study, "aligned", (1,))
    found = read_explanation(copy)
    twice = named(found.factors, "softmax-twice")
    assert verdict(twice) == "unknown: aligned diverged in 1 of 2 seeds"
    assert not twice.measurable
    render(found, b"")


# ---- what is shown


def test_one_seed_makes_nothing_measurable(study, copy):
    write_request(copy, replace(study.plan.request, seeds=(0,)))
    found = read_explanation(copy)
    effect = named(found.factors, "initializer")
    assert verdict(effect) == "unknown with one seed"
    assert effect.estimates["test_loss"].low is None
    assert "inseparable" in headline(found)
    assert any("nothing is measurable" in note for note in notes(found))


@pytest.mark.usefixtures("framework")
def test_report_names_the_budget_the_effects_and_every_run(study, tmp_path, console):
    path = tmp_path / "explain.html"
    write_explain_page(path, study)
    page = path.read_text()
    for text in ("50 training and 30 test images", "6 steps of 16 images", "2 seeds (0, 1)"):
        assert text in budget(study)
        assert text in page
    assert study.dataset.fingerprint[:12] in budget(study)
    assert "2 CPUs, Abacus; torch 2.99." in budget(study)
    assert "<svg " in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert page.count("seed-") == len(study.outcomes)
    assert (tmp_path / "explain.png").read_bytes().startswith(b"\x89PNG")
    assert [axes.get_title(loc="left") for axes in forest_figure(study).axes] == [
        "Test accuracy, points",
        "Test loss",
    ]
    assert not_applicable_lines(study)[0] == "resize not applicable: images are not resized"
    console.print(effects_table(study))
    printed = console.file.getvalue()
    for name in ("initializer", "softmax-twice", "the framework itself", "none measurable"):
        assert name in printed


def test_document_has_the_generated_table_of_factors():
    document = Path(alexnet_impl.__file__).parents[1] / "docs" / "explain.md"
    assert markdown_factors() in document.read_text(encoding="utf-8")


# ---- the command


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, framework, series):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    # tested above, and slow
    monkeypatch.setattr(explain_page, "write_explain_page", lambda path, _: path.touch())
    native = Bfloat16Support(hardware=True, speed=3.0)
    monkeypatch.setattr(explain_cli, "ask_workers", lambda _: lambda _: native)

    def command(*arguments):
        code = main(["explain", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


SMALL = [
    *("--variant", "linear", "--dataset", "synthetic", "--image-size", "4"),
    *("--train-images", "50", "--test-images", "30", "--steps", "4", "--seeds", "1"),
    *("--only", "initializer"),
]


@pytest.mark.parametrize(
    ("stopped", "told"),
    [
        (StoppedError("Stopped between two runs"), "Stopped between two runs"),
        (KeyboardInterrupt(), "Stopped"),
    ],
    ids=["by a worker", "elsewhere"],
)
def test_stop_says_how_to_continue(command, tmp_path, monkeypatch, stopped, told):
    def stop(*_):
        raise stopped

    monkeypatch.setattr(InProcess, "train", stop)
    code, _, err = command(*SMALL, "--output", tmp_path / "study")
    expected = f"{told}; continue with: alexnet explain --resume {tmp_path / 'study'}\n"
    assert (code, err) == (130, expected)


def test_command_explains_goes_on_and_refuses_another_studys_folder(command, tmp_path, framework):
    folder = tmp_path / "explained"
    code, out, err = command(*SMALL, "--output", folder)
    assert (code, err) == (0, "")
    assert "4/4  tensorflow  framework-defaults  seed 0  top-1 " in out
    assert "Budget: 50 training and 30 test images of synthetic" in out
    effects = json.loads((folder / "explain.json").read_text())["effects"]
    assert [e["name"] for e in effects][1:] == [
        *("all together", "the framework itself", "framework defaults")
    ]
    count = len(framework.trainers)
    assert command(*SMALL, "--output", folder)[0] == 0
    assert command("--resume", folder)[0] == 0
    assert len(framework.trainers) == count
    code, _, err = command(*SMALL, "--seed", "3", "--output", folder)
    assert code == 1
    assert "holds a study with other flags" in err
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = command(*SMALL, "--output", tmp_path)
    assert code == 1
    assert "holds files already" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "paddin"], "Unknown factor 'paddin'. Did you mean 'padding'?"),
        (["--seeds", "0"], "seeds=0: must be at least 1"),
        (["--framework", "keras"], "Unknown framework 'keras'"),
        (["--steps", "0"], "steps=0 must be at least 1"),
        (["--resume", "nowhere"], "nowhere: contains no plan.json"),
        (["--resume", "nowhere", "--seeds", "5"], "leave other flags out"),
        (["--variant", "cifer"], "Unknown variant 'cifer'"),
    ],
)
def test_command_refuses_what_cannot_be(command, tmp_path, arguments, message):
    code, _, err = command(*arguments)
    assert code == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("factor", ["precision", "initializer"])
def test_command_warns_of_a_factor_that_is_slow_here_before_it_trains(command, monkeypatch, factor):
    """Only the factor precision computes in bfloat16, in the framework it is switched in."""
    lacking, asked = Bfloat16Support(hardware=False, speed=0.012), []

    def ask(config):
        asked.append((config.framework, config.recipe.precision))
        return lacking

    def stop(*_):
        raise StoppedError("seen")

    monkeypatch.setattr(explain_cli, "ask_workers", lambda _: ask)
    monkeypatch.setattr(explain_cli, "execute", stop)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() sets its own
    code, _, err = command(*SMALL[:-1], factor)
    assert code == 130
    told = (
        "alexnet: warning: precision=bfloat16: torch multiplies bfloat16 at 0.012 times float32's "
        "speed (this hardware has no instructions for it); to leave the factor precision out, name "
        "the others with --only."
    )
    assert (told in err) is (factor == "precision")
    assert asked == ([("torch", "bfloat16")] if factor == "precision" else [])


def test_command_is_small_by_default(command, monkeypatch):
    found = []

    def remember(plan, *_):
        found.append(plan.request)
        raise StoppedError("seen")

    monkeypatch.setattr("alexnet_impl.cli.explain.execute", remember)
    synthetic = ("--dataset", "synthetic", "--train-images", "50", "--test-images", "30")
    assert command(*synthetic)[0] == 130
    request = found[0]
    assert (request.config.variant, request.config.width) == ("torchvision", 0.125)
    assert request.config.recipe.input_size == 67
    assert request.seeds == (0, 1, 2)
    assert request.config.on_collapse == "ignore"
    larger = ("--variant", "cifar", "--recipe", "quick", "--width", "1")
    assert command(*synthetic, *larger)[0] == 130
    assert found[1].config.recipe.input_size is None
    assert found[1].config.recipe.initializer == "torch-default"
    assert found[1].config.width == 1


def test_long_study_is_announced_and_a_log_says_every_30_seconds_where_it_is(console):
    now = [0.0]
    progress = explain._Progress(console, total=20)  # noqa: SLF001
    progress.ticker = Ticker(lambda: now[0])
    progress.begin("torch  aligned  seed 0")
    progress(Started(framework="torch", num_epochs=None, num_steps=120, step=0))
    for step in range(1, 8):
        now[0] += 6.0
        speed = {"images_per_second": 10.0, "timed_steps": 1, "timed_s": 6.0} if step > 1 else {}
        event = {"step": step, "num_steps": 120, "loss": 2.0, "images_per_second": 0.0}
        progress(Stepped(**event | speed))
    assert console.file.getvalue().splitlines() == [
        "about 4 h (20 runs of 120 steps at 6 s, and evaluation); Ctrl-C and `--resume` at any time"
    ]
    now[0] += 30.0
    progress(Stepped(step=8, num_steps=120, loss=1.5, images_per_second=10.0))
    assert console.file.getvalue().splitlines()[1] == (
        "torch  aligned  seed 0  run 1 of 20  step 8/120  loss 1.5000  10 images/s  11 min left in "
        "this run"
    )
