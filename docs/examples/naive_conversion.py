"""Accuracy lost by the usual mistakes in moving a trained network from PyTorch to Keras.

    alexnet train --framework torch --variant cifar --output trained
    python naive_conversion.py trained

The weights of a finished run are copied into a Keras model of the same variant by the right
conversion and by each of the usual wrong ones; each result is evaluated on the run's test images.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.preprocessing import INPUT_SCALINGS, preprocess
from alexnet_impl.frameworks import get_framework
from alexnet_impl.network.spec import Flatten, Spec, trace
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.metadata import load_weights


def right_kernel(kernel: np.ndarray) -> np.ndarray:
    """Transposes PyTorch's (out, in, height, width) to Keras's (height, width, in, out)."""
    return kernel.transpose(2, 3, 1, 0)


def right_rows(kernel: np.ndarray, spec: Spec) -> np.ndarray:
    """Transposes fc1's (out, in) to (in, out), its rows from channels first to channels last.

    PyTorch flattens (channels, height, width), Keras (height, width, channels).
    """
    flatten = next(step for step in trace(spec).layers if isinstance(step.layer, Flatten))
    channels, height, width = flatten.input_shape
    maps = kernel.reshape(-1, channels, height, width)
    return maps.transpose(0, 2, 3, 1).reshape(len(kernel), -1).T


def put(
    model: keras.Model,
    weights: Weights,
    kernel: Callable[[np.ndarray], np.ndarray],
    first_dense: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Copies PyTorch's weights into the Keras model, with the given moves of kernels and fc1."""
    for name, array in weights.items():
        layer, _, short = name.partition(".")
        if short == "bias":
            model.get_layer(layer).bias.assign(array)
            continue
        if array.ndim == 4:
            moved = kernel(array)
        elif layer == "fc1":
            moved = first_dense(array)
        else:
            moved = array.T
        model.get_layer(layer).kernel.assign(moved)


def conversions(
    weights: Weights, spec: Spec, images: np.ndarray, recipe: Recipe
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (description, logits) of the right conversion and of the usual wrong ones."""
    model = get_framework("tensorflow").build_model(spec)
    size, scaling = spec.input_shape[1], recipe.input_scaling

    def logits(pixels: np.ndarray, name: str) -> np.ndarray:
        preprocessed = preprocess(pixels, INPUT_SCALINGS[name], size, resize=recipe.resize)
        return model.predict(preprocessed, verbose=0, batch_size=250)

    put(model, weights, right_kernel, lambda kernel: right_rows(kernel, spec))
    yield "kernels transposed, fc1's rows permuted", logits(images, scaling)
    yield "the same, images read as BGR", logits(images[..., ::-1], scaling)
    other = "unit" if scaling != "unit" else "symmetric"
    yield f"the same, pixels scaled as '{other}'", logits(images, other)
    put(model, weights, right_kernel, lambda kernel: kernel.T)
    yield "kernels transposed, fc1's rows left alone", logits(images, scaling)
    put(model, weights, lambda kernel: kernel.T, lambda kernel: right_rows(kernel, spec))
    yield "kernels turned by .T, fc1's rows permuted", logits(images, scaling)


def main(path: Path) -> None:
    """Prints the accuracy of each conversion of a run's weights."""
    folder = RunFolder.open(path)
    config = folder.config
    dataset = load_dataset(config.data)
    spec = config.spec(dataset.num_classes)
    weights, _ = load_weights(path / "weights.safetensors")
    test = dataset.test
    own = folder.read_predictions()
    print(f"{(own.predicted == own.labels).mean():8.2%}  in PyTorch, as the run measured it")
    for what, logits in conversions(weights, spec, test.images, config.recipe):
        print(f"{(logits.argmax(1) == test.labels).mean():8.2%}  {what}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python naive_conversion.py RUN_FOLDER", file=sys.stderr)
        sys.exit(2)
    main(Path(sys.argv[1]))
