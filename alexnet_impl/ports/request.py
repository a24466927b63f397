"""Request for a comparison of two user models: which models, and which of their layers pair."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from alexnet_impl.errors import ParityError
from alexnet_impl.frameworks.user_training import Training
from alexnet_impl.ports.inputs import Inputs
from alexnet_impl.typed_json import parse_json

CopyWeights = Literal["auto", "always", "never"]
STAGES = (
    *("architecture", "weights", "layers", "logits", "loss", "gradients", "steps"),
    *("training", "free training"),
)
"""The checks of a pair, in their order. A comparison of unequal layers ends with the logits."""
NAMES_FORM = "--names reads torch_name=keras_name,... or a JSON file with one object of such names"


@dataclass(frozen=True, kw_only=True)
class PreprocessingRequest:
    """The two preprocessing functions to compare, and the images.

    Attributes:
        torch: 'module:name' of a function or transform, or of a function that returns one. It takes
            a path or Pillow's image, and returns (channels, height, width).
        tensorflow: The same in Keras: of a path, or of the array of keras.utils.load_img(). It
            returns (height, width, channels).
        images: An image file, or a folder of them; None to generate files.
        seed: Seed of generated files.
    """

    torch: str
    tensorflow: str
    images: str | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """The two models to compare, and how.

    Attributes:
        torch: 'module:function' that returns an nn.Module.
        tensorflow: 'module:function' that returns a keras.Model.
        names: PyTorch's layer names to Keras's: a mapping, 'a=b,...' or a JSON file; None to pair
            layers by equal names or by order.
        copy_weights: Whether PyTorch's weights are copied into the Keras model. 'auto' copies them
            if the two are unrelated, and otherwise after the check of the weights.
        image_size: Height and width in pixels, if the Keras model does not declare them.
        input_shape: (height, width, channels), in place of what the Keras model declares.
        inputs: Array that both models read, see ports.inputs; '' for noise.
        tolerances: Stage to the largest difference allowed, in place of the usual one.
        torch_training: 'module:function' that takes `model` and returns its loss and its
            torch.optim.Optimizer, or a scheduler too; '' to train with plain gradient descent only.
        tensorflow_training: The same for the Keras model; '' for what it was compiled with.
        training_steps: Steps of the user's own training.
        seed: Seed of the random images.
        preprocessing: The preprocessing functions to compare before the models, if any.
    """

    torch: str
    tensorflow: str
    names: str | Mapping[str, str] | None = None
    copy_weights: CopyWeights = "auto"
    image_size: int | None = None
    input_shape: tuple[int, int, int] | None = None
    inputs: Inputs = ""
    tolerances: Mapping[str, float] = field(default_factory=dict)
    torch_training: Training = ""
    tensorflow_training: Training = ""
    training_steps: int = 10
    seed: int = 0
    preprocessing: PreprocessingRequest | None = None


def request_values(request: PairRequest) -> dict[str, Any]:
    """The request's values for a record; functions by their names."""
    return {
        key: f"{value.__module__}:{value.__qualname__}" if callable(value) else value
        for key, value in asdict(request).items()
    }


def parse_names(text: str | Mapping[str, str] | None) -> dict[str, str]:
    """Parse --names: PyTorch's layer name to Keras's.

    Raises:
        ParityError: If it is neither a map nor a JSON file with one.
    """
    if not text:
        return {}
    if not isinstance(text, str):
        return dict(text)
    if "=" not in text or text.endswith(".json"):
        return _read_names(Path(text))
    names: dict[str, str] = {}
    for entry in text.split(","):
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not ours or not equals or not theirs:
            raise ParityError(f"--names {entry}: is not a pair of names; {NAMES_FORM}.")
        if ours in names:
            raise ParityError(f"--names {entry}: {ours} is paired with {names[ours]} already.")
        names[ours] = theirs
    return names


def _read_names(path: Path) -> dict[str, str]:
    try:
        names = parse_json(path.read_text())
    except FileNotFoundError as error:
        raise ParityError(f"--names {path}: no such file; {NAMES_FORM}.") from error
    except (OSError, ValueError) as error:
        raise ParityError(f"--names {path}: cannot be read ({error}); {NAMES_FORM}.") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ParityError(f"--names {path}: contains no object of names; {NAMES_FORM}.")
    return names
