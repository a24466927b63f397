"""What a framework must offer, and the one place where its adapter is imported.

`torch` and `tensorflow` are folders with the same file names and the same public names; nothing
outside a folder imports its framework. Everything that crosses the boundary is a NumPy array, a
Spec, a Recipe, or a handle that only the framework reads.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import GatherIndices
from alexnet_impl.errors import FrameworkError, UnknownNameError
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.frameworks.user_model import UserModel
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import Weights

FrameworkName = Literal["torch", "tensorflow"]
FRAMEWORKS: tuple[FrameworkName, ...] = get_args(FrameworkName)

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Logits = NDArray[np.floating]
Activations = dict[str, NDArray[np.floating]]
"""A layer's name to its output: (batch, channels, height, width) or (batch, features), features of
a flattened map channels first; 'images' is what the first layer reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepValues:
    """What a training step measured, once read from the device.

    Attributes:
        loss: Mean over the batch, of the weights before the update; what is trained on, label
            smoothing included.
        num_correct: Images of the batch whose largest logit was their label's.
    """

    loss: float
    num_correct: int


class Trainer(Protocol):
    """One network in training on one device."""

    def train_step(self, images: Pixels, labels: Labels, learning_rate: float) -> Any:
        """Update the weights on one batch; does not wait for the device.

        Args:
            images: uint8 of shape (batch, height, width, 3), in their stored size.
            labels: int64 of shape (batch,).
            learning_rate: For this step.

        Returns:
            A handle for read().
        """

    def read(self, handles: list[Any]) -> list[StepValues]:
        """The values of steps taken earlier; waits for the device."""

    def logits(self, images: Pixels) -> Logits:
        """Logits, without dropout and in float32 (float64 where the precision is).

        Args:
            images: uint8 of shape (batch, height, width, 3), in their stored size.

        Returns:
            Shape (batch, num_classes).
        """

    def activations(self, images: Pixels, *, training: bool = False) -> Activations:
        """The output of every layer, in the Spec's order.

        Args:
            images: uint8 of shape (batch, height, width, 3), in their stored size.
            training: With dropout, as the next train_step would see it.

        Returns:
            Copies in float32, or in float64 where the precision is.
        """

    def gradients(self, images: Pixels, labels: Labels) -> tuple[float, Weights]:
        """The loss and its gradients, as the next train_step would see them; no weight changes.

        Dropout's own generator moves on, as it does in activations(training=True); shared masks
        (Recipe.dropout_masks) stay those of the coming step.

        Returns:
            The mean loss, and the gradient of each weight in the canonical layout: without
            weight decay and clipping.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked to do."""

    def weights(self) -> Weights:
        """A copy of the weights in the canonical layout."""

    def state(self) -> Weights:
        """All that train_step changes but the weights, exact, by name.

        `optimizer.step`, and `optimizer.<weight>.<slot>` in the canonical layout with slot one of
        momentum, first and second, mean the same in every framework; the rest is its own:
        dropout's random state and the loss scale. `step` counts the steps taken.
        """

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continue from weights() and state() of a trainer of the same network and recipe."""

    def peak_memory_bytes(self) -> int | None:
        """Most memory held on the accelerator so far; None on a CPU, where the process counts."""


class DeviceTrainer(Trainer, Protocol):
    """A Trainer of this process: what nobody asks of one in another; none waits for the device."""

    def put_dataset_on_device(self, images: Pixels, padding: int) -> None:
        """Puts all training images on the device, so that steps may take GatherIndices.

        Args:
            images: uint8 of shape (num_images, height, width, 3).
            padding: Black pixels on every side, as the recipe's crop_padding.
        """

    def train_step(
        self, images: Pixels | GatherIndices, labels: Labels, learning_rate: float
    ) -> Any:
        """Trainer.train_step, which also takes GatherIndices of the dataset on the device."""

    def train_steps(
        self,
        images: Sequence[Pixels] | Sequence[GatherIndices],
        labels: Sequence[Labels],
        learning_rates: Sequence[float],
    ) -> Any:
        """Several steps on batches of one size, to the same bits as one by one.

        Returns:
            One handle for read(), which gives the values of them all.
        """

    def features(self, images: Pixels, layer: str) -> NDArray[np.floating]:
        """The output of one layer, without dropout; layers behind it are not computed.

        Args:
            images: uint8 of shape (batch, height, width, 3), in their stored size.
            layer: Its name in the Spec.

        Returns:
            As in Activations: channels first.
        """

    def infer(self, images: Pixels) -> Any:
        """What logits() gives, left on the device."""

    def move(self, images: Pixels) -> Any:
        """Images on the device, in their stored size and type."""

    def preprocess(self, images: Pixels) -> Any:
        """Images as the first layer reads them, left on the device."""

    def forward(self, images: Pixels, labels: Labels) -> Any:
        """The loss as train_step computes it, left on the device."""

    def backward(self, images: Pixels, labels: Labels) -> Any:
        """forward() and the gradients that update() takes; returns the loss, left on the device."""

    def update(self, learning_rate: float) -> None:
        """Update the weights by the latest backward()'s gradients.

        With backward() before it this is train_step. Called again without one it takes as long,
        and means nothing.
        """


class Framework(Protocol):
    """An adapter package's public names."""

    def build_model(
        self, spec: Spec, precision: str = ..., seed: int = ..., *, shared_masks: bool = ...
    ) -> Any:
        """The framework's own kind of model, with weights still to be set."""

    def make_trainer(
        self, spec: Spec, recipe: Recipe, weights: Weights, device: str
    ) -> DeviceTrainer:
        """A trainer that starts from these weights.

        The head of a network (Spec.skipped) reads float32 features in place of images, channels
        first.

        Raises:
            FrameworkError: If the device is missing or cannot run the recipe.
        """

    def get_weights(self, model: Any, spec: Spec) -> Weights:
        """The model's weights in the canonical layout, bit for bit."""

    def set_weights(self, model: Any, spec: Spec, weights: Weights) -> None:
        """Put weights of the canonical layout into the model, bit for bit."""

    def load_model(self, place: str, folder: Path) -> UserModel:
        """The model that a user's 'module:function' returns, on the CPU.

        Raises:
            FrameworkError: If there is no such function, it raises, or returns something else.
        """

    def read_checkpoint(self, path: Any, spec: Spec) -> Weights:
        """Canonical weights of one of the framework's own files."""

    def read_backbone(self, path: Path, spec: Spec) -> Weights:
        """A backbone's weights out of a file that its library publishes, under its own names.

        Raises:
            WeightsError: If it is missing, damaged or of another network.
        """

    def describe_checkpoint(self, path: Any) -> dict[str, Any]:
        """Any of variant, num_classes and input_size, as the framework's own file says them."""

    def write_checkpoint(self, path: Any, spec: Spec, weights: Weights) -> None:
        """Write one of the framework's own files, which opens without this package."""

    def set_threads(self, threads: int) -> None:
        """How many CPU threads to use; before anything is computed.

        Raises:
            FrameworkError: If it is too late for this framework.
        """

    def fingerprint(self, device: str) -> dict[str, Any]:
        """Versions, device and flags that decide speed and numerics."""

    def calibration_kernels(self, device: str, precision: str) -> dict[str, TimedCall]:
        """What shows a device's peak: 'matmul float32', 'matmul bfloat16' and 'copy'.

        On a GPU also 'matmul float16', and everywhere the product in the precision that is timed.
        """

    def tutorial_loop(
        self, spec: Spec, images: Pixels, labels: Labels, precision: str, device: str
    ) -> TimedCall:
        """A training step as the framework's tutorials write it, for comparison.

        Its own default layout, initial weights and stock SGD with momentum, on images that were
        preprocessed beforehand and lie in the device's memory; the torchvision variant is
        torchvision's own module. Where a call has a cost of its own, the workload comes in
        longer calls.

        Args:
            spec: The network.
            images: uint8 of one batch, in the network's input size.
            labels: int64 of one batch.
            precision: 'float32', or 'bfloat16' for the framework's own mixed precision.
            device: 'auto', 'cpu' or 'gpu'.
        """


ADAPTERS: dict[str, "Framework | str"] = {}
"""Framework name to its adapter, or to the module that is the adapter, imported at first use."""


def register(name: str, adapter: "Framework | str") -> None:
    """Make an adapter known under a framework's name, in place of the one known before.

    Args:
        name: One of FRAMEWORKS.
        adapter: An object with the names of the Framework protocol, or the name of a module that
            has them and is imported when it is first asked for.
    """
    ADAPTERS[name] = adapter


for _name in FRAMEWORKS:
    register(_name, f"alexnet_impl.frameworks.{_name}")


def get_framework(name: str) -> Framework:
    """Returns the adapter of a framework, importing it at the first call.

    Raises:
        UnknownNameError: If there is no such adapter.
        FrameworkError: If the framework is not installed.
    """
    if name not in ADAPTERS:
        raise UnknownNameError("framework", name, ADAPTERS)
    adapter = ADAPTERS[name]
    if not isinstance(adapter, str):
        return adapter
    if not is_installed(name):
        raise FrameworkError(
            f"{name} is not installed for {sys.executable}; install it with: "
            f"pip install 'alexnet_impl[{name}]'"
        )
    return cast("Framework", importlib.import_module(adapter))


def is_installed(name: str) -> bool:
    """Whether a framework is registered as an object or can be imported; it is not imported."""
    if not isinstance(ADAPTERS.get(name, name), str):
        return True
    return name in sys.modules or importlib.util.find_spec(name) is not None


def keep_frameworks_apart() -> None:
    """Call before importing a framework, so that the other one may live in the same process.

    TensorFlow 2.20 and 2.21 expose their LLVM to the whole process; a triton that is loaded after
    them binds to it, and the process dies in the first torch optimiser. Loaded before them it
    binds to its own. Where TensorFlow came first, PyTorch goes without triton, which only
    torch.compile on a GPU needs.

    References:
        github.com/tensorflow/tensorflow issue 124205.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "triton" in sys.modules or importlib.util.find_spec("triton") is None:
        return
    if "tensorflow" in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]  # import then raises ImportError
    else:
        # Before PyTorch as well: the user may import TensorFlow by hand afterwards.
        importlib.import_module("triton")
