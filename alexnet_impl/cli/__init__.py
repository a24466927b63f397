"""The `alexnet` command.

A recipe is named with --recipe and changed field by field with --recipe.FIELD. Whatever the caller
can put right ends as one line on standard error and a non-zero exit code.
"""

import functools
import operator
import os
import sys
import warnings
from typing import Annotated, Any

import tyro
from rich.console import Console

from alexnet_impl.cli.flags import (
    DEFAULT_RECIPE,
    EXPLAIN_RECIPE,
    Bench,
    BenchCompare,
    BenchOptions,
    BenchWorker,
    Compare,
    Convert,
    Describe,
    Evaluate,
    Explain,
    Ledger,
    PairWorker,
    Parity,
    Predict,
    Recipes,
    Report,
    Reproduce,
    Serve,
    Train,
    TrainingOptions,
    Variants,
    Versions,
    Worker,
    explain_options,
)
from alexnet_impl.errors import AlexNetError, AlexNetWarning, StoppedError
from alexnet_impl.recipe.named import get_recipe

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""

COMMANDS: dict[str, type] = {
    "compare": Compare,
    "explain": Explain,
    "bench": Bench,
    "bench-compare": BenchCompare,
    "versions": Versions,
    "reproduce": Reproduce,
    "ledger": Ledger,
    "parity": Parity,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "variants": Variants,
    "describe": Describe,
    "recipes": Recipes,
    "convert": Convert,
    "report": Report,
    "worker": Worker,
    "serve": Serve,
    "pair-worker": PairWorker,
    "bench-worker": BenchWorker,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 1 for what the caller can put right, 2 for wrong flags, 130 if stopped.
    """
    given = sys.argv[1:] if arguments is None else arguments
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes the rest as *_
    try:
        return _run(_parse(given))
    except StoppedError as error:
        return _fail(error, STOPPED)
    except (AlexNetError, OSError, MemoryError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", STOPPED)
    except Exception as error:
        if os.environ.get("ALEXNET_TRACEBACK"):
            raise
        hint = "; ALEXNET_TRACEBACK=1 shows where"
        return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _run(command: Any) -> int:
    # Imported behind the flags: --help and a wrong flag answer at once.
    from alexnet_impl.cli.commands import HANDLERS  # noqa: PLC0415

    return HANDLERS[type(command)](command, Console())


def _fail(error: object, code: int) -> int:
    text = str(error) or type(error).__name__
    print(f"alexnet: error: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - its one line
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Warnings of this package as one line; a library's are for its developers."""
    if issubclass(category, AlexNetWarning):
        print(f"alexnet: warning: {message}", file=sys.stderr)  # noqa: T201


def _parse(arguments: list[str]) -> Any:
    """The chosen subcommand with its fields filled in."""
    if arguments[:2] == ["bench", "compare"]:
        return tyro.cli(BenchCompare, prog="alexnet bench compare", args=arguments[2:])
    name = _recipe_name(arguments)
    options = TrainingOptions(recipe_name=name, recipe=get_recipe(name))
    defaults: dict[type, Any] = {kind: kind(options=options) for kind in (Train, Compare, Parity)}
    defaults[Bench] = Bench(options=BenchOptions(recipe_name=name, recipe=get_recipe(name)))
    defaults[Explain] = Explain(options=explain_options(name))
    choices: list[Any] = [
        Annotated[kind, tyro.conf.subcommand(command, default=defaults[kind])]
        if kind in defaults
        else Annotated[kind, tyro.conf.subcommand(command)]
        for command, kind in COMMANDS.items()
    ]
    return tyro.cli(
        tyro.conf.OmitSubcommandPrefixes[functools.reduce(operator.or_, choices)],  # type: ignore[misc]
        prog="alexnet",
        description=__doc__,
        args=arguments,
    )


def _recipe_name(arguments: list[str]) -> str:
    """What --recipe says: it decides the defaults of all --recipe.FIELD flags."""
    name = EXPLAIN_RECIPE if arguments[:1] == ["explain"] else DEFAULT_RECIPE
    for place, argument in enumerate(arguments):
        if argument.startswith("--recipe="):
            name = argument.removeprefix("--recipe=")
        elif argument == "--recipe" and place + 1 < len(arguments):
            name = arguments[place + 1]
    return name
