"""The training step in PyTorch: preprocess the images, forward, loss, backward, update."""

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
from alexnet_impl.frameworks.torch.device import find_device, peak_memory_bytes, synchronize
from alexnet_impl.frameworks.torch.model import DTYPES, AlexNet, SharedDropout, build_model
from alexnet_impl.frameworks.torch.optimizers import learning, make_optimizer
from alexnet_impl.frameworks.torch.weights import get_weights, set_weights, to_numpy
from alexnet_impl.network.dropout_masks import mask_key
from alexnet_impl.network.spec import Spec, backbone_of
from alexnet_impl.recipe.recipe import LOSS_SCALE, LOSS_SCALE_GROWTH_STEPS, Recipe
from alexnet_impl.recipe.trainable import rate_factors, trainable_layers
from alexnet_impl.weights.canonical import Weights

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
SLOTS = {"momentum_buffer": "momentum", "exp_avg": "first", "exp_avg_sq": "second"}
"""What an optimiser keeps per weight: torch.optim's name to that in a run's state."""


def make_trainer(spec: Spec, recipe: Recipe, weights: Weights, device: str) -> "TorchTrainer":
    """A trainer that starts from these weights.

    Raises:
        FrameworkError: If there is no such device.
    """
    found = find_device(device)
    # float32 means float32: PyTorch allows TF32 in convolutions by default, TensorFlow in all.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return TorchTrainer(spec, recipe, weights, found)


def freeze(model: AlexNet, spec: Spec, recipe: Recipe) -> list[nn.Module]:
    """Let the weights of layers that do not learn have no gradient; those layers.

    Layers without weights are not among them: dropout draws wherever it stands, as in Keras.
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
    """uint8 (batch, height, width, 3) to floats (batch, 3, *input size), on the device."""

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
        """Scale, normalise, and resize if the stored size is not the network's.

        Features of a frozen network are let through.
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
    """The Trainer protocol over an AlexNet module."""

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
        self.held: Tensor | None = None
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
        """Keep all training images on the device, padded once."""
        sides = (0, 0, padding, padding, padding, padding)
        self.held = functional.pad(torch.from_numpy(images).to(self.device), sides)

    def train_step(
        self, images: Pixels | GatherIndices, labels: Labels, learning_rate: float
    ) -> Tensor:
        """Update the weights on one batch; the handle holds (loss, number correct)."""
        loss, num_correct = self._backward(images, labels)
        self.update(learning_rate)
        return torch.stack([loss, num_correct.to(loss.dtype)])

    def train_steps(
        self,
        images: Sequence[Pixels] | Sequence[GatherIndices],
        labels: Sequence[Labels],
        learning_rates: Sequence[float],
    ) -> Tensor:
        """One step after the other; the handle holds a row for each."""
        steps = enumerate(zip(labels, learning_rates, strict=True))
        return torch.stack([self.train_step(images[step], *rest) for step, rest in steps])

    def forward(self, images: Pixels, labels: Labels) -> Tensor:
        """The loss as train_step computes it, with the graph to its gradients."""
        return self._forward(images, labels)[0]

    def backward(self, images: Pixels, labels: Labels) -> Tensor:
        """The loss, with the scaled loss's gradients left in the parameters."""
        return self._backward(images, labels)[0]

    def update(self, learning_rate: float) -> None:
        """Update the weights by the gradients that lie in the parameters."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_factor"]
        self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1

    def _forward(self, images: Pixels | GatherIndices, labels: Labels) -> tuple[Tensor, Tensor]:
        """(loss, number correct)."""
        self._set_training()
        self._set_masks()
        targets = torch.from_numpy(labels).to(self.device, non_blocking=True)
        logits = self._logits(images)
        return self._loss(logits, targets), (logits.detach().argmax(1) == targets).sum()

    def _backward(self, images: Pixels | GatherIndices, labels: Labels) -> tuple[Tensor, Tensor]:
        """(loss, number correct), with the scaled loss's gradients left in the parameters."""
        loss, num_correct = self._forward(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), num_correct

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of what the Recipe takes it of."""
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
        """As a training step wants it: what is frozen does as in inference."""
        self.model.train()
        for module in self.frozen:
            module.eval()

    def _set_masks(self) -> None:
        """Where masks are shared: those of the coming step."""
        for place, module in enumerate(self.model):
            if isinstance(module, SharedDropout):
                module.set_key(mask_key(self.recipe.seed, self.step, place))

    def read(self, handles: list[Tensor]) -> list[StepValues]:
        """The values of steps taken earlier; waits for the device."""
        if not handles:
            return []
        rows = torch.cat([handle.view(-1, 2) for handle in handles]).cpu().tolist()
        return [StepValues(loss=loss, num_correct=round(correct)) for loss, correct in rows]

    def logits(self, images: Pixels) -> Logits:
        """Logits without dropout, shape (batch, num_classes)."""
        return self.infer(images).cpu().numpy()

    @torch.inference_mode()
    def infer(self, images: Pixels) -> Tensor:
        """Logits without dropout, on the device."""
        self.model.eval()
        return self._logits(images)

    def move(self, images: Pixels) -> Tensor:
        """Images on the device, as they are stored."""
        return self._pixels(images)

    @torch.inference_mode()
    def preprocess(self, images: Pixels) -> Tensor:
        """Images as the first layer reads them, on the device."""
        return self._floats(images)

    def _logits(self, images: Pixels | GatherIndices) -> Tensor:
        """uint8 (batch, height, width, 3) to logits (batch, num_classes) of full precision."""
        floats = self._floats(images)
        dtype = AUTOCAST.get(self.recipe.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            logits: Tensor = self.network(floats)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _pixels(self, images: Pixels | GatherIndices) -> Tensor:
        """uint8 (batch, height, width, 3) on the device."""
        if not isinstance(images, GatherIndices):
            return torch.from_numpy(images).to(self.device, non_blocking=True)
        if self.held is None:
            raise FrameworkError(
                "torch: the device has no images; call put_dataset_on_device() before steps on "
                "GatherIndices."
            )
        indices, rows, columns = (
            torch.from_numpy(places).to(self.device, non_blocking=True)
            for places in (images.indices, images.rows, images.columns)
        )
        return self.held[indices[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _floats(self, images: Pixels | GatherIndices) -> Tensor:
        """Images to what the first layer reads, outside autocast."""
        pixels = self._pixels(images)
        with torch.autocast(self.device.type, enabled=False):
            floats: Tensor = self.preprocessing(pixels)
        return floats.contiguous(memory_format=self.memory_format) if floats.ndim == 4 else floats

    @torch.inference_mode()
    def features(self, images: Pixels, layer: str) -> NDArray[np.float32]:
        """The output of one layer, in inference; layers behind it are not computed."""
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
        """The output of every layer, and the preprocessed images as 'images'."""
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
        """The loss and its gradients in the canonical layout; nothing is updated."""
        loss, _ = self._backward(images, labels)
        scale = self.scaler.get_scale()
        found: Weights = {}
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                found[name] = to_numpy(parameter.grad / scale)
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss), found

    def _clip(self) -> None:
        if self.recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)

    def synchronize(self) -> None:
        """Wait until the device has finished its work."""
        synchronize(self.device)

    def weights(self) -> Weights:
        """A copy of the weights in the canonical layout."""
        return get_weights(self.model, self.spec)

    def state(self) -> Weights:
        """Optimiser slots by weight, generator states, and the loss scale."""
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
        """Continue from weights() and state() of an earlier trainer."""
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
        """One weight's optimiser slots, on its device and in its memory format."""
        slots = {
            slot: torch.empty_like(parameter, requires_grad=False).copy_(
                torch.from_numpy(state[f"optimizer.{name}.{ours}"])
            )
            for slot, ours in SLOTS.items()
            if f"optimizer.{name}.{ours}" in state
        }
        if "exp_avg" in slots:
            step = float(state["optimizer.step"])
            slots["step"] = torch.tensor(step, dtype=torch.float32, device=parameter.device)
        return slots

    def peak_memory_bytes(self) -> int | None:
        """Most memory allocated on the accelerator; None on a CPU."""
        return peak_memory_bytes(self.device)
