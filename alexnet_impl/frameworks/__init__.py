"""The protocol that every framework adapter implements, and the registry of adapters.

`torch` and `tensorflow` are folders with the same file names and the same public names; nothing
outside a folder imports its framework. Everything that crosses the boundary is a NumPy array, a
Spec, a Recipe, or a handle that only the framework reads.
"""

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.data.batches import GatherIndices
from alexnet_impl.errors import FrameworkError, UnknownNameError
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.frameworks.user_model import UserModel
from alexnet_impl.frameworks.user_preprocessing import PreprocessedFile
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.stored import StoredWeights

FrameworkName = Literal["torch", "tensorflow"]
FRAMEWORKS: tuple[FrameworkName, ...] = get_args(FrameworkName)

Pixels = NDArray[np.uint8]
"""Images of shape (batch, height, width, 3), in their stored size."""
Labels = NDArray[np.int64]
"""Class indices of shape (batch,)."""
Logits = NDArray[np.floating]
"""Shape (batch, num_classes)."""
Activations = dict[str, NDArray[np.floating]]
"""Output by layer name: (batch, channels, height, width) or (batch, features), the features of a
flattened map channels first. 'images' is the input of the first layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepValues:
    """Loss and correct predictions of a training step, read from the device.

    Attributes:
        loss: Mean training loss over the batch before the update, label smoothing included.
        num_correct: Number of images whose largest logit was their label's.
    """

    loss: float
    num_correct: int


class Trainer(Protocol):
    """A network in training on one device."""

    def train_step(self, images: Pixels, labels: Labels, learning_rate: float) -> Any:
        """Updates the weights on images (batch, height, width, 3) and labels (batch,).

        It does not wait for the device, and returns a handle for read().
        """

    def read(self, handles: list[Any]) -> list[StepValues]:
        """Reads the values of earlier steps, one per step; waits for the device."""

    def logits(self, images: Pixels) -> Logits:
        """Computes logits (batch, num_classes) of images (batch, height, width, 3) without dropout.

        They are float32, or float64 if that is the precision.
        """

    def activations(self, images: Pixels, *, training: bool = False) -> Activations:
        """Computes the output of every layer, in the Spec's order.

        Args:
            images: Shape (batch, height, width, 3).
            training: Whether dropout acts, as in the next train_step.

        Returns:
            Copies in float32, or in float64 if that is the precision; shapes as in Activations.
        """

    def gradients(self, images: Pixels, labels: Labels) -> tuple[float, Weights]:
        """Computes the loss and its gradients, as the next train_step would; changes no weight.

        Dropout's own generator advances, as in activations(training=True); shared masks
        (Recipe.dropout_masks) stay those of the next step. Images have shape (batch, height, width,
        3), labels (batch,).

        Returns:
            The mean loss, and the gradient of each weight in the canonical layout, without
            weight decay and clipping.
        """

    def synchronize(self) -> None:
        """Waits until the device has finished its work."""

    def weights(self) -> Weights:
        """Copies the weights, in the canonical layout."""

    def state(self) -> Weights:
        """Copies everything that train_step changes except the weights, exactly, by name.

        `step` counts the steps taken. `optimizer.step`, and `optimizer.<weight>.<slot>` in the
        canonical layout with slot one of momentum, first and second, mean the same in every
        framework. The rest is its own: dropout's random state and the loss scale.
        """

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continues from weights() and state() (canonical layout) of an earlier, equal trainer."""

    def peak_memory_bytes(self) -> int | None:
        """Peak memory on the accelerator in bytes; None on a CPU, where the process is measured."""


class DeviceTrainer(Trainer, Protocol):
    """A Trainer in this process, with the calls that remote trainers lack; none waits."""

    def put_dataset_on_device(self, images: Pixels, padding: int) -> None:
        """Puts all training images on the device, so that steps may take GatherIndices.

        Args:
            images: uint8 of shape (num_images, height, width, 3).
            padding: Black pixels on every side, as the recipe's crop_padding.
        """

    def train_step(
        self, images: Pixels | GatherIndices, labels: Labels, learning_rate: float
    ) -> Any:
        """Updates the weights on one batch, as in Trainer.

        The batch has labels (batch,), and images (batch, height, width, 3) or their GatherIndices
        into the dataset of put_dataset_on_device().
        """

    def train_steps(
        self,
        images: Sequence[Pixels] | Sequence[GatherIndices],
        labels: Sequence[Labels],
        learning_rates: Sequence[float],
    ) -> Any:
        """Takes several steps on batches of one size, with the same bits as one by one.

        Each argument has one entry per step, with the shapes of train_step(). It returns one
        handle, for which read() gives the values of all steps.
        """

    def features(self, images: Pixels, layer: str) -> NDArray[np.floating]:
        """Computes the output of one layer, without dropout and without the layers after it.

        Args:
            images: Shape (batch, height, width, 3).
            layer: Its name in the Spec.

        Returns:
            (batch, channels, height, width) or (batch, features), as in Activations.
        """

    def infer(self, images: Pixels) -> Any:
        """Computes logits of shape (batch, num_classes) on the device; images as for logits()."""

    def move(self, images: Pixels) -> Any:
        """Copies images to the device: uint8 of shape (batch, height, width, 3)."""

    def preprocess(self, images: Pixels) -> Any:
        """Computes the first layer's input on the device, from images (batch, height, width, 3).

        It has the network's input size and the framework's own shape: (batch, 3, height, width) in
        PyTorch, (batch, height, width, 3) in TensorFlow.
        """

    def forward(self, images: Pixels, labels: Labels) -> Any:
        """Computes the scalar loss of a train_step on the device; arguments as for train_step."""

    def backward(self, images: Pixels, labels: Labels) -> Any:
        """Computes the scalar loss and the gradients for update(); arguments as for train_step."""

    def update(self, learning_rate: float) -> None:
        """Updates the weights by the gradients of the latest backward().

        Together they are a train_step. Calling it again without backward() takes equally long, but
        has no meaning.
        """


class Framework(Protocol):
    """The public names of an adapter package."""

    def build_model(
        self, spec: Spec, precision: str = ..., seed: int = ..., *, shared_masks: bool = ...
    ) -> Any:
        """Builds the framework's own kind of model, with the framework's initial weights."""

    def make_trainer(
        self, spec: Spec, recipe: Recipe, weights: Weights, device: str
    ) -> DeviceTrainer:
        """Makes a trainer that starts from weights in the canonical layout.

        The head of a network (Spec.skipped) reads float32 features instead of images, channels
        first.

        Raises:
            FrameworkError: If the device does not exist or cannot run the recipe.
        """

    def get_weights(self, model: Any, spec: Spec) -> Weights:
        """Copies the model's weights to the canonical layout, bit for bit."""

    def set_weights(self, model: Any, spec: Spec, weights: Weights) -> None:
        """Copies weights of the canonical layout into the model, bit for bit."""

    def load_model(self, place: str, folder: Path) -> UserModel:
        """Returns the model that a user's 'module:function' builds, on the CPU.

        Raises:
            UserCodeError: If there is no such function, or it raises.
            FrameworkError: If it returns something else.
        """

    def borrow_model(self, model: Any) -> AbstractContextManager[UserModel]:
        """Runs a user's own model object on the CPU; after the block it is as it was before.

        Raises:
            FrameworkError: If it is no model of this framework.
        """

    def run_preprocessing(
        self, place: str, folder: Path, files: Sequence[str]
    ) -> list[PreprocessedFile]:
        """Runs a user's own preprocessing on image files.

        Args:
            place: 'module:name' of a function, a transform, or a function that returns one.
            folder: The user's folder, importable while it runs.
            files: Paths of image files.

        Raises:
            UserCodeError: If there is no such function.
            FrameworkError: If it accepts no file, or returns no image.
        """

    def decode_jpeg(self, data: bytes) -> dict[str, NDArray[np.uint8]]:
        """Pixels (height, width, 3) of a JPEG file that the framework's decoder can return.

        They are named by their arithmetic; those that Pillow returns are not among them.
        """

    def read_checkpoint(self, path: Any, spec: Spec) -> Weights:
        """Reads one of the framework's own files into the canonical layout."""

    def read_backbone(self, path: Path, spec: Spec) -> Weights:
        """Reads a backbone's weights from a file of its library, in the library's names and shapes.

        Raises:
            WeightsError: If it is missing, damaged, or belongs to another network.
        """

    def read_stored(self, path: Any, key: str | None = ...) -> StoredWeights:
        """Reads one of the framework's own files under its own names, whatever the network.

        `key` chooses one of several state_dicts in a checkpoint. No code in the file runs.
        """

    def write_checkpoint(self, path: Any, spec: Spec, weights: Weights) -> None:
        """Writes weights of the canonical layout as a file that opens without this package.

        The caller sees that it is whole; see files.replace_whole().
        """

    def set_threads(self, threads: int) -> None:
        """Sets the number of CPU threads; call it before anything is computed.

        Raises:
            FrameworkError: If the framework has started its threads already.
        """

    def fingerprint(self, device: str) -> dict[str, Any]:
        """Returns the versions, device and flags that decide speed and numerics."""

    def calibration_kernels(
        self, device: str, precision: str
    ) -> dict[str, Callable[[], TimedCall]]:
        """Names what makes the calls that reach a device's peak.

        They are 'matmul float32', 'matmul bfloat16' and 'copy'.

        On a GPU also 'matmul float16', and always the product in the given precision.
        """

    def bfloat16_support(self, device: str) -> Bfloat16Support:
        """Finds out whether bfloat16 is native on a device, by its hardware and a small product.

        Call it after set_threads().
        """

    def tutorial_loop(
        self, spec: Spec, images: Pixels, labels: Labels, precision: str, device: str
    ) -> TimedCall:
        """Makes a training step as the framework's tutorials write it, for comparison.

        It uses the framework's default layout and initial weights and stock SGD with momentum, on
        images that were preprocessed in advance and lie on the device. The torchvision variant
        is torchvision's own module. If a call has a fixed cost, one call has several batches.

        Args:
            spec: The network.
            images: One batch, uint8 of shape (batch, height, width, 3) in the network's input size.
            labels: int64 of shape (batch,).
            precision: 'float32', or 'bfloat16' for the framework's own mixed precision.
            device: 'auto', 'cpu' or 'gpu'.
        """


ADAPTERS: dict[str, "Framework | str"] = {}
"""Framework name to its adapter, or to the module that is the adapter, imported at first use."""


def register(name: str, adapter: "Framework | str") -> None:
    """Registers an adapter under a framework's name, replacing the previous one.

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
    """Call before importing a framework: sets up its process, so that both can be used in one.

    OpenMP's threads, which are PyTorch's, spin while they wait, by default for long: beside other
    work they hold the cores that the other threads need. They sleep after a short spin instead,
    unless OMP_WAIT_POLICY or GOMP_SPINCOUNT is set (docs/benchmarks.md has the prices). OpenMP
    reads them when it is loaded, with PyTorch.
    TensorFlow uses oneDNN on every x86 CPU, unless TF_ENABLE_ONEDNN_OPTS is set: by itself it
    leaves out those without VNNI, where its other kernels train a quarter more slowly.

    TensorFlow 2.20 and 2.21 expose their LLVM to the whole process; a triton that is loaded after
    them binds to it, and the process dies in the first torch optimiser. Loaded before them it
    binds to its own. If TensorFlow was imported first, PyTorch runs without triton, which only
    torch.compile on a GPU needs.

    References:
        github.com/tensorflow/tensorflow issue 124205; core/util/port.cc, DefaultOneDnnPolicy.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    if platform.machine() == "x86_64":
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "triton" in sys.modules or importlib.util.find_spec("triton") is None:
        return
    if "tensorflow" in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]  # import then raises ImportError
    else:
        # Before PyTorch as well: the user may import TensorFlow by hand afterwards.
        importlib.import_module("triton")
