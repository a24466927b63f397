"""Errors that this package raises on purpose; the command line prints each as one line.

Every message says where it happened, what was received, what is valid, and the remedy.
"""

import difflib
import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AlexNetError(Exception):
    """A problem that the user can solve; the base class of all errors raised on purpose."""


class AlexNetWarning(UserWarning):
    """A warning: the work continues, but the user should know."""


class SpecError(AlexNetError, ValueError):
    """A network specification that no framework can build."""


class UserCodeError(AlexNetError, ValueError):
    """A function of the user's own that cannot be imported, raises, or returns something else."""


class RecipeError(AlexNetError):
    """A recipe that is not valid; no ValueError, because tyro would catch it."""


class WeightsError(AlexNetError, ValueError):
    """Weights that are damaged or belong to another variant."""


class DataError(AlexNetError, ValueError):
    """Images, archives or caches that cannot be used."""


class TooFewImagesError(DataError):
    """A dataset with fewer images than were requested."""


class FrameworkError(AlexNetError, RuntimeError):
    """A framework that is missing, or does not support a request on this device."""


class RecordError(AlexNetError, ValueError):
    """JSON or CSV without the fields and types of the record that it should be."""


class RunError(AlexNetError, RuntimeError):
    """A run folder that cannot be used, or a training run that cannot continue."""


class StoppedError(RunError):
    """A run that the user stopped; the message is a sentence that says how to continue it."""


class DivergedError(RunError):
    """A loss, a weight or a probability that is no longer a finite number."""


class CollapsedError(RunError):
    """A network whose units have died, so that it no longer learns."""


class ParityError(AlexNetError, ValueError):
    """Two models that cannot be compared."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: of similar spelling, initials (lr), or a part of it.

    Returns:
        None if no known name is near.
    """
    names = {known_name.replace("_", "-").lower(): known_name for known_name in known}
    asked = name.replace("_", "-").lower()
    close = difflib.get_close_matches(asked, names, n=1, cutoff=0.8)
    if not close and len(asked) > 1:
        initials = {spelled: "".join(re.findall(r"\b\w", spelled)) for spelled in names}
        close = [spelled for spelled, letters in initials.items() if letters.endswith(asked)]
        close += [spelled for spelled in names if len(asked) > 2 and asked in spelled]
    close = close or difflib.get_close_matches(asked, names, n=1, cutoff=0.4)
    return names[close[0]] if close else None


class UnknownNameError(AlexNetError, KeyError):
    """A name that is not in its table; the message suggests the nearest known name.

    Args:
        kind: What the name should name, as in "Unknown KIND 'name'".
        name: The name received.
        known: All valid names.
        near: The suggestion; by default the nearest of `known`.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, near: str | None = None
    ) -> None:
        names = list(known)
        near = near or nearest(name, names)
        hint = f" Did you mean '{near}'?" if near else ""
        self.message = f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names)}."
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


@contextmanager
def closed_pipe_ignored() -> Iterator[None]:
    """Ends the block, and nothing else, where it writes to a pipe that nobody reads any more."""
    try:
        yield
    except OSError as error:
        if not is_closed_pipe(error):
            raise


def is_closed_pipe(error: OSError) -> bool:
    """Whether an error says that nobody reads a pipe any more: EINVAL on Windows."""
    return isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL


@contextmanager
def require_home(remedy: str) -> Iterator[None]:
    """Runs a block that looks for a home folder.

    Args:
        remedy: What to do where there is none, as in a container with a user id of its own.

    Raises:
        DataError: If HOME is not set and the user is unknown, or a path names an unknown user.
    """
    try:
        yield
    except RuntimeError as error:
        raise DataError(f"The home folder is not known ({error}); {remedy}.") from error
