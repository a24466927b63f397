"""The handler of `alexnet bench compare`."""

from rich.console import Console

from alexnet_impl.cli.flags import BenchCompare
from alexnet_impl.errors import RunError
from alexnet_impl.measurement.recording import read_recording
from alexnet_impl.measurement.regressions import ComparisonOptions, compare_recordings
from alexnet_impl.report.bench.regressions import comparison_lines


def bench_compare_command(command: BenchCompare, console: Console) -> int:
    """Print the comparison; 1 if a case is slower beyond its threshold or does not fit any more.

    With --strict also if one is undecided or lost.
    """
    options = ComparisonOptions(
        threshold=command.threshold,
        threshold_for=parse_thresholds(command.threshold_for),
        confidence=command.confidence,
        normalise=command.normalise,
        allow_other_machine=command.other_machine,
    )
    done = compare_recordings(read_recording(command.old), read_recording(command.new), options)
    *lines, last = comparison_lines(done)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    fails = done.worse or (command.strict and done.doubtful)
    style = "bold red" if fails else "yellow" if done.doubtful else "green"
    console.print(last, style=style, highlight=False, markup=False, soft_wrap=True)
    return 1 if fails else 0


def parse_thresholds(pairs: tuple[str, ...]) -> dict[str, float]:
    """Group to threshold, from pairs GROUP=SHARE.

    Raises:
        RunError: If one is no such pair, or a group has two.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        group, equals, share = pair.rpartition("=")
        if not equals or not group:
            raise RunError(f"--threshold-for {pair}: must read GROUP=SHARE, as training=0.1.")
        if group in found:
            raise RunError(f"--threshold-for {pair}: {group} has a threshold already; give one.")
        try:
            found[group] = float(share)
        except ValueError as error:
            raise RunError(f"--threshold-for {pair}: {share!r} must be a number; 0.1.") from error
    return found
