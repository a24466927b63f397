"""Handlers of train, compare, evaluate, predict, convert and report; each returns the exit code."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import (
    Compare,
    Convert,
    Evaluate,
    Predict,
    Report,
    Train,
    TrainingOptions,
    WeightsFlags,
)
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.quiet import quiet_stderr
from alexnet_impl.cli.shared import (
    check_target,
    load_images,
    new_folder,
    parse_interpreters,
    settle_run,
    settled,
)
from alexnet_impl.compare import (
    COMPARISON,
    check_frameworks,
    compare_in,
    comparison_seeds,
    read_comparison,
    require_finished_pair,
)
from alexnet_impl.convert import convert
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.progress import terminal_progress
from alexnet_impl.errors import CollapsedError, RunError, StoppedError
from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.network.own_network import is_own, load_own_variant
from alexnet_impl.network.variants import refuse_library
from alexnet_impl.predict import (
    Network,
    evaluate_network,
    is_weights,
    network_of_run,
    network_of_weights,
    predict_files,
)
from alexnet_impl.processes.conversion import prepare_job
from alexnet_impl.processes.host_memory import keep_freed_memory
from alexnet_impl.processes.precision import ask_here, ask_workers
from alexnet_impl.processes.weight_files import Hints
from alexnet_impl.report.run.command_lines import nearest_recipe
from alexnet_impl.report.run.json_values import (
    anew_json,
    conversion_json,
    evaluation_json,
    predictions_json,
    runs_json,
)
from alexnet_impl.report.run.seeds import seed_comparison
from alexnet_impl.report.run.tables import (
    comparison_table,
    equality_table,
    evaluation_renderables,
    pairing_table,
    predictions_renderables,
    predictions_table,
    seeds_table,
)
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder, check_free, hold_folder
from alexnet_impl.training.evaluation import loss_and_accuracy
from alexnet_impl.training.observers import make_observer
from alexnet_impl.training.start import check_resumable, resume_run, start_run
from alexnet_impl.training.stopping import continued_by


def train_command(command: Train, console: Console) -> int:
    """Train one framework, or continue an interrupted run."""
    given = None
    if command.resume is not None:
        _refuse_other_flags(command.options)
        folder = RunFolder.open(command.resume)
        config = folder.config
    else:
        config, given = settle_run(command.options, command.framework)
        folder = RunFolder(new_folder(command.options, command.framework))
        check_free(folder.path)
    keep_freed_memory()
    with quiet_stderr():
        get_framework(config.framework).fingerprint(config.device)
    dataset = load_images(config, console)
    if command.resume is not None:
        check_resumable(folder, dataset)
    else:
        (config,) = settled([config], _ask_quietly, console)
    run = prepare_job(config, dataset, given)
    how = f"continue with: alexnet train --resume {folder.path}"
    with continued_by(how, folder.path / "run.json"):
        with make_observer(console) as observer:
            if command.resume is not None:
                result = resume_run(folder, run, dataset, observer)
            else:
                result = start_run(folder.path, run, dataset, observer)
        if result.status == "interrupted":
            raise StoppedError(f"Stopped after step {result.steps}")
    console.print(comparison_table([folder]))
    keep_result(console, lambda: runs_json([folder]))
    console.print(f"Run folder: {folder.path}", soft_wrap=True)
    _refuse_collapsed([folder])
    return 0


def _ask_quietly(config: RunConfig) -> Bfloat16Support:
    with quiet_stderr():
        return ask_here(config)


def _refuse_collapsed(runs: Sequence[RunFolder]) -> None:
    """Fail if --on-collapse stop ended a run."""
    results = [run.result for run in runs]
    if found := [r.message for r in results if r is not None and r.status == "collapsed"]:
        raise CollapsedError(" ".join(found))


def _refuse_other_flags(options: TrainingOptions, seeds: int = 1) -> None:
    """Refuse flags beside --resume: they would be ignored, because the run keeps its own."""
    if options != TrainingOptions() or seeds != 1:
        raise RunError(
            "--resume continues a run with the flags it was started with; leave other flags out."
        )


def compare_command(command: Compare, console: Console) -> int:
    """Train both frameworks, print the comparison and write the report."""
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters)
    given = None
    if command.resume is not None:
        _refuse_other_flags(command.options, command.seeds)
        folder = command.resume
        config, seeds = read_comparison(folder)
    else:
        comparison_seeds(0, command.seeds)  # refuses too many
        if command.options.own is None:
            refuse_library(command.options.variant)  # before weights are downloaded
        folder = new_folder(command.options, "compare")
        check_free(folder)
        config, given = settle_run(command.options, FRAMEWORKS[0])
        seeds = comparison_seeds(config.recipe.seed, command.seeds)
    for name in FRAMEWORKS:
        replace(config, framework=name)  # refuses what one of them cannot do
    dataset = load_images(config, console)
    if config.network is None:
        refuse_library(config.variant)
    if command.resume is None:
        sides = [replace(config, framework=name) for name in FRAMEWORKS]
        config = settled(sides, ask_workers(interpreters), console)[0]
    run = prepare_job(config, dataset, given, frameworks=FRAMEWORKS, interpreters=interpreters)
    del dataset  # each worker loads its own
    recipe, differing = nearest_recipe(config.asked_recipe)
    console.print(
        f"{config.variant} at width {config.width:g}, recipe {recipe}"
        f"{' with changes' if differing else ''}, {_seeds_text(seeds)}"
    )
    begun = folder / COMPARISON if command.resume is None else None
    how = f"continue with: alexnet compare --resume {folder}"
    with hold_folder(folder), continued_by(how, begun):
        runs = compare_in(
            run, folder, console, interpreters, seeds=seeds, is_new=command.resume is None
        )
        _show_report(runs, folder / "report.html", console)
    _refuse_collapsed(runs)
    if len(seeds) > 1:
        require_finished_pair(runs)
    return 0


def _seeds_text(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _show_report(runs: Sequence[RunFolder], path: Path, console: Console) -> int:
    keep_result(console, lambda: runs_json(runs))
    if (found := seed_comparison(view_runs(runs))) is not None:
        console.print(seeds_table(found))
        for sentence in (f"{found.headline}.", *found.sentences):
            console.print(sentence)
    else:
        console.print(comparison_table(runs))
        if len(runs) > 1:
            console.print(equality_table(runs))
    # matplotlib and jinja2 take a second, which only a report should cost.
    from alexnet_impl.report.run.page import write_report  # noqa: PLC0415

    write_report(path, runs)
    console.print(f"Report: {path}", soft_wrap=True)
    return 0


def evaluate_command(command: Evaluate, console: Console) -> int:
    """Print accuracy, figures per class and confusion matrix of a run or of a weight file."""
    if is_weights(command.run) or command.dataset or command.data_dir:
        return _evaluate_anew(command, console)
    names = ("test_images", "classes", "image_size", "framework", "device")
    _refuse_given(command, names, "needs images; name them with --dataset or --data-dir")
    _refuse_given(command, _WEIGHTS_FLAGS, "belongs to weight files; a run states it")
    folder = RunFolder.open(command.run)
    folder.finished_result()
    keep_result(console, lambda: evaluation_json(folder))
    for renderable in evaluation_renderables(folder):
        console.print(renderable)
    return 0


def _evaluate_anew(command: Evaluate, console: Console) -> int:
    if not (command.dataset or command.data_dir):
        raise RunError(
            f"{command.run}: is a file of weights, which has no images; give some with --data-dir "
            "PATH or --dataset NAME."
        )
    data = DataConfig(
        dataset=command.dataset,
        data_dir=command.data_dir,
        test_images=command.test_images,
        classes=command.classes,
        image_size=command.image_size,
    )
    network = _network(command.run, command.framework, command, console)
    with terminal_progress() as progress:
        dataset = load_dataset(data, progress=progress)
    with quiet_stderr():
        predictions = evaluate_network(network, dataset, command.device)
    loss, _ = loss_and_accuracy(predictions.probabilities, predictions.labels)
    shown = predictions, network.class_names, network.framework, dataset.name
    keep_result(console, lambda: anew_json(*shown, loss=loss))
    for renderable in predictions_renderables(*shown, loss=loss):
        console.print(renderable)
    return 0


def _network(path: Path, framework: str | None, flags: WeightsFlags, console: Console) -> Network:
    """The network of a run folder or of a weight file; what its reading changed is printed."""
    if not is_weights(path):
        _refuse_given(flags, _WEIGHTS_FLAGS, "belongs to weight files; a run states it")
        return network_of_run(RunFolder.open(path), framework)
    with terminal_progress() as progress, quiet_stderr():
        network = network_of_weights(str(path), framework, _hints(flags), progress)
    if network.pairing:
        console.print(pairing_table(network))
    if network.remarks:
        console.print(_remarked(path.name, network.remarks).strip(), soft_wrap=True)
    return network


_WEIGHTS_FLAGS = tuple(field.name for field in fields(WeightsFlags))


def _hints(flags: WeightsFlags) -> Hints:
    """Facts about a file's network, from the flags."""
    hints = Hints(**{name: getattr(flags, name) for name in _WEIGHTS_FLAGS})
    if flags.variant is None or not is_own(flags.variant):
        return hints
    own = load_own_variant(flags.variant)
    network = own.network(input_size=flags.input_size, width=flags.width)
    return replace(hints, variant=own.name, network=network)


def _refuse_given(flags: WeightsFlags, names: Sequence[str], why: str) -> None:
    """Refuse flags that would have no effect."""
    usual = {field.name: field.default for field in fields(flags)}
    for name in names:
        if getattr(flags, name) != usual[name]:
            raise RunError(f"--{name.replace('_', '-')} {why}.")


def _remarked(name: str, remarks: Sequence[str]) -> str:
    """A sentence on what reading a weight file changed; empty if it changed nothing."""
    return f" Of {name}, {'; '.join(remarks)}." if remarks else ""


def predict_command(command: Predict, console: Console) -> int:
    """Print the most probable classes of image files."""
    network = _network(command.run, command.framework, command, console)
    with quiet_stderr():
        predictions = predict_files(network, command.images, command.device)
    console.print(predictions_table(predictions, top=command.top))
    keep_result(console, lambda: predictions_json(predictions, top=command.top))
    return 0


def convert_command(command: Convert, console: Console) -> int:
    """Convert a weight file and print how far the outputs differ."""
    check_target("OUT", command.target)
    with terminal_progress() as progress, quiet_stderr():
        done = convert(command.source, command.target, _hints(command), progress)
    keep_result(console, lambda: conversion_json(done))
    if done.pairing:
        console.print(pairing_table(done))
    console.print(
        f"{command.target}: {done.num_weights} weights of {done.spec.name}. The logits of "
        f"{command.source.name} in {done.source} and of {command.target.name} in {done.target} "
        f"differ by at most {done.max_absolute_difference:.2e}, relative "
        f"{done.max_relative_difference:.2e}.{_remarked(command.source.name, done.remarks)}",
        soft_wrap=True,
    )
    return 0


def report_command(command: Report, console: Console) -> int:
    """Write the report again, from run folders or folders of comparisons."""
    if not command.runs:
        raise RunError("no run folder was given; name one or more, or the folder of a comparison.")
    check_target("--output", command.output)
    paths = []
    for path in command.runs:
        inner = sorted(
            (
                entry.parent
                for form in ("*/run.json", "seed-*/*/run.json")
                for entry in path.glob(form)
            ),
            key=_place,
        )
        paths.extend(inner if inner and not (path / "run.json").is_file() else [path])
    return _show_report([RunFolder.open(path) for path in paths], command.output, console)


def _place(run: Path) -> tuple[int, int, str]:
    """Sort key by seed and then PyTorch first, as in the report of `alexnet compare`."""
    names: list[str] = list(FRAMEWORKS)
    place = names.index(run.name) if run.name in names else len(names)
    seed = run.parent.name.removeprefix("seed-")
    is_seed = run.parent.name.startswith("seed-")
    return (int(seed) if is_seed and seed.isdecimal() else 0, place, run.name)
