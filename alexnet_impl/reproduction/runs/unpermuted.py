"""The mistake of R2-tf-converted: weights moved into Keras by transposes alone."""

from pathlib import Path

from alexnet_impl.network.spec import Flatten, Spec, trace
from alexnet_impl.parity.causes import unpermuted
from alexnet_impl.weights.metadata import WeightsInfo, load_weights, save_weights
from alexnet_impl.weights.pretrained_files import Pretrained

_KEY = "fc1.weight"


def write_unpermuted(path: Path, found: Pretrained, spec: Spec, width: float) -> None:
    """Writes weights whose fc1 reads channels-last features in PyTorch's channels-first order.

    An existing file is kept. `found` are the weights before the mistake, readable as safetensors;
    `spec` is their network, for any number of classes.

    Raises:
        WeightsError: If they are damaged or belong to another network.
    """
    if path.is_file():
        return
    weights, _ = load_weights(found.readable)
    flatten = next(step for step in trace(spec).layers if isinstance(step.layer, Flatten))
    last = trace(spec).layers[-1].layer.name
    preprocessing = found.preprocessing
    info = WeightsInfo(
        variant=spec.name,
        num_classes=len(weights[f"{last}.bias"]),
        input_size=spec.input_shape[1],
        width=width,
        input_scaling=None if preprocessing is None else preprocessing.input_scaling,
        resize_to=None if preprocessing is None else preprocessing.resize_to,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, weights | {_KEY: unpermuted(weights[_KEY], flatten.input_shape)}, info)
