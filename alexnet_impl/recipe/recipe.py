"""A recipe: every number of a training run, each with one meaning in both frameworks.

The adapters translate; where a framework's own argument of the same name means something else,
the formula here is the one that holds.
"""

import functools
import math
import struct
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from alexnet_impl.errors import RecipeError, RecordError, UnknownNameError
from alexnet_impl.network.spec import LARGEST_INPUT
from alexnet_impl.typed_json import read, to_json

Optimizer = Literal["sgd", "sgdw", "adam", "adamw", "muon"]
UpdateFormula = Literal["torch", "keras"]
Schedule = Literal["constant", "step", "cosine", "one-cycle"]
Initializer = Literal["torch-default", "keras-default", "paper", "he", "he-dirac"]
BiasInitializer = Literal["own", "zeros", "uniform"]
LossInput = Literal["logits", "probabilities", "softmax-twice"]
Resize = Literal["antialiased", "bilinear", "nearest"]
ValidationSplit = Literal["stratified", "last"]
DropoutMasks = Literal["framework", "shared"]
InputScaling = Literal["unit", "symmetric", "imagenet", "cifar10", "caffe", "symmetric-then-caffe"]
Precision = Literal["auto", "float64", "float32", "bfloat16", "float16"]
"""auto is settled by a job before its first run (processes/precision.py)."""
MemoryLayout = Literal["channels-first", "channels-last"]
CompileMode = Literal["eager", "default", "compiled"]
OnCollapse = Literal["stop", "warn", "ignore"]
"""What a run does when its network collapses. It changes no number, so it is not in the recipe."""

MOMENTUM_OPTIMIZERS = ("sgd", "sgdw", "muon")
"""Those that keep a momentum buffer, with or without Nesterov's look-ahead."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients (a, b, c) of x <- a x + (b x x.T + c (x x.T)**2) x, a step of muon that moves all
singular values towards 1: quickly rather than exactly."""
NEWTON_SCHULZ_STEPS = 5

LARGEST_SEED = 2**32 - 1
"""NumPy's and Keras's global seeds end here."""
LOSS_SCALE = 2.0**15
"""First scale of the loss in float16: halved, and the step skipped, where a gradient overflows."""
LOSS_SCALE_GROWTH_STEPS = 2000
"""Steps without overflow after which the scale is doubled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every number of a training run.

    Raises:
        RecipeError: If a value is out of range or two fields contradict each other.
    """

    optimizer: Optimizer = "sgd"
    """sgd: b = momentum * b + g; w -= learning_rate * b.
    adam: m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2;
    w -= learning_rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon).
    sgdw, adamw: sgd and adam with decoupled weight decay.
    muon: sgd, but the kernels of convolutions after the first do not decay, and their step (b, or
    g + momentum * b with nesterov) is first made orthogonal as a matrix of out_channels rows and
    `columns` columns: over its Frobenius norm + 1e-7, then NEWTON_SCHULZ_STEPS times NEWTON_SCHULZ,
    in bfloat16 where the precision is; w -= learning_rate * muon_scale *
    sqrt(max(1, rows / columns)) * it (Jordan et al. 2024, Muon; airbench94_muon)."""
    learning_rate: float = 0.01
    """The highest learning rate of the schedule."""
    momentum: float = 0.9
    """Momentum of sgd, sgdw and muon."""
    momentum_formula: UpdateFormula = "torch"
    """torch: as above, the learning rate stays outside the buffer. keras: it goes into it,
    b = momentum * b + learning_rate * g; w -= b, so a buffer keeps the rates of earlier steps."""
    nesterov: bool = False
    """Nesterov momentum of sgd, sgdw and muon: w -= learning_rate * (g + momentum * b)."""
    muon_scale: float = 1.0
    """Muon: learning-rate multiplier of the orthogonalised updates."""
    beta1: float = 0.9
    """Decay rate of the first moment in adam and adamw."""
    beta2: float = 0.999
    """Decay rate of the second moment in adam and adamw."""
    epsilon: float = 1e-8
    """Added to the denominator in adam and adamw."""
    epsilon_formula: UpdateFormula = "torch"
    """torch: as above, epsilon is added to the root of the bias-corrected second moment. keras:
    w -= learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + epsilon)."""
    weight_decay: float = 0.0
    """sgd, adam: g += weight_decay * w (L2). sgdw, adamw: w -= learning_rate * weight_decay * w."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """Which weights decay: all of them, or convolution and dense kernels but no biases."""
    clip_norm: float | None = None
    """Gradients are scaled by min(1, clip_norm / (norm + 1e-6)), norm over all weights."""

    schedule: Schedule = "constant"
    """How the learning rate moves with each step, after the warm-up.
    constant: stays. step: times step_factor at each of step_at. cosine: half a cosine down to 0.
    one-cycle: linearly down to 0."""
    warmup: float = 0.0
    """Fraction of all steps in which the learning rate rises linearly from 0."""
    step_at: tuple[float, ...] = (0.5, 0.75)
    """Step schedule: where the rate falls, as fractions of all steps."""
    step_factor: float = 0.1
    """Step schedule: what the rate is multiplied by at each of step_at."""

    trainable: str = "all"
    """Which layers learn; all others keep their weights, and their batch normalisation keeps and
    uses its statistics. all; head: the last layer, or all layers after a backbone; last-N: the last
    N layers, or the last N of a backbone and all after it; or layer names NAME,NAME,..."""
    reset_layers: tuple[str, ...] = ()
    """Layers that are initialised anew when weights are given. The last one always is if its number
    of classes differs."""
    rate_factors: tuple[str, ...] = ()
    """LAYER=FACTOR: multiplies the learning rate of one layer."""
    phases: tuple[str, ...] = ()
    """FIELD=VALUE,...: each is a training that starts from the weights of the one before, with a
    fresh optimizer and schedule; FIELD is epochs, learning_rate or trainable. Empty: one phase, the
    recipe as it is."""

    epochs: int = 1
    """Passes over the training images."""
    steps: int | None = None
    """Number of steps of the training, whatever epochs says; None: epochs decides."""
    global_batch_size: int = 128
    """Images per step, over all devices."""
    drop_last: bool = False
    """Whether a last batch that is not full is left out of the epoch."""
    validation_fraction: float = 0.0
    """Fraction of the training images held back for validation. At 0 each epoch is evaluated on the
    test images."""
    validation_split: ValidationSplit = "stratified"
    """stratified: held back at random, class by class. last: the last images as they are stored,
    as Keras's fit(validation_split=) does; of a folder sorted by class that is whole classes."""
    shuffle_buffer: int | None = None
    """None: each epoch is a permutation of all images. Otherwise the images pass in their stored
    order through a buffer of this size, and each next one is drawn from it, as tf.data does."""
    reshuffle: bool = True
    """Whether each epoch has an order of its own; if not, all have the first one's."""

    loss_input: LossInput = "logits"
    """Input of the cross-entropy. logits: the network's output; Keras's from_logits=False computes
    the same if a softmax ends the model. probabilities: the softmax, clipped to [1e-7, 1 - 1e-7],
    as from_logits=False on a softmax that Keras cannot see. softmax-twice: the softmax used as
    logits, as with a softmax layer before PyTorch's cross_entropy."""
    label_smoothing: float = 0.0
    """Targets are (1 - label_smoothing) * one_hot + label_smoothing / num_classes."""
    flip: bool = False
    """Whether each training image is mirrored left to right with probability 1/2."""
    alternate_flips: bool = False
    """With flip: only the first epoch draws; afterwards each image is mirrored in every second
    epoch, so that no epoch repeats the one before (airbench)."""
    crop_padding: int = 0
    """Black pixels added on every side of a training image before a random crop to its size."""
    eval_flip: bool = False
    """Whether probabilities are averaged over an image and its mirror image at evaluation."""
    input_scaling: InputScaling = "symmetric"
    """unit: pixels to [0, 1]. symmetric: to [-1, 1]. imagenet, cifar10: [0, 1], then minus that
    dataset's mean, divided by its standard deviation, channel by channel. caffe: [0, 255] minus
    ImageNet's mean, blue first, as keras.applications' VGG16 and ResNet50 need it.
    symmetric-then-caffe: the mistake of taking that mean off [-1, 1]."""
    input_size: int | None = None
    """Height and width the network reads, in pixels; None: the variant's own. Images of
    another size are resized on the device, with half-pixel centres."""
    resize_to: int | None = None
    """Height and width in pixels to which images are resized before the middle is cut out; None: no
    such resizing."""
    resize: Resize = "antialiased"
    """antialiased: bilinear, with a wider filter where images shrink. bilinear: without it.
    nearest: the nearest pixel."""

    initializer: Initializer = "torch-default"
    """torch-default: weights and biases U(+-1/sqrt(fan_in)). keras-default: Glorot uniform,
    biases 0. paper: N(0, 0.01), biases 1 in conv2, conv4, conv5, fc1 and fc2, otherwise 0.
    he: N(0, 2/fan_in), biases 0. he-dirac: he, but in all convolutions after the first, filter
    i of each group passes input channel i on, as far as there are channels: 1 at the centre,
    otherwise 0 (airbench, torch.nn.init.dirac_). After a ReLU both kinds keep the mean square."""
    bias_initializer: BiasInitializer = "own"
    """own: the initializer's. zeros: 0. uniform: U(+-1/sqrt(fan_in)), as in PyTorch."""
    last_layer_std: float | None = None
    """Standard deviation of the last layer's normal kernel; None: the initializer's."""

    precision: Precision = "float32"
    """float32 or float64 throughout; bfloat16 or float16: convolutions and dense products in
    it, with weights, LRN, loss and update in float32, and loss scaling for float16. auto: bfloat16
    if every framework of the job computes it natively on its device, otherwise float32."""
    memory_layout: MemoryLayout = "channels-last"
    """Order of feature maps in memory. TensorFlow supports only channels-last here."""
    compile_mode: CompileMode = "default"
    """eager: operation by operation. default: PyTorch eager, TensorFlow in one tf.function.
    compiled: torch.compile and XLA."""
    fused_update: bool = True
    """Whether the update runs in the framework's fused kernels, if it has some for the formula:
    fused=True of torch.optim, ApplyMomentum and ApplyAdam of TensorFlow. Otherwise torch.optim's
    default, and Keras operations."""
    prefetch: int = 2
    """Calls (of steps_per_call batches each) whose batches a background thread prepares ahead; 0
    prepares each batch when it is needed."""
    steps_per_call: int = 1
    """Training steps per call. TensorFlow: one call of the graph runs them all, as Keras's
    steps_per_execution does. PyTorch: a loop in Python, since it has no such call. It changes no
    bit of a training unless XLA compiles the loop as a whole."""
    device_data: bool = False
    """Whether the dataset stays on the device, as uint8, and batches are gathered, cropped and
    mirrored there: the same pixels, but the host sends only gather indices."""
    dropout_masks: DropoutMasks = "framework"
    """framework: each framework's own generator. shared: a hash of (seed, step, layer, image,
    unit), bit for bit the same in every framework."""
    seed: int = 0
    """Seed of initial weights, validation split, batches, augmentation and dropout."""

    def __post_init__(self) -> None:
        _check_types({field.name: getattr(self, field.name) for field in fields(self)})
        _check_ranges(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON holds them."""
        return dict(to_json(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Returns the recipe that to_dict() wrote.

        Raises:
            RecipeError: If a value is out of range or of the wrong type.
            UnknownNameError: If a field or a choice is unknown.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UnknownNameError("recipe field", name, known)
        _check_types(values)
        return read(cls, values)


def require_settled(recipe: Recipe) -> None:
    """Refuses a recipe whose precision is still auto: an adapter would compute in float32.

    Raises:
        RecipeError: If it is.
    """
    if recipe.precision == "auto":
        raise RecipeError(
            "precision=auto must be settled before a run is prepared: call "
            "processes.precision.settle_precision(), or choose bfloat16 or float32."
        )


def total_steps(recipe: Recipe, batches_per_epoch: int) -> int:
    """Returns the number of steps of a run, given the number of batches per epoch."""
    return recipe.epochs * batches_per_epoch if recipe.steps is None else recipe.steps


def learning_rate_at(recipe: Recipe, step: int, num_steps: int) -> float:
    """Returns the learning rate of one of a run's steps, counted from 0.

    float32 holds it exactly, so that both frameworks see the same number.
    """
    rise = recipe.warmup * num_steps
    if step + 1 <= rise:
        return _float32(recipe.learning_rate * (step + 1) / rise)
    left = (num_steps - step) / max(num_steps - rise, 1)
    match recipe.schedule:
        case "constant":
            factor = 1.0
        case "step":
            passed = sum(step >= at * num_steps for at in recipe.step_at)
            factor = recipe.step_factor**passed
        case "cosine":
            factor = 0.5 * (1 - math.cos(math.pi * min(left, 1.0)))
        case "one-cycle":
            factor = min(left, 1.0)
    return _float32(recipe.learning_rate * factor)


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


@functools.cache
def _field_types() -> tuple[dict[str, tuple[Any, ...]], Any]:
    """Returns the fields' choices, and a TypedDict: msgspec checks no finished dataclass."""
    types = get_type_hints(Recipe)
    choices = {name: get_args(kind) for name, kind in types.items() if get_origin(kind) is Literal}
    return choices, TypedDict("_Fields", types, total=False)  # type: ignore[operator]


def _check_types(values: dict[str, Any]) -> None:
    """Raises an error if a value is not of its field's type, or is no choice of its field."""
    choices, checked = _field_types()
    for name, known in choices.items():
        if name in values and values[name] not in known:
            raise UnknownNameError(name, str(values[name]), map(str, known))
    # NumPy's float64 is a float, but msgspec wants Python's own.
    builtin = {k: float(v) if isinstance(v, float) else v for k, v in values.items()}
    try:
        read(checked, builtin)
    except RecordError as error:
        raise RecipeError(f"{error}.") from None


_AT_LEAST: dict[str, float] = {
    "learning_rate": 0,
    "weight_decay": 0,
    "muon_scale": 0,
    "epochs": 1,
    "steps": 1,
    "global_batch_size": 1,
    "shuffle_buffer": 1,
    "crop_padding": 0,
    "prefetch": 0,
    "steps_per_call": 1,
    "input_size": 1,
    "resize_to": 1,
    "last_layer_std": 0,
    "step_factor": 0,
    "seed": 0,
}
_AT_MOST: dict[str, float] = {
    "learning_rate": 3e38,  # beyond, float32 has only infinity
    "step_factor": 1,  # or learning_rate would not be the highest
    "seed": LARGEST_SEED,
    # Far above any use, and far below what exhausts the machine before a first step.
    "epochs": 10**6,
    "steps": 10**8,
    "crop_padding": 1024,
    "prefetch": 1024,
    "steps_per_call": 10**5,
    "input_size": LARGEST_INPUT,
    "resize_to": LARGEST_INPUT,
}
_BELOW_ONE = ("momentum", "beta1", "beta2", "label_smoothing", "validation_fraction", "warmup")
_ABOVE_ZERO = ("epsilon", "clip_norm")


def _check_ranges(recipe: Recipe) -> None:
    for name, value in recipe.to_dict().items():
        if isinstance(value, float | int) and (violated := _violated_range(name, value)):
            raise RecipeError(f"{name}={value} must {violated}.")
    if recipe.optimizer == "muon" and recipe.momentum_formula != "torch":
        raise RecipeError(
            f"momentum_formula={recipe.momentum_formula} puts the learning rate into the buffer, "
            "which optimizer=muon makes orthogonal. Use momentum_formula=torch, or optimizer=sgd."
        )
    if recipe.nesterov and (recipe.optimizer not in MOMENTUM_OPTIMIZERS or recipe.momentum == 0):
        raise RecipeError(
            f"nesterov=True needs momentum of sgd, sgdw or muon, not {recipe.optimizer} with "
            f"momentum={recipe.momentum}."
        )
    if recipe.alternate_flips and not recipe.flip:
        raise RecipeError(
            "alternate_flips=True needs flip=True, since it decides which epochs flip."
        )
    if recipe.steps_per_call > 1 and recipe.dropout_masks == "shared":
        raise RecipeError(
            f"steps_per_call={recipe.steps_per_call} needs dropout_masks=framework: the host draws "
            "shared masks' keys."
        )
    if any(not 0 < at < 1 for at in recipe.step_at):
        raise RecipeError(f"step_at={recipe.step_at} must be fractions between 0 and 1.")


def _violated_range(name: str, value: float) -> str:
    """The condition that a number violates, such as 'be at least 1'; empty if there is none."""
    if not math.isfinite(value):
        return "be a finite number"
    if name in _AT_LEAST and value < _AT_LEAST[name]:
        return f"be at least {_AT_LEAST[name]}"
    if name in _AT_MOST and value > _AT_MOST[name]:
        return f"be at most {_AT_MOST[name]}"
    if name in _BELOW_ONE and not 0 <= value < 1:
        return "lie in [0, 1)"
    return "be above 0" if name in _ABOVE_ZERO and value <= 0 else ""
