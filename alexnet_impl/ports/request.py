"""What is asked of a comparison of two models: which they are, and which of their layers pair."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alexnet_impl.errors import ParityError

CopyWeights = Literal["auto", "always", "never"]
NAMES_FORM = "--names reads torch_name=keras_name,... or a JSON file with one object of such names"


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """What is to be compared.

    Attributes:
        torch: 'module:function' that returns an nn.Module.
        tensorflow: 'module:function' that returns a keras.Model.
        names: PyTorch's layer names to Keras's, 'a=b,...' or a JSON file; None where they are
            equal or the order says it.
        copy_weights: Whether PyTorch's weights are copied into the Keras model: 'auto' where the
            two are unrelated, and, once the weights were judged, for the checks above.
        image_size: Height and width, where the Keras model does not say them.
        seed: Of the images.
    """

    torch: str
    tensorflow: str
    names: str | None = None
    copy_weights: CopyWeights = "auto"
    image_size: int | None = None
    seed: int = 0


def parse_names(text: str | None) -> dict[str, str]:
    """The name map of --names: PyTorch's name to Keras's.

    Raises:
        ParityError: If it is neither a map nor a file that holds one.
    """
    if not text:
        return {}
    if "=" not in text or text.endswith(".json"):
        return _read_names(Path(text))
    names: dict[str, str] = {}
    for entry in text.split(","):
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not ours or not equals or not theirs:
            raise ParityError(f"--names {entry}: is no pair of names; {NAMES_FORM}.")
        if ours in names:
            raise ParityError(f"--names {entry}: {ours} was given {names[ours]} before.")
        names[ours] = theirs
    return names


def _read_names(path: Path) -> dict[str, str]:
    try:
        names = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ParityError(f"--names {path}: there is no such file; {NAMES_FORM}.") from error
    except (OSError, ValueError) as error:
        raise ParityError(f"--names {path}: cannot be read ({error}); {NAMES_FORM}.") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ParityError(f"--names {path}: holds no object of names; {NAMES_FORM}.")
    return names
