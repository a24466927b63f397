"""Errors that this package raises on purpose; the command line prints each as one line.

Every message says where it happened, what was received, what is valid, and the remedy.
"""

import difflib
from collections.abc import Iterable


class AlexNetError(Exception):
    """A problem that the user can solve; the base class of all errors raised on purpose."""


class AlexNetWarning(UserWarning):
    """A warning: the work continues, but the user should know."""


class SpecError(AlexNetError, ValueError):
    """A network specification that no framework can build."""


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
    """JSON without the fields and types of the record that it should be."""


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


class UnknownNameError(AlexNetError, KeyError):
    """An unknown name; the message suggests the nearest known one and lists them all."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        self.message = f"Unknown {kind} '{name}'.{hint} Known: {', '.join(names)}."
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message
