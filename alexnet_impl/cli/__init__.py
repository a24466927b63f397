"""The `alexnet` command: parses the command line, runs the command, and reports errors.

A recipe is named with --recipe and changed field by field with --recipe.FIELD. User errors print
one line on standard error; the exit code is then non-zero.
"""

import os
import sys
import warnings
from typing import Any

from alexnet_impl.cli.parsing import UsageError, parse
from alexnet_impl.errors import AlexNetError, AlexNetWarning, StoppedError
from alexnet_impl.report.printing import PlainConsole, encode_everything, printable

STOPPED = 130
"""Exit code after Ctrl-C, as in shells."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after `alexnet`; by default those of this process.

    Returns:
        The exit code: 0, 1 for a user error, 2 for an unknown command or flag, 130 if stopped.
    """
    given = sys.argv[1:] if arguments is None else arguments
    encode_everything()
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes the rest as *_
    try:
        command, flags = parse(given)
        return command.run(flags, PlainConsole())
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


def _fail(error: object, code: int) -> int:
    text = str(error) or type(error).__name__
    print(f"alexnet: error: {printable(' '.join(text.split()))}", file=sys.stderr)  # noqa: T201 - its one line
    return code


def _stopped(message: str) -> int:
    """Ctrl-C is no error: the message says how to continue."""
    print(printable(message), file=sys.stderr)  # noqa: T201 - its one line
    return STOPPED


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning of this package as one line; hide the libraries' own, for developers."""
    if issubclass(category, AlexNetWarning):
        print(f"alexnet: warning: {printable(str(message))}", file=sys.stderr)  # noqa: T201
