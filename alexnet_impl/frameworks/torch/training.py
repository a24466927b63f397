"""The training step in PyTorch: preprocessing, forward, loss, backward and update."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alexnet_impl.data.batches import GatherIndices
from alexnet_impl.data.preprocessing import INPUT_SCALINGS
from alexnet_impl.data.resize import resize_and_cut
from alexnet_impl.errors import FrameworkError
from alexnet_impl.frameworks import Activations, Labels, Logits, Pixels, StepValues
from alexnet_impl.frameworks.torch.backbones import leaves
from alexnet_impl.frameworks.torch.device import (
    find_device,
    peak_memory_bytes,
    reset_peak_memory,
    synchronize,
)
from alexnet_impl.frameworks.torch.model import DTYPES, AlexNet, SharedDropout, build_model
from alexnet_impl.frameworks.torch.optimizers import learning, make_optimizer
from alexnet_impl.frameworks.torch.stored_files import to_numpy
from alexnet_impl.frameworks.torch.weights import get_weights, set_weights
from alexnet_impl.network.dropout_masks import mask_key
from alexnet_impl.network.spec import Spec, backbone_of
from alexnet_impl.recipe.recipe import LOSS_SCALE, LOSS_SCALE_GROWTH_STEPS, Recipe
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.weights.canonical import Weights

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
SLOTS = {"momentum_buffer": "momentum", "exp_avg": "first", "exp_avg_sq": "second"}
"""Optimizer state of a weight: torch.optim's name to the name in a run's state."""


def make_trainer(spec: Spec, recipe: Recipe, weights: Weights, device: str) -> "TorchTrainer":
    """Makes a trainer that starts from weights in the canonical layout.

    Raises:
        FrameworkError: If there is no such device.
    """
    found = find_device(device)
    # float32 means float32: PyTorch allows TF32 in convolutions by default, TensorFlow in all.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # cuDNN tries its convolutions and keeps the fastest, as it does in TensorFlow by default.
    torch.backends.cudnn.benchmark = True
    reset_peak_memory(found)
    return TorchTrainer(spec, recipe, weights, found)


def freeze(model: AlexNet, spec: Spec, recipe: Recipe) -> list[nn.Module]:
    """Turns off the gradients of layers that do not learn, and returns these layers.

    Layers without weights are not among them: dropout acts everywhere, as in Keras.
    """
    found = trainable_layers(spec, recipe)
    backbone = backbone_of(spec)
    frozen = [
        part
        for name, part in model.named_children()
        if name not in found.layers and any(True for _ in part.parameters())
    ]
    if backbone is not None and found.backbone_layers is not None:
        layers = leaves(model.get_submodule(backbone.name))
        frozen += layers[: max(0, len(layers) - found.backbone_layers)]
    for module in frozen:
        module.requires_grad_(requires_grad=False)
    return frozen


class InputPreprocessing(nn.Module):
    """Maps uint8 images to the network's float input, on the device."""

    def __init__(self, spec: Spec, recipe: Recipe) -> None:
        super().__init__()
        self.dtype = DTYPES.get(recipe.precision, torch.float32)
        self.method, self.between = recipe.resize, recipe.resize_to
        scaling = INPUT_SCALINGS[recipe.input_scaling]
        shape = (1, 3, 1, 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(scaling.mean, dtype=self.dtype).view(shape))
        self.register_buffer("std", torch.tensor(scaling.std, dtype=self.dtype).view(shape))
        self.blue_first = scaling.blue_first
        self.input_shape = spec.input_shape
        self.matrices: dict[tuple[int, int], Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (batch, height, width, 3) to (batch, 3, input height, input width).

        They are scaled, normalised and, if the stored size is not the network's, resized. Float
        features of a frozen network pass unchanged.
        """
        if images.is_floating_point():
            return images.to(self.dtype)
        channels_first = images.permute(0, 3, 1, 2).to(self.dtype)
        scaled = (channels_first / 255 - self.mean) / self.std
        if self.blue_first:
            scaled = scaled.flip(1)
        _, _, height, width = scaled.shape
        _, target_height, target_width = self.input_shape
        if self.between is None and (height, width) == (target_height, target_width):
            return scaled
        rows, columns = self._matrix(height, target_height), self._matrix(width, target_width)
        return rows @ scaled @ columns.T

    def _matrix(self, source_size: int, target_size: int) -> Tensor:
        sizes = source_size, target_size
        if sizes not in self.matrices:
            matrix = resize_and_cut(*sizes, self.between, method=self.method, dtype=np.float64)
            self.matrices[sizes] = torch.from_numpy(matrix).to(self.mean)
        return self.matrices[sizes]


class TorchTrainer:
    """The DeviceTrainer protocol for an AlexNet module."""

    def __init__(self, spec: Spec, recipe: Recipe, weights: Weights, device: torch.device) -> None:
        self.spec, self.recipe, self.device = spec, recipe, device
        self.memory_format = (
            torch.channels_last
            if recipe.memory_layout == "channels-last"
            else torch.contiguous_format
        )
        self.model: AlexNet = build_model(
            spec, recipe.precision, recipe.seed, shared_masks=recipe.dropout_masks == "shared"
        )
        self.step = 0
        self.dataset: Tensor | None = None
        set_weights(self.model, spec, weights)
        self.model.to(device).to(memory_format=self.memory_format)
        self.frozen = freeze(self.model, spec, recipe)
        self.preprocessing = InputPreprocessing(spec, recipe).to(device)
        factors = rate_factors(spec, recipe)
        self.optimizer = make_optimizer(self.model, recipe, device, factors)
        self.scaler = torch.amp.GradScaler(
            device.type,
            init_scale=LOSS_SCALE,
            growth_interval=LOSS_SCALE_GROWTH_STEPS,
            enabled=recipe.precision == "float16",
        )
        compiled = recipe.compile_mode == "compiled"
        self.network: Any = torch.compile(self.model) if compiled else self.model

    def put_dataset_on_device(self, images: Pixels, padding: int) -> None:
        """Copies the dataset (num_images, height, width, 3) to the device and pads it once."""
        sides = (0, 0, padding, padding, padding, padding)
        self.dataset = functional.pad(torch.from_numpy(images).to(self.device), sides)

    def train_step(
        self, images: Pixels | GatherIndices, labels: Labels, learning_rate: float
    ) -> Tensor:
        """Updates the weights on one batch; the handle has shape (2,): loss, number correct."""
        loss, num_correct = self._backward(images, labels)
        self.update(learning_rate)
        return torch.stack([loss, num_correct.to(loss.dtype)])

    def train_steps(
        self,
        images: Sequence[Pixels] | Sequence[GatherIndices],
        labels: Sequence[Labels],
        learning_rates: Sequence[float],
    ) -> Tensor:
        """Takes one step after the other; the handle has shape (steps, 2)."""
        steps = enumerate(zip(labels, learning_rates, strict=True))
        return torch.stack([self.train_step(images[step], *rest) for step, rest in steps])

    def forward(self, images: Pixels, labels: Labels) -> Tensor:
        """Computes the scalar loss of a train_step, with the graph of its gradients."""
        return self._forward(images, labels)[0]

    def backward(self, images: Pixels, labels: Labels) -> Tensor:
        """Computes the scalar loss and leaves the scaled loss's gradients in the parameters."""
        return self._backward(images, labels)[0]

    def update(self, learning_rate: float) -> None:
        """Updates the weights by the gradients in the parameters."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_factor"]
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1

    def _forward(self, images: Pixels | GatherIndices, labels: Labels) -> tuple[Tensor, Tensor]:
        """Computes the scalars (loss, number correct)."""
        self._set_training()
        self._set_masks()
        targets = torch.from_numpy(labels).to(self.device, non_blocking=True)
        logits = self._logits(images)
        return self._loss(logits, targets), (logits.detach().argmax(1) == targets).sum()

    def _backward(self, images: Pixels | GatherIndices, labels: Labels) -> tuple[Tensor, Tensor]:
        """Computes (loss, number correct), and leaves the scaled loss's gradients in parameters."""
        loss, num_correct = self._forward(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), num_correct

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of logits (batch, num_classes): see Recipe.loss_input."""
        smoothing = self.recipe.label_smoothing
        match self.recipe.loss_input:
            case "logits":
                pass
            case "softmax-twice":
                logits = logits.softmax(1)
            case "probabilities":
                logs = logits.softmax(1).clamp(1e-7, 1 - 1e-7).log()
                picked = functional.nll_loss(logs, targets)
                return (1 - smoothing) * picked - smoothing * logs.mean()
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)

    def _set_training(self) -> None:
        """Sets the training mode, in which frozen layers act as in inference."""
        self.model.train()
        for module in self.frozen:
            module.eval()

    def _set_masks(self) -> None:
        """Sets the keys of shared dropout masks for the next step."""
        for place, module in enumerate(self.model):
            if isinstance(module, SharedDropout):
                module.set_key(mask_key(self.recipe.seed, self.step, place))

    def read(self, handles: list[Tensor]) -> list[StepValues]:
        """Reads handles of shape (2,) or (steps, 2); waits for the device."""
        if not handles:
            return []
        rows = torch.cat([handle.view(-1, 2) for handle in handles]).cpu().tolist()
        return [StepValues(loss=loss, num_correct=round(correct)) for loss, correct in rows]

    def logits(self, images: Pixels) -> Logits:
        """Computes logits without dropout, shape (batch, num_classes)."""
        return self.infer(images).cpu().numpy()

    @torch.inference_mode()
    def infer(self, images: Pixels) -> Tensor:
        """Computes logits without dropout on the device, shape (batch, num_classes)."""
        self.model.eval()
        return self._logits(images)

    def move(self, images: Pixels) -> Tensor:
        """Copies images to the device: uint8 of shape (batch, height, width, 3)."""
        return self._pixels(images)

    @torch.inference_mode()
    def preprocess(self, images: Pixels) -> Tensor:
        """Computes the first layer's input on the device, shape (batch, 3, height, width)."""
        return self._floats(images)

    def _logits(self, images: Pixels | GatherIndices) -> Tensor:
        """Maps uint8 (batch, height, width, 3) to logits (batch, num_classes) of full precision."""
        floats = self._floats(images)
        dtype = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            logits: Tensor = self.network(floats)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _pixels(self, images: Pixels | GatherIndices) -> Tensor:
        """Returns uint8 (batch, height, width, 3) on the device, gathered there if need be."""
        if not isinstance(images, GatherIndices):
            return torch.from_numpy(images).to(self.device, non_blocking=True)
        if self.dataset is None:
            raise FrameworkError(
                "torch: the device has no images; call put_dataset_on_device() before steps on "
                "GatherIndices."
            )
        indices, rows, columns = (
            torch.from_numpy(places).to(self.device, non_blocking=True)
            for places in (images.indices, images.rows, images.columns)
        )
        return self.dataset[indices[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _floats(self, images: Pixels | GatherIndices) -> Tensor:
        """Computes the first layer's input, outside autocast."""
        pixels = self._pixels(images)
        with torch.autocast(self.device.type, enabled=False):
            floats: Tensor = self.preprocessing(pixels)
        return floats.contiguous(memory_format=self.memory_format) if floats.ndim == 4 else floats

    @torch.inference_mode()
    def features(self, images: Pixels, layer: str) -> NDArray[np.float32]:
        """Computes one layer's output in inference: (batch, channels, height, width) or 2-D."""
        self.model.eval()
        dtype = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            values = self._floats(images)
            for name, module in self.model.named_children():
                values = module(values)
                if name == layer:
                    break
        return to_numpy(values)

    @torch.no_grad()
    def activations(self, images: Pixels, *, training: bool = False) -> Activations:
        """Computes every layer's output (batch, channels, height, width) or 2-D, and 'images'."""
        self._set_training() if training else self.model.eval()
        self._set_masks()
        dtype = AUTOCAST.get(self.recipe.precision)
        outputs: Activations = {}
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            values = self._floats(images)
            outputs["images"] = to_numpy(values)
            for name, module in self.model.named_children():
                values = module(values)
                outputs[name] = to_numpy(values)  # a copy: the next ReLU works in place
        return outputs

    def gradients(self, images: Pixels, labels: Labels) -> tuple[float, Weights]:
        """Computes the loss and its gradients in the canonical layout; updates nothing."""
        loss, _ = self._backward(images, labels)
        scale = self.scaler.get_scale()
        found: Weights = {}
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                found[name] = to_numpy(parameter.grad / scale)
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss), found

    def synchronize(self) -> None:
        """Waits until the device has finished its work."""
        synchronize(self.device)

    def weights(self) -> Weights:
        """Copies the weights, in the canonical layout."""
        return get_weights(self.model, self.spec)

    def state(self) -> Weights:
        """Copies optimizer slots in the canonical layout, generator states and the loss scale."""
        state: Weights = {
            "step": np.array(self.step, np.int64),
            "optimizer.step": np.zeros((), np.int64),
        }
        for name, parameter in learning(self.model).items():
            kept = self.optimizer.state[parameter]
            for slot, ours in SLOTS.items():
                if kept.get(slot) is not None:
                    state[f"optimizer.{name}.{ours}"] = to_numpy(kept[slot])
            if "step" in kept:
                state["optimizer.step"] = to_numpy(kept["step"]).astype(np.int64)
        state["generator.cpu"] = torch.get_rng_state().numpy()
        if self.device.type == "cuda":
            state["generator.cuda"] = torch.cuda.get_rng_state(self.device).numpy()
        scale = json.dumps(self.scaler.state_dict()).encode()
        state["loss_scale"] = np.frombuffer(scale, dtype=np.uint8)
        return state

    def restore(self, weights: Weights, state: Weights) -> None:
        """Continues from weights() and state() (canonical layout) of an earlier trainer."""
        set_weights(self.model, self.spec, weights)
        self.step = int(state.get("step", 0))
        for name, parameter in learning(self.model).items():
            self.optimizer.state[parameter] = self._slots(name, parameter, state)
        if "generator.cpu" in state:
            torch.set_rng_state(torch.from_numpy(state["generator.cpu"]))
        if "generator.cuda" in state:
            torch.cuda.set_rng_state(torch.from_numpy(state["generator.cuda"]), self.device)
        if "loss_scale" in state:
            self.scaler.load_state_dict(json.loads(state["loss_scale"].tobytes()))

    def _slots(self, name: str, parameter: Tensor, state: Weights) -> dict[str, Tensor]:
        """Returns one weight's optimizer slots, on its device and in its memory format."""
        slots = {
            slot: torch.empty_like(parameter, requires_grad=False).copy_(
                torch.from_numpy(state[f"optimizer.{name}.{ours}"])
            )
            for slot, ours in SLOTS.items()
            if f"optimizer.{name}.{ours}" in state
        }
        if "exp_avg" in slots:
            # On the host, as torch.optim has it, unless fused kernels read it: the formula needs
            # its value in every step, for which a device would have to be waited for.
            place = parameter.device if self.optimizer.defaults.get("fused") else "cpu"
            step = float(state["optimizer.step"])
            slots["step"] = torch.tensor(step, dtype=torch.float32, device=place)
        return slots

    def peak_memory_bytes(self) -> int | None:
        """Peak memory allocated on the accelerator, in bytes; None on a CPU."""
        return peak_memory_bytes(self.device)
