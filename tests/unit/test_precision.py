"""Native bfloat16, and precision=auto: what one job settles for all of its sides."""

import json
import threading
from dataclasses import replace

import pytest
from support import fake_framework
from support.fake_framework import linear_config
from support.fake_worker import fake_python

from alexnet_impl.cli import bench, main, parity
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import AlexNetWarning, RecipeError, RunError
from alexnet_impl.explain.study import aligned_config
from alexnet_impl.machine import bfloat16, watch
from alexnet_impl.machine.bfloat16 import Bfloat16Support, cpu_has_bfloat16, measure_bfloat16
from alexnet_impl.measurement.workloads import workload_context
from alexnet_impl.processes.precision import settle_precision
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.reproduction.catalogue.scratch import EXPERIMENTS
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.prepare import prepare_run

pytestmark = pytest.mark.fast

DATA = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
AUTO = linear_config(Recipe(precision="auto"), DATA)
FLAGS = (
    *("--variant", "linear", "--dataset", "synthetic", "--image-size", "4", "--recipe.epochs", "1"),
    *("--train-images", "50", "--test-images", "30", "--recipe.precision"),
)
NATIVE = Bfloat16Support(hardware=True, speed=3.0)
LACKING = Bfloat16Support(hardware=False, speed=0.012)


@pytest.mark.parametrize(
    ("features", "system", "found"),
    [
        (["amx_bf16", "avx2"], "Linux", True),
        (["avx512_bf16"], "Linux", True),
        (["asimd", "bf16"], "Darwin", True),
        (["avx2", "avx512_vnni"], "Linux", False),
        (None, "Linux", None),
        (["avx2"], "Windows", None),
    ],
)
def test_processor_has_bfloat16_by_its_features(monkeypatch, features, system, found):
    monkeypatch.setattr(bfloat16, "cpu_features", lambda: features)
    monkeypatch.setattr(bfloat16.platform, "system", lambda: system)
    assert cpu_has_bfloat16() is found


@pytest.mark.parametrize(
    ("hardware", "float32_s", "bfloat16_s", "speed", "native"),
    [
        (True, 3e-4, 1e-4, 3.0, True),
        (True, 1e-4, 1.5e-4, 0.67, True),  # the launch of a small product, or a busy machine
        (True, 1e-4, 5e-4, 0.2, False),  # a framework without kernels for it
        (False, 3e-4, 0.025, 0.012, False),
        (False, 3e-4, 1e-4, 3.0, False),  # noise: nothing multiplies it
        (None, 3e-4, 1e-4, 3.0, True),
        (None, 3e-4, 4e-4, 0.75, False),
    ],
)
def test_probe_confirms_the_hardware_within_a_fifth_of_a_second(
    hardware, float32_s, bfloat16_s, speed, native
):
    now = [0.0]

    def taking(seconds):
        def product():
            now[0] += seconds

        return product

    found = measure_bfloat16(hardware, [taking(float32_s), taking(bfloat16_s)], lambda: now[0])
    assert found.speed == pytest.approx(speed, rel=0.01)
    assert found.is_native is native
    assert now[0] <= 0.2


def settle(precisions, **reports):
    """Settle a job with these precisions, a side for each framework; also what was said."""
    said, asked = [], []
    configs = [
        replace(AUTO, framework=name, recipe=Recipe(precision=precision))
        for name, precision in zip(reports, precisions, strict=True)
    ]

    def ask(config):
        asked.append(config.framework)
        return reports[config.framework]

    found = settle_precision(configs, ask, said.append)
    return [(one.recipe.precision, one.auto_precision) for one in found], said, asked


def test_auto_is_bfloat16_where_every_framework_has_it():
    found, said, asked = settle(["auto", "auto"], torch=NATIVE, tensorflow=NATIVE)
    assert found == [("bfloat16", True)] * 2
    assert said == ["precision auto: bfloat16, native in torch and tensorflow."]
    assert asked == ["torch", "tensorflow"]


def test_auto_is_float32_for_all_sides_if_one_framework_is_slow():
    found, said, _ = settle(["auto", "auto"], torch=NATIVE, tensorflow=LACKING)
    assert found == [("float32", True)] * 2
    (sentence,) = said
    assert sentence == (
        "precision auto: float32, because tensorflow multiplies bfloat16 at 0.012 times float32's "
        "speed (this hardware has no instructions for it)."
    )


def test_slow_bfloat16_warns_with_the_factor_and_goes_on():
    slow = Bfloat16Support(hardware=True, speed=0.14)
    with pytest.warns(AlexNetWarning) as caught:
        found, said, _ = settle(["bfloat16"], torch=slow)
    assert (found, said) == ([("bfloat16", False)], [])
    (warning,) = caught
    assert str(warning.message) == (
        "precision=bfloat16: torch multiplies bfloat16 at 0.14 times float32's speed; use "
        "--recipe.precision float32, or auto, which chooses."
    )


def test_workers_of_both_frameworks_are_asked_at_once():
    """Each waits until the other was asked as well."""
    both = threading.Barrier(2, timeout=10)

    def ask(_):
        both.wait()
        return NATIVE

    configs = [replace(AUTO, framework=name) for name in ("torch", "tensorflow")]
    found = settle_precision(configs, ask, lambda _: None)
    assert [one.recipe.precision for one in found] == ["bfloat16"] * 2


@pytest.mark.parametrize("precision", ["float32", "float64", "float16"])
def test_nobody_is_asked_for_another_precision(precision):
    assert settle([precision], torch=LACKING) == ([(precision, False)], [], [])


def test_run_that_is_not_settled_is_refused(monkeypatch):
    """An adapter would take auto for float32 and say nothing."""
    framework = fake_framework.install(monkeypatch)
    for prepare in (
        lambda: prepare_run(AUTO, load_dataset(DATA)),
        lambda: workload_context(framework, AUTO),
    ):
        with pytest.raises(RecipeError, match="precision=auto must be settled"):
            prepare()


def test_every_experiment_of_the_reports_says_its_precision():
    assert {one.recipe.precision for one in EXPERIMENTS.values()} == {"float32"}


def test_config_of_an_older_run_was_not_settled():
    values = replace(AUTO, recipe=Recipe(precision="bfloat16")).to_dict()
    del values["auto_precision"]
    assert RunConfig.from_dict(values).asked_recipe.precision == "bfloat16"


@pytest.mark.parametrize(
    ("support", "precision"), [(NATIVE, "bfloat16"), (LACKING, "float32")], ids=["native", "slow"]
)
def test_train_settles_in_its_own_process_and_records_it(
    monkeypatch, tmp_path, capsys, support, precision
):
    fake_framework.install(monkeypatch).bfloat16 = support
    assert main(["train", *FLAGS, "auto", "--output", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (config["recipe"]["precision"], config["auto_precision"]) == (precision, True)
    assert f"precision auto: {precision}, " in capsys.readouterr().out


@pytest.fixture
def reports(monkeypatch):
    """What each framework's worker reports to parity and bench, which start none here."""
    found = {"torch": NATIVE, "tensorflow": NATIVE}
    for module in (bench, parity):
        monkeypatch.setattr(module, "ask_workers", lambda _: lambda one: found[one.framework])
    return found


@pytest.mark.parametrize("sides", [("torch",), ("torch", "tensorflow")])
def test_bench_settles_before_its_cases_are_timed(monkeypatch, reports, tmp_path, sides):
    timed = []

    def stop(measurement):
        timed.extend(case.config.recipe.precision for case in measurement.cases)
        return 0

    monkeypatch.setattr(bench.Measurement, "run", stop)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    reports["tensorflow"] = LACKING
    assert main(["bench", *sides, "--recipe.precision", "auto", "--output", str(tmp_path)]) == 0
    assert timed == (["bfloat16"] if len(sides) == 1 else ["float32", "float32"])


@pytest.mark.usefixtures("reports")
def test_parity_settles_before_its_case_is_made(monkeypatch, tmp_path):
    compared = []

    def stop(run, *_):
        compared.append(run.config)
        raise RunError("enough")

    fake_framework.install(monkeypatch)
    monkeypatch.setattr(parity, "prove", stop)
    assert main(["parity", *FLAGS, "auto", "--output", str(tmp_path / "out")]) == 1
    assert [(one.recipe.precision, one.auto_precision) for one in compared] == [("bfloat16", True)]


def test_explain_aligns_auto_to_float32():
    assert aligned_config(replace(AUTO, variant="cifar")).recipe.precision == "float32"


@pytest.mark.slow
def test_compare_settles_once_for_both_workers(monkeypatch, tmp_path, capsys):
    fake_framework.install(monkeypatch)
    folders = [tmp_path / name for name in ("torch", "tensorflow")]
    for folder in folders:
        folder.mkdir()
    pythons = fake_python(folders[0]), fake_python(folders[1], "has-no-bfloat16")
    interpreters = (f"torch={pythons[0]}", f"tensorflow={pythons[1]}")
    output = tmp_path / "comparison"
    flags = (*FLAGS, "auto", "--interpreter", *interpreters, "--output", str(output))
    assert main(["compare", *flags]) == 0
    assert "precision auto: float32, because tensorflow multiplies" in capsys.readouterr().out
    for name in ("torch", "tensorflow"):
        config = RunFolder.open(output / name).config
        assert (config.recipe.precision, config.auto_precision) == ("float32", True)
    assert "float32 (auto)" in (output / "report.html").read_text(encoding="utf-8")
