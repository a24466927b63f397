"""`alexnet compare` as a whole: the NumPy framework on both sides, each in a process of its own."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from rich.console import Console
from support import fake_framework
from support.fake_worker import fake_python
from support.leftovers import write_leftover
from support.starting import SeriesInProcess

from alexnet_impl import compare as comparison
from alexnet_impl.cli import commands, main
from alexnet_impl.compare import read_comparison, write_comparison
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.errors import StoppedError
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.run import page
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.training.prepare import prepare_run

FLAGS = (
    *("--variant", "linear", "--dataset", "synthetic", "--image-size", "4"),
    *("--train-images", "50", "--test-images", "30", "--recipe.epochs", "2"),
)


NAMES = ("torch", "tensorflow")


@pytest.mark.fast
def test_comparison_that_was_killed_before_its_first_run_is_resumed(tmp_path, monkeypatch, capsys):
    """And one that was killed even before is started again."""
    fake_framework.install(monkeypatch)
    configs = []

    def killed(run, *given, **__):
        configs.append(run.config)
        assert isinstance(given[-1], MachineWatch)
        raise fake_framework.Killed

    monkeypatch.setattr(comparison, "compare", killed)
    monkeypatch.setattr(comparison, "LOOK_S", 0.001)
    (tmp_path / ".lock").touch()
    write_leftover(tmp_path / "compare.json")
    for flags in (("--output", str(tmp_path), *FLAGS), ("--resume", str(tmp_path))):
        with pytest.raises(fake_framework.Killed):
            main(["compare", *flags])
    assert configs[0] == configs[1]
    assert main(["compare", "--output", str(tmp_path), *FLAGS]) == 1
    assert "holds files already" in capsys.readouterr().err


@pytest.mark.slow
def test_seeds_train_pairs_and_go_on_where_they_stopped(tmp_path, monkeypatch, capsys):
    """Killed in the second of three seeds: what had ended is not trained again."""
    fake_framework.install(monkeypatch)
    monkeypatch.setattr(comparison, "check_frameworks", lambda _: None)
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    trained = []

    class Series(SeriesInProcess):
        def train(self, run, folder, observer):
            if len(trained) == 2:
                trained.append("killed")
                raise fake_framework.Killed
            trained.append((run.config.framework, run.config.recipe.seed))
            return super().train(run, folder, observer)

    @contextmanager
    def series(*_, **__):
        yield Series()

    monkeypatch.setattr(comparison, "worker_series", series)
    monkeypatch.setattr(page, "write_report", lambda *_: None)  # the figures take a second
    with pytest.raises(fake_framework.Killed):
        main(["compare", *FLAGS, "--seeds", "3", "--seed", "5", "--output", str(tmp_path)])
    assert main(["compare", "--resume", str(tmp_path)]) == 0
    assert trained == [
        *[("torch", 5), ("torch", 6), "killed", ("torch", 7)],
        *[("tensorflow", seed) for seed in (5, 6, 7)],
    ]
    runs = {
        seed: [RunFolder.open(tmp_path / f"seed-{seed}" / name) for name in NAMES]
        for seed in (5, 6, 7)
    }
    for seed, pair in runs.items():
        assert [run.config.recipe.seed for run in pair] == [seed, seed]
        assert len({run.initial_weights_sha256 for run in pair}) == 1
        assert len({run.result.batches_sha256 for run in pair}) == 1
    assert len({pair[0].result.batches_sha256 for pair in runs.values()}) == 3
    printed = " ".join(capsys.readouterr().out.split())
    assert "Test accuracy by seed" in printed
    assert "over 3 seeds" in printed
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "again.html")]) == 0
    assert "over 3 seeds" in " ".join(capsys.readouterr().out.split())


@pytest.mark.fast
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", "0"), "--seeds 0: must be from 1"),
        (
            (*FLAGS, "--seeds", "3", "--seed", "4294967295"),
            "--seeds 3: the last seed, 4294967297, must be at most 4294967295; give a smaller",
        ),
        (("--resume", "x", "--seeds", "2"), "leave other flags out"),
    ],
)
def test_seeds_that_cannot_be_are_refused(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    fake_framework.install(monkeypatch)
    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    assert main(["compare", *flags]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.fast
def test_seeds_of_which_no_pair_finished_end_with_an_error(tmp_path, monkeypatch, capsys):
    """The report is written all the same."""
    fake_framework.install(monkeypatch)
    reported, statuses = [], ["finished", "diverged", "diverged", "finished"]

    def runs(*_, **__):
        results = [SimpleNamespace(status=status, message="nan") for status in statuses]
        return [SimpleNamespace(result=result) for result in results]

    monkeypatch.setattr(commands, "check_frameworks", lambda _: None)
    monkeypatch.setattr(commands, "compare_in", runs)
    monkeypatch.setattr(commands, "_show_report", lambda *_: reported.append(1))
    command = ["compare", *FLAGS, "--seeds", "2", "--output"]
    assert main([*command, str(tmp_path / "a")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "No seed of 2 finished in both frameworks" in said
    assert said.endswith("The first error: nan")
    statuses[1] = "finished"
    assert main([*command, str(tmp_path / "b")]) == 0
    assert reported == [1, 1]


@pytest.mark.fast
def test_comparison_written_before_there_were_seeds_is_read(tmp_path):
    config = fake_framework.linear_config(Recipe(seed=4), DataConfig(dataset="synthetic"))
    RunFolder(tmp_path).write_json("compare.json", config.to_dict())
    assert read_comparison(tmp_path) == (config, (4,))
    write_comparison(tmp_path, config, (4, 5))
    assert read_comparison(tmp_path) == (config, (4, 5))


@pytest.mark.fast
def test_signs_of_other_work_are_kept_with_the_times_of_both_runs(tmp_path, monkeypatch):
    """Also those of the part before PyTorch was stopped."""
    framework = fake_framework.install(monkeypatch)

    @contextmanager
    def series(*_, **__):
        yield SeriesInProcess()

    monkeypatch.setattr(comparison, "worker_series", series)
    data = DataConfig(dataset="synthetic", train_images=50, test_images=30, image_size=4)
    recipe = Recipe(epochs=2, global_batch_size=16)
    config = RunConfig(
        framework="torch", variant="linear", width=1.0, recipe=recipe, data=data, device="cpu"
    )
    run = prepare_run(config, load_dataset(data))
    signs, asked = ["A load."], []

    def signs_of_other_work(*, on_gpu):
        asked.append(on_gpu)
        return tuple(signs)

    def compare():
        watch = SimpleNamespace(signs_of_other_work=signs_of_other_work)
        return comparison.compare(run, tmp_path, Console(quiet=True), {}, watch, seeds=(0,))

    framework.before_step = fake_framework.interrupt_at(2)
    with pytest.raises(StoppedError):
        compare()
    framework.before_step = None
    signs[:] = ["Another alexnet."]
    runs = compare()
    assert [done.result.status for done in runs] == ["finished"] * 2
    first, second = (done.result.timing.other_work for done in runs)
    assert first == ("A load.", "Another alexnet.")
    assert second == ("Another alexnet.",)
    assert all(done.result.timing.beside_other_work for done in runs)
    assert asked == [False] * 3


@pytest.mark.fast
@pytest.mark.parametrize("place", [(comparison, "compare"), (commands, "_show_report")])
def test_stop_between_two_workers_says_how_to_continue(tmp_path, monkeypatch, capsys, place):
    fake_framework.install(monkeypatch)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "compare", lambda *_, **__: [])
    monkeypatch.setattr(*place, stop)
    monkeypatch.setattr(comparison, "LOOK_S", 0.001)
    assert main(["compare", "--output", str(tmp_path), *FLAGS]) == 130
    told = capsys.readouterr().err
    assert told == f"Stopped; continue with: alexnet compare --resume {tmp_path}\n"


@pytest.mark.slow
def test_compare_trains_both_in_workers_and_writes_the_report(tmp_path, monkeypatch, capsys):
    fake_framework.install(monkeypatch)
    python = fake_python(tmp_path)
    folder = tmp_path / "comparison"
    interpreters = ("--interpreter", f"torch={python}", f"tensorflow={python}")
    assert main(["compare", *FLAGS, *interpreters, "--output", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"torch", "tensorflow"}
    runs = [RunFolder.open(folder / name) for name in ("torch", "tensorflow")]
    assert [run.config.framework for run in runs] == ["torch", "tensorflow"]
    assert runs[0].result.batches_sha256 == runs[1].result.batches_sha256
    assert "Report: " in printed.out
    assert "PyTorch" in (folder / "report.html").read_text(encoding="utf-8")
