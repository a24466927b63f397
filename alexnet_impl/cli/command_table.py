"""The table of commands: name, flags, handler and group of each, in the order of the help."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rich.console import Console

from alexnet_impl.cli import flags


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `alexnet`.

    Attributes:
        name: The word or words typed after `alexnet`.
        flags: The dataclass of its flags; the first line of its docstring is its line in the help.
        handler: MODULE:FUNCTION of this folder, imported once the command is chosen. The function
            takes the flags and a console, and returns the exit code.
        group: Heading in the help; None hides an internal command.
    """

    name: str
    flags: type
    handler: str
    group: str | None

    def run(self, given: Any, console: Console) -> int:
        """Import the handler and call it with the parsed flags."""
        module, _, function = self.handler.partition(":")
        handler = getattr(import_module(f"alexnet_impl.cli.{module}"), function)
        code: int = handler(given, console)
        return code


TRAIN = "Train and compare"
PROVE = "Prove"
BENCHMARK = "Benchmark"
REPRODUCE = "Reproduce the reports"
FILES = "Files"
LOOK_UP = "Look up"

COMMANDS = {
    command.name: command
    for command in (
        Command("compare", flags.Compare, "commands:compare_command", TRAIN),
        Command("train", flags.Train, "commands:train_command", TRAIN),
        Command("evaluate", flags.Evaluate, "commands:evaluate_command", TRAIN),
        Command("predict", flags.Predict, "commands:predict_command", TRAIN),
        Command("parity", flags.Parity, "parity:parity_command", PROVE),
        Command("explain", flags.Explain, "explain:explain_command", PROVE),
        Command("bench", flags.Bench, "bench:bench_command", BENCHMARK),
        Command("bench compare", flags.BenchCompare, "bench:bench_compare_command", BENCHMARK),
        Command("versions", flags.Versions, "bench:versions_command", BENCHMARK),
        Command("reproduce", flags.Reproduce, "reproduce_list:reproduce_command", REPRODUCE),
        Command("ledger", flags.Ledger, "claim_verdicts:ledger_command", REPRODUCE),
        Command("convert", flags.Convert, "commands:convert_command", FILES),
        Command("report", flags.Report, "commands:report_command", FILES),
        Command("variants", flags.Variants, "listings:variants_command", LOOK_UP),
        Command("describe", flags.Describe, "listings:describe_command", LOOK_UP),
        Command("recipes", flags.Recipes, "listings:recipes_command", LOOK_UP),
        Command("doctor", flags.Doctor, "doctor:doctor_command", LOOK_UP),
        Command("worker", flags.Worker, "workers:worker_command", None),
    )
}
