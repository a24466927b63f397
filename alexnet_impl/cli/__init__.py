"""The `alexnet` command: parses the command line, runs the command, and reports errors.

A recipe is named with --recipe and changed field by field with --recipe.FIELD. User errors print
one line on standard error; the exit code is then non-zero.
"""

import os
import sys
import warnings
from typing import Any, TextIO, cast

from alexnet_impl.cli.flags import Worker
from alexnet_impl.cli.output import Output, json_text
from alexnet_impl.cli.parsing import UsageError, parse
from alexnet_impl.errors import AlexNetError, AlexNetWarning, StoppedError
from alexnet_impl.report.printing import JsonConsole, PlainConsole, encode_everything, printable
from alexnet_impl.training.stopping import ENDING_SIGNALS, handle_signals

STOPPED = 130
"""Exit code after Ctrl-C, as in shells."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after `alexnet`; by default those of this process.

    Returns:
        The exit code: 0, 1 for a user error, 2 for an unknown command or flag, 130 if stopped by
        Ctrl-C, SIGTERM or SIGHUP.
    """
    given = sys.argv[1:] if arguments is None else arguments
    _open_stderr()
    encode_everything()
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes the rest as *_
    try:
        return _run(given)
    except SystemExit as ended:  # tyro printed a help text or refused a value
        return int(ended.code or 0)
    except UsageError as error:
        return _fail(error, 2)
    except StoppedError as error:
        return _stopped(str(error))
    except (AlexNetError, OSError, MemoryError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _stopped("Stopped.")
    except Exception as error:
        if os.environ.get("ALEXNET_TRACEBACK"):
            raise
        hint = "; ALEXNET_TRACEBACK=1 shows where"
        return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _open_stderr() -> None:
    """Give a standard error that the shell has closed (`2>&-`) a place to write to."""
    if sys.stderr is None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _run(arguments: list[str]) -> int:
    """Run the command.

    Raises:
        OSError: If its output could not be written, for example to a full disk.
    """
    command, flags = parse(arguments)
    output = Output(sys.stdout)
    # A worker ends at once, except while it trains: its parent cleans up.
    ending = () if isinstance(flags, Worker) else ENDING_SIGNALS
    wants_json = getattr(flags, "json", False)
    console = JsonConsole() if wants_json else PlainConsole(file=cast("TextIO", output))
    with handle_signals(ending, _interrupt):
        code = command.run(flags, console)
    if isinstance(console, JsonConsole):
        output.write(f"{json_text(console.result)}\n")
    output.flush()
    if output.failure is not None:
        raise output.failure
    return code


def _interrupt(_: int) -> None:
    """Act as at Ctrl-C: what the command has begun is cleaned up."""
    raise KeyboardInterrupt


def _fail(error: object, code: int) -> int:
    text = str(error) or type(error).__name__
    _say(f"alexnet: error: {' '.join(text.split())}")
    return code


def _stopped(message: str) -> int:
    """Ctrl-C is no error: the message says how to continue."""
    _say(message)
    return STOPPED


def _say(line: str) -> None:
    """Print a line on standard error, if there still is one."""
    output = Output(sys.stderr)
    output.write(printable(line) + "\n")
    output.flush()


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning of this package as one line; hide the libraries' own, for developers."""
    if issubclass(category, AlexNetWarning):
        _say(f"alexnet: warning: {message}")
