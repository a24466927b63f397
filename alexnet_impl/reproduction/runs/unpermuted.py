"""The mistake of R2-tf-converted: weights moved into Keras by transposes alone."""

from pathlib import Path

from alexnet_impl.data.cache import cache_dir
from alexnet_impl.errors import WeightsError
from alexnet_impl.files import file_digest
from alexnet_impl.network.spec import Flatten, Spec, trace
from alexnet_impl.parity.causes import unpermuted
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights
from alexnet_impl.weights.pretrained_files import Pretrained
from alexnet_impl.weights.published_files import is_published_name

UNPERMUTED = "-unpermuted.safetensors"
"""How the names of such files end."""
_KEY = "fc1.weight"


def unpermuted_path(source: str) -> Path:
    """Where write_unpermuted() keeps the weights of a published name, or of a file by its bytes.

    Raises:
        WeightsError: If there is no such file.
    """
    key = source.replace(":", "-")
    if not is_published_name(source):
        if not Path(source).is_file():
            raise WeightsError(f"{source}: there is no such file.")
        key = file_digest(Path(source), "sha256")[:16]
    return cache_dir() / "weights" / f"{key}{UNPERMUTED}"


def write_unpermuted(path: Path, found: Pretrained, spec: Spec, width: float) -> None:
    """Write weights whose fc1 reads channels-last features in PyTorch's channels-first order.

    Args:
        path: The file to write; one that is there stays.
        found: The weights before the mistake, readable as safetensors.
        spec: Their network, for any number of classes.
        width: Its multiplier.

    Raises:
        WeightsError: If they are damaged or of another network.
    """
    if path.is_file():
        return
    weights, _ = load_weights(found.readable)
    flatten = next(step for step in trace(spec).layers if isinstance(step.layer, Flatten))
    last = trace(spec).layers[-1].layer.name
    fed = found.preprocessing
    info = WeightsInfo(
        variant=spec.name,
        num_classes=len(weights[f"{last}.bias"]),
        input_size=spec.input_shape[1],
        width=width,
        input_scaling=None if fed is None else fed.input_scaling,
        resize_to=None if fed is None else fed.resize_to,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, weights | {_KEY: unpermuted(weights[_KEY], flatten.input_shape)}, info)
