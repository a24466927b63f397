"""The handler of `alexnet parity`, which compares both frameworks or a user's two models."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from alexnet_impl.cli.flags import Parity, TrainingOptions
from alexnet_impl.cli.output import keep_result
from alexnet_impl.cli.shared import (
    load_images,
    new_folder,
    parse_interpreters,
    refuse_weights,
    run_config,
    settled,
)
from alexnet_impl.compare import check_frameworks
from alexnet_impl.errors import RunError
from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.prove import prove
from alexnet_impl.parity.record import CheckResult, ParityRecord, record_values, write_record
from alexnet_impl.parity.stages import FEW_STEPS
from alexnet_impl.ports.minimal_pair import PairDraft
from alexnet_impl.ports.minimal_pair_proof import prove_draft
from alexnet_impl.ports.preprocessing_checks import compare_preprocessing_alone
from alexnet_impl.ports.request import PairRequest, PreprocessingRequest
from alexnet_impl.ports.user_pair import compare_pair
from alexnet_impl.processes.precision import ask_workers
from alexnet_impl.report.parity.terminal import (
    CHECK_HEADER,
    check_lines,
    failure_line,
    minimal_pair_lines,
)
from alexnet_impl.report.parity.time_line import time_line
from alexnet_impl.runs.folder import check_free, hold_new_folder
from alexnet_impl.training.prepare import prepare_run


def parity_command(command: Parity, console: Console) -> int:
    """Run the parity stages; the exit code is 0 only if every check held."""
    started = time.perf_counter()
    refuse_weights(command.options, "parity")
    preprocessing = _preprocessing(command)
    pair = _pair(command)
    if command.steps < FEW_STEPS:
        raise RunError(
            f"--steps {command.steps}: must be at least {FEW_STEPS}, so that the learning rate "
            "changes in between."
        )
    interpreters = parse_interpreters(command.interpreter)
    check_frameworks(interpreters)
    own = command.torch or command.torch_preprocess or ""
    folder = new_folder(command.options, "parity", own.rpartition(":")[2])
    check_free(folder)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_import_report)  # while the workers import their frameworks
        if pair is not None:
            pair = replace(pair, preprocessing=preprocessing)
            record = _compare_pair(pair, interpreters, folder, console)
        elif preprocessing is not None:
            record = _compare_preprocessing(preprocessing, interpreters, folder, console)
        else:
            record = _prove(command, interpreters, folder, console)
    keep_result(console, lambda: record_values(record))
    # Not above: drawing is imported while the workers import their frameworks.
    from alexnet_impl.report.parity.page import write_parity_pictures  # noqa: PLC0415

    write_parity_pictures(folder, record)
    console.print(f"Record: {folder}", soft_wrap=True)
    console.print(f"Page: {folder / 'parity.html'}", soft_wrap=True)
    console.print(time_line(record, time.perf_counter() - started), style="dim", soft_wrap=True)
    if record.holds:
        console.print(f"All {len(record.checks)} checks hold.", style="green")
        return 0
    console.print(failure_line(record), style="bold red", soft_wrap=True)
    return 1


def _import_report() -> None:
    """Import what draws a record, which takes a third of a second."""
    import alexnet_impl.report.parity.page  # noqa: F401, PLC0415


def _show_check(check: CheckResult, console: Console) -> None:
    for line in check_lines(check):
        console.print(line, soft_wrap=True)


def _preprocessing(command: Parity) -> PreprocessingRequest | None:
    """The request for the user's own two preprocessing functions; None if there are none."""
    torch, tensorflow = command.torch_preprocess, command.tensorflow_preprocess
    if torch is None or tensorflow is None:
        if torch is not None or tensorflow is not None:
            raise RunError(
                "--torch-preprocess and --tensorflow-preprocess belong together: give both."
            )
        if command.images is not None:
            raise RunError("--images belongs to --torch-preprocess and --tensorflow-preprocess.")
        return None
    if command.torch is None and _has_training_flags(command):
        raise RunError(
            "--torch-preprocess and --tensorflow-preprocess are compared without a variant: only "
            "--images, --seed, --interpreter and --output may be given with them."
        )
    return PreprocessingRequest(
        torch=torch,
        tensorflow=tensorflow,
        images=command.images,
        seed=command.options.seed or 0,
    )


def _has_training_flags(command: Parity) -> bool:
    """Whether a flag is given that belongs to a variant and its training."""
    rest = replace(command.options, image_size=None, seed=None, output=None)
    return rest != TrainingOptions() or command.steps != Parity().steps


def _pair(command: Parity) -> PairRequest | None:
    """The request for the user's own two models; None if a variant is compared."""
    if command.torch is None and command.tensorflow is None:
        given = (command.names, command.inputs, command.torch_training, command.tensorflow_training)
        if any(given) or command.copy_weights != "auto":
            raise RunError(
                "--names, --copy-weights, --inputs and the two training flags belong to --torch "
                "and --tensorflow."
            )
        if command.options.on_collapse != TrainingOptions().on_collapse:
            raise RunError(
                "--on-collapse belongs to trainings; parity takes a few steps of its own."
            )
        return None
    if command.torch is None or command.tensorflow is None:
        raise RunError("--torch and --tensorflow belong together: give both, or neither.")
    options = command.options
    if _has_training_flags(command):
        raise RunError(
            "--torch and --tensorflow bring their own network: only --names, --copy-weights, "
            "--inputs, the flags of training and of preprocessing, --image-size, --seed, "
            "--interpreter and --output may be given with them."
        )
    if command.tensorflow_training and not command.torch_training:
        raise RunError("--tensorflow-training needs --torch-training, with which it is compared.")
    return PairRequest(
        torch=command.torch,
        tensorflow=command.tensorflow,
        names=command.names,
        copy_weights=command.copy_weights,
        torch_training=command.torch_training or "",
        tensorflow_training=command.tensorflow_training or "",
        inputs=command.inputs or "",
        image_size=options.image_size,
        seed=options.seed or 0,
    )


def _compare_pair(
    pair: PairRequest, interpreters: dict[str, str], folder: Path, console: Console
) -> ParityRecord:
    """Compare the user's own two models; the record is written at the end."""
    console.print(CHECK_HEADER, style="dim", soft_wrap=True)
    drafts: list[PairDraft] = []
    record = compare_pair(
        pair, interpreters, lambda check: _show_check(check, console), drafts.append
    )
    with hold_new_folder(folder):
        for draft in drafts:
            proven = prove_draft(draft, folder, interpreters)
            record = replace(record, minimal_pair=proven)
            for line in minimal_pair_lines(proven, folder):
                console.print(line, soft_wrap=True)
        write_record(folder, record)
    return record


def _compare_preprocessing(
    request: PreprocessingRequest, interpreters: dict[str, str], folder: Path, console: Console
) -> ParityRecord:
    """Compare the user's own two preprocessing functions; the record is written at the end."""
    console.print(CHECK_HEADER, style="dim", soft_wrap=True)
    record = compare_preprocessing_alone(
        request, interpreters, lambda check: _show_check(check, console)
    )
    with hold_new_folder(folder):
        write_record(folder, record)
    return record


def _prove(
    command: Parity, interpreters: dict[str, str], folder: Path, console: Console
) -> ParityRecord:
    """Compare a variant and recipe; the record is written after every check."""
    config = run_config(command.options, FRAMEWORKS[0])
    sides = [replace(config, framework=name) for name in FRAMEWORKS]  # refuses what one cannot do
    dataset = load_images(config, console)
    config = settled(sides, ask_workers(interpreters), console)[0]
    run = prepare_run(config, dataset)

    def keep(record: ParityRecord) -> None:
        write_record(folder, record)
        _show_check(record.checks[-1], console)

    with hold_new_folder(folder):
        console.print(CHECK_HEADER, style="dim", soft_wrap=True)
        record = prove(run, dataset, command.steps, interpreters, keep)
        write_record(folder, record)  # whole now
    return record
