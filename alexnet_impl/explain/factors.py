"""What separates 'the same' training in PyTorch and in Keras, one named factor after the other.

'As it comes' is what a user of a framework gets who writes the obvious code. 'Made equal' is the
base recipe with PyTorch's reading of every factor: PyTorch's formulas are those that the Recipe
writes down, and its reading of most factors is to change nothing. So a factor's effect is what
happens to the made-equal training when this one thing is read as Keras reads it, and both sides as
they come are reached from it by switching.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from alexnet_impl.errors import UnknownNameError
from alexnet_impl.network.spec import Dropout
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe

SHUFFLE_BUFFER = 1000
"""The argument of tf.data's shuffle() in most tutorials."""
VALIDATION_FRACTION = 0.1
"""The argument of fit(validation_split=)."""

Kind = Literal["default", "mistake", "switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a factor changes: a key of VARIANTS with changes behind it, and a recipe."""

    variant: str
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What decides, of the images at hand, whether a factor can matter.

    Attributes:
        num_train_images: After the subset was taken.
        size: Height and width they are stored in, in pixels.
    """

    num_train_images: int
    size: tuple[int, int]


Change = Callable[[Setting], Setting]
Reason = Callable[[Setting, DatasetFacts], str]


def _unchanged(setting: Setting) -> Setting:
    return setting


def _always(_: Setting, __: DatasetFacts) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One thing that two trainings can differ in.

    Attributes:
        name: What --only takes.
        what: What is switched, in words.
        in_torch: PyTorch's reading, in words.
        in_keras: Keras's reading, in words; of what is no default, what is switched on.
        source: Why these are the readings.
        kind: 'default': the frameworks differ as they come. 'mistake': often made, asked for by
            neither. 'switch': users of both set it now and then.
        as_torch: From any setting to PyTorch's reading of it.
        as_keras: From a made-equal setting to the other reading.
        not_applicable: Why it cannot matter here; empty if it may.
    """

    name: str
    what: str
    in_torch: str
    in_keras: str
    source: str
    as_keras: Change
    kind: Kind = "default"
    as_torch: Change = _unchanged
    not_applicable: Reason = _always


def _recipe(**fields: Any) -> Change:
    """The change that sets these fields of the recipe."""
    return lambda setting: replace(setting, recipe=replace(setting.recipe, **fields))


def _variant(change: str, *, instead_of: Sequence[str] = ()) -> Change:
    """The change of the architecture of that name; none where the layers stay as they are."""

    def apply(setting: Setting) -> Setting:
        base, *changes = setting.variant.split(SEPARATOR)
        kept = SEPARATOR.join([base, *(name for name in changes if name not in instead_of)])
        changed = f"{kept}{SEPARATOR}{change}"
        for candidate in (kept, setting.variant):
            if _layers(candidate, setting) == _layers(changed, setting):
                return replace(setting, variant=candidate)
        return replace(setting, variant=changed)

    return apply


def _layers(variant: str, setting: Setting) -> object:
    return build_spec(variant, input_size=setting.recipe.input_size).layers


def _place_of_dropout(change: str) -> Change:
    """Dropout moved, where there is any."""
    move = _variant(change, instead_of=("dropout-before", "dropout-behind"))
    return lambda setting: move(setting) if _has_dropout(setting) else setting


def _has_dropout(setting: Setting) -> bool:
    spec = build_spec(setting.variant, input_size=setting.recipe.input_size)
    return any(isinstance(layer, Dropout) for layer in spec.layers)


_COUPLED = {"sgdw": "sgd"}
_DECOUPLED = {"sgd": "sgdw", "adam": "adamw"}


def _optimizer(names: dict[str, str]) -> Change:
    """The change of the optimiser to its namesake; the others stay."""

    def apply(setting: Setting) -> Setting:
        name = setting.recipe.optimizer
        return _recipe(optimizer=names.get(name, name))(setting)

    return apply


def _without_epsilon(setting: Setting, _: DatasetFacts) -> str:
    optimizer = setting.recipe.optimizer
    return "" if optimizer in ("adam", "adamw") else f"{optimizer} has no epsilon"


def _without_momentum(setting: Setting, _: DatasetFacts) -> str:
    recipe = setting.recipe
    if recipe.optimizer == "muon":
        return "muon has one formula alone"
    if recipe.optimizer not in ("sgd", "sgdw"):
        return f"{recipe.optimizer} keeps no such buffer"
    if recipe.momentum == 0:
        return "the recipe has no momentum"
    if recipe.schedule == "constant" and recipe.warmup == 0:
        return "both formulas are the same while the learning rate is constant"
    return ""


def _same_anyway(setting: Setting, _: DatasetFacts) -> str:
    if _variant("same-padding")(setting) != setting:
        return ""
    return f"every padded convolution of {setting.variant} is padded so already"


def _no_dropout(setting: Setting, _: DatasetFacts) -> str:
    return "" if _has_dropout(setting) else f"{setting.variant} has no dropout"


def _not_shrunk(setting: Setting, images: DatasetFacts) -> str:
    wanted = input_size(setting)
    if wanted == images.size[0] == images.size[1]:
        return "images are not resized"
    if wanted >= max(images.size):
        return f"images of {images.size[0]} pixels are enlarged to {wanted}: it acts on shrinking"
    return ""


def input_size(setting: Setting) -> int:
    """Height and width that the network reads, in pixels."""
    return build_spec(setting.variant, input_size=setting.recipe.input_size).input_shape[1]


def _buffer_holds_all(_: Setting, images: DatasetFacts) -> str:
    count = images.num_train_images
    return "" if count > SHUFFLE_BUFFER else f"the buffer holds all {count} training images"


def _no_second_epoch(setting: Setting, images: DatasetFacts) -> str:
    recipe = setting.recipe
    batches = -(-images.num_train_images // recipe.global_batch_size)
    steps = recipe.epochs * batches if recipe.steps is None else recipe.steps
    return "" if steps > batches else "there is one epoch only"


def _no_partial_batch(setting: Setting, images: DatasetFacts) -> str:
    recipe = setting.recipe
    full = images.num_train_images // recipe.global_batch_size
    if full == 0:
        return f"{images.num_train_images} images are less than one whole batch"
    if full * recipe.global_batch_size == images.num_train_images:
        return f"{images.num_train_images} images are {full} whole batches"
    if recipe.steps is not None and recipe.steps <= full:
        return "training ends before the first epoch's last batch"
    return ""


def _no_decay(setting: Setting, _: DatasetFacts) -> str:
    recipe = setting.recipe
    if recipe.weight_decay == 0:
        return "the recipe has no weight decay"
    if recipe.optimizer == "adamw":
        return "AdamW decouples it in both frameworks"
    return ""


_TABLE = (
    Factor(
        name="initializer",
        what="how kernels are drawn",
        in_torch="U(+-1/sqrt(fan_in))",
        in_keras="Glorot uniform",
        source="torch.nn.Linear.reset_parameters; keras.layers.Dense(kernel_initializer=)",
        as_torch=_recipe(initializer="torch-default", last_layer_std=None),
        # The bias stays PyTorch's, number by number: it has a factor of its own.
        as_keras=_recipe(initializer="keras-default", bias_initializer="uniform"),
    ),
    Factor(
        name="bias-initializer",
        what="how biases are drawn",
        in_torch="U(+-1/sqrt(fan_in))",
        in_keras="zeros",
        source="torch.nn.Linear.reset_parameters; keras.layers.Dense(bias_initializer=)",
        as_torch=_recipe(bias_initializer="own"),
        as_keras=_recipe(bias_initializer="zeros"),
    ),
    Factor(
        name="adam-epsilon",
        what="Adam's epsilon and its place",
        in_torch="1e-8, added to the root of the corrected second moment",
        in_keras="1e-7, added before the correction",
        source="torch.optim.Adam; keras.optimizers.Adam",
        as_torch=_recipe(epsilon=1e-8, epsilon_formula="torch"),
        as_keras=_recipe(epsilon=1e-7, epsilon_formula="keras"),
        not_applicable=_without_epsilon,
    ),
    Factor(
        name="momentum-formula",
        what="whether the learning rate goes into SGD's momentum buffer",
        in_torch="no: w -= lr * b",
        in_keras="yes: b keeps the rates of earlier steps",
        source="torch.optim.SGD; keras.optimizers.SGD",
        as_torch=_recipe(momentum_formula="torch"),
        as_keras=_recipe(momentum_formula="keras"),
        not_applicable=_without_momentum,
    ),
    Factor(
        name="padding",
        what="padding of strided convolutions",
        in_torch="the variant's own pixels",
        in_keras="'same', which depends on the input size",
        source="torch.nn.Conv2d(padding=); keras.layers.Conv2D(padding='same')",
        as_keras=_variant("same-padding"),
        not_applicable=_same_anyway,
    ),
    Factor(
        name="dropout-place",
        what="where dropout stands",
        in_torch="before each hidden dense layer",
        in_keras="behind its ReLU",
        source="torchvision.models.alexnet; the Keras ports of the reports, after the paper",
        as_torch=_place_of_dropout("dropout-before"),
        as_keras=_place_of_dropout("dropout-behind"),
        not_applicable=_no_dropout,
    ),
    Factor(
        name="input-scaling",
        what="what pixels become",
        in_torch="[-1, 1]",
        in_keras="[0, 1]",
        source="torchvision's Normalize(0.5, 0.5) of PyTorch's CIFAR-10 tutorial; x / 255",
        as_torch=_recipe(input_scaling="symmetric"),
        as_keras=_recipe(input_scaling="unit"),
    ),
    Factor(
        name="resize",
        what="whether shrinking antialiases",
        in_torch="yes",
        in_keras="no",
        source="torchvision.transforms.Resize(antialias=True); tf.image.resize(antialias=False)",
        as_torch=_recipe(resize="antialiased"),
        as_keras=_recipe(resize="bilinear"),
        not_applicable=_not_shrunk,
    ),
    Factor(
        name="shuffle",
        what="how an epoch's order is drawn",
        in_torch="a permutation of all images",
        in_keras=f"through a buffer of {SHUFFLE_BUFFER:,}, from the stored order",
        source="torch.utils.data.DataLoader(shuffle=True); tf.data.Dataset.shuffle(1000)",
        as_torch=_recipe(shuffle_buffer=None),
        as_keras=_recipe(shuffle_buffer=SHUFFLE_BUFFER),
        not_applicable=_buffer_holds_all,
    ),
    Factor(
        name="weight-decay",
        what="what weight decay means",
        in_torch="L2: added to the gradient",
        in_keras="decoupled: taken off the weights",
        source="weight_decay= of torch.optim.SGD and Adam; of keras.optimizers.SGD and Adam",
        as_torch=_optimizer(_COUPLED),
        as_keras=_optimizer(_DECOUPLED),
        not_applicable=_no_decay,
    ),
    Factor(
        name="from-logits",
        what="what the loss is taken of",
        in_torch="logits",
        in_keras="probabilities whose softmax the loss cannot see, clipped at 1e-7",
        # No default: Keras's loss finds the logits behind a softmax that ends the model, compiled
        # and eagerly alike. It cannot where a layer follows the softmax, or NumPy computed it.
        source="torch.nn.CrossEntropyLoss; keras.losses (from_logits=False) of bare probabilities",
        kind="mistake",
        as_torch=_recipe(loss_input="logits"),
        as_keras=_recipe(loss_input="probabilities"),
    ),
    Factor(
        name="validation-split",
        what="what is held back of the training images",
        in_torch="nothing",
        in_keras="the last tenth as they are stored: of sorted images, whole classes",
        source="PyTorch has no such argument; keras.Model.fit(validation_split=0.1)",
        as_torch=_recipe(validation_fraction=0.0, validation_split="stratified"),
        as_keras=_recipe(validation_fraction=VALIDATION_FRACTION, validation_split="last"),
    ),
    Factor(
        name="softmax-twice",
        what="a softmax layer before a loss that has its own",
        in_torch="no",
        in_keras="yes",
        source="torch.nn.CrossEntropyLoss takes logits; nothing warns of probabilities",
        kind="mistake",
        as_keras=_recipe(loss_input="softmax-twice"),
    ),
    Factor(
        name="last-batch",
        what="a last batch that is not full",
        in_torch="kept",
        in_keras="dropped",
        source="DataLoader(drop_last=False); tf.data.Dataset.batch(drop_remainder=False)",
        kind="switch",
        as_torch=_recipe(drop_last=False),
        as_keras=_recipe(drop_last=True),
        not_applicable=_no_partial_batch,
    ),
    Factor(
        name="reshuffle",
        what="whether each epoch has an order of its own",
        in_torch="yes",
        in_keras="no: all have the first one's",
        source="DataLoader; fit(shuffle=True) on arrays after keras.utils.set_random_seed",
        kind="switch",
        as_torch=_recipe(reshuffle=True),
        as_keras=_recipe(reshuffle=False),
        not_applicable=_no_second_epoch,
    ),
    Factor(
        name="precision",
        what="precision of convolutions and dense products",
        in_torch="float32",
        in_keras="bfloat16",
        source="float32 in both as they come; torch.autocast, keras mixed_bfloat16",
        kind="switch",
        as_torch=_recipe(precision="float32"),
        as_keras=_recipe(precision="bfloat16"),
    ),
)

FACTORS: dict[str, Factor] = {factor.name: factor for factor in _TABLE}
"""Every factor by its name; applied together, they are applied in this order."""


def get_factors(names: Iterable[str]) -> tuple[Factor, ...]:
    """The factors of these names, in the table's order; all of them if there is no name.

    Raises:
        UnknownNameError: If there is none of a name; the message offers the nearest.
    """
    wanted = list(names)
    for name in wanted:
        if name not in FACTORS:
            raise UnknownNameError("factor", name, FACTORS)
    return tuple(factor for name, factor in FACTORS.items() if not wanted or name in wanted)


def aligned(base: Setting) -> Setting:
    """The base with PyTorch's reading of every factor; what no factor names stays the base's."""
    for factor in FACTORS.values():
        base = factor.as_torch(base)
    return base


def switched(setting: Setting, factors: Iterable[Factor]) -> Setting:
    """A made-equal setting with these factors switched, one on top of the other."""
    for factor in factors:
        setting = factor.as_keras(setting)
    return setting


def not_applicable_reason(factor: Factor, equal: Setting, images: DatasetFacts) -> str:
    """Why a factor cannot change a made-equal training on these images; empty if it may."""
    reason = factor.not_applicable(equal, images)
    if not reason and factor.as_keras(equal) == equal:
        return "both readings are the same here"
    return reason


def framework_defaults(framework: str, equal: Setting, images: DatasetFacts) -> Setting:
    """A made-equal setting as a user of 'torch' or 'tensorflow' would write it.

    Readings that change nothing on these images are left as they are.
    """
    if framework == "torch":
        return equal
    defaults = (factor for factor in FACTORS.values() if factor.kind == "default")
    return switched(equal, [f for f in defaults if not not_applicable_reason(f, equal, images)])
