"""The errors that this package raises on purpose; the command line shows each as one line.

Every message names where it happened, what was received, what must hold, and the remedy.
"""

import difflib
from collections.abc import Iterable


class AlexNetError(Exception):
    """Something the caller can put right; the base of every error raised on purpose."""


class AlexNetWarning(UserWarning):
    """Something that went on all the same, and that the user should know."""


class SpecError(AlexNetError, ValueError):
    """A specification that no framework could build."""


class RecipeError(AlexNetError):
    """A recipe that cannot be followed; no ValueError, which tyro would not let through."""


class WeightsError(AlexNetError, ValueError):
    """Weights that are damaged or belong to another variant."""


class DataError(AlexNetError, ValueError):
    """Images, archives or caches that cannot be used."""


class TooFewImagesError(DataError):
    """Fewer images than were asked for."""


class FrameworkError(AlexNetError, RuntimeError):
    """A framework that is missing, or cannot do what was asked of it on this device."""


class RecordError(AlexNetError, ValueError):
    """JSON without the fields and types of the record that it should be."""


class RunError(AlexNetError, RuntimeError):
    """A run folder or a training run that cannot go on."""


class StoppedError(RunError):
    """A run that the user stopped; it can be resumed."""


class DivergedError(RunError):
    """A loss that is no longer a finite number."""


class CollapsedError(RunError):
    """A network whose units have died, so that it learns no more."""


class ParityError(AlexNetError, ValueError):
    """Two models that cannot be put side by side."""


class UnknownNameError(AlexNetError, KeyError):
    """A name that is not in its table; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        self.message = f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names)}."
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message
