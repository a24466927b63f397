"""Factors in which 'the same' training differs between PyTorch and Keras, such as the initializer.

A training with framework defaults is what a user gets who writes the obvious code. The aligned
training is the base recipe with PyTorch's value of every factor, which are the Recipe's own
formulas; so PyTorch with its defaults is the aligned training itself. A factor's effect is the
change of the aligned training when this factor alone takes Keras's value.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from alexnet_impl.errors import SpecError, UnknownNameError
from alexnet_impl.network.own_network import USUAL_CLASSES, OwnNetwork, find_spec
from alexnet_impl.network.spec import Dropout, Spec
from alexnet_impl.network.spec_changes import SEPARATOR
from alexnet_impl.recipe.recipe import Recipe

SHUFFLE_BUFFER = 1000
"""Argument of tf.data's shuffle() in most tutorials."""
VALIDATION_FRACTION = 0.1
"""Usual argument of fit(validation_split=)."""

Kind = Literal["default", "mistake", "switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A network and a recipe: everything a factor can change.

    Attributes:
        variant: Its name with '+' changes, as in RunConfig.
        recipe: Every number of the training.
        network: The user's own network without those changes; None: a variant of the package.
    """

    variant: str
    recipe: Recipe
    network: OwnNetwork | None = None

    def spec(self) -> Spec:
        """The network at full width, with the usual number of classes."""
        return find_spec(
            self.variant,
            self.network,
            num_classes=USUAL_CLASSES,
            input_size=self.recipe.input_size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Dataset facts that decide whether a factor applies.

    Attributes:
        num_train_images: Number of images in the training subset.
        size: Stored (height, width) in pixels.
    """

    num_train_images: int
    size: tuple[int, int]


Change = Callable[[Setting], Setting]
Reason = Callable[[Setting, DatasetFacts], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One respect in which two trainings can differ.

    Attributes:
        name: The name for --only.
        what: What the factor changes.
        in_torch: PyTorch's value in words.
        in_keras: Keras's value in words; the alternative if the factor is no default.
        source: Where the two values are documented.
        kind: 'default': the frameworks' defaults differ. 'mistake': a common error in either
            framework. 'switch': a setting that users of both change now and then.
        as_torch: Gives any setting PyTorch's value.
        as_keras: Gives an aligned setting the other value.
        not_applicable: Reason why the factor has no effect here; empty if it may have one.
    """

    name: str
    what: str
    in_torch: str
    in_keras: str
    source: str
    as_keras: Change
    kind: Kind = "default"
    as_torch: Change = lambda setting: setting
    not_applicable: Reason = lambda _, __: ""


def _recipe(**fields: Any) -> Change:
    """A change that sets these fields of the recipe."""
    return lambda setting: replace(setting, recipe=replace(setting.recipe, **fields))


def _variant(change: str, *, instead_of: Sequence[str] = ()) -> Change:
    """A change of the architecture by this name; nothing if the layers stay the same."""

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
    return replace(setting, variant=variant).spec().layers


def _move_dropout(change: str) -> Change:
    """A change that moves dropout, if there is any and its place can change."""
    move = _variant(change, instead_of=("dropout-before", "dropout-behind"))

    def apply(setting: Setting) -> Setting:
        try:
            return move(setting) if _has_dropout(setting) else setting
        except SpecError:
            return setting

    return apply


def _has_dropout(setting: Setting) -> bool:
    return any(isinstance(layer, Dropout) for layer in setting.spec().layers)


def _optimizer(names: dict[str, str]) -> Change:
    """A change of the optimiser by this table; others stay."""

    def apply(setting: Setting) -> Setting:
        name = setting.recipe.optimizer
        return _recipe(optimizer=names.get(name, name))(setting)

    return apply


def _no_epsilon(setting: Setting, _: DatasetFacts) -> str:
    optimizer = setting.recipe.optimizer
    return "" if optimizer in ("adam", "adamw") else f"{optimizer} has no epsilon"


def _no_momentum_buffer(setting: Setting, _: DatasetFacts) -> str:
    recipe = setting.recipe
    if recipe.optimizer == "muon":
        return "muon has one formula only"
    if recipe.optimizer not in ("sgd", "sgdw"):
        return f"{recipe.optimizer} has no momentum buffer"
    if recipe.momentum == 0:
        return "the recipe has no momentum"
    if recipe.schedule == "constant" and recipe.warmup == 0:
        return "both formulas are equal while the learning rate is constant"
    return ""


def _same_already(setting: Setting, _: DatasetFacts) -> str:
    if _variant("same-padding")(setting) != setting:
        return ""
    return f"every padded convolution of {setting.variant} has this padding already"


def _no_dropout(setting: Setting, _: DatasetFacts) -> str:
    return "" if _has_dropout(setting) else f"{setting.variant} has no dropout"


def _not_shrunk(setting: Setting, images: DatasetFacts) -> str:
    wanted = input_size(setting)
    if wanted == images.size[0] == images.size[1]:
        return "images are not resized"
    if wanted >= max(images.size):
        return f"images are enlarged from {images.size[0]} to {wanted} pixels, not shrunk"
    return ""


def input_size(setting: Setting) -> int:
    """Height and width that the network reads, in pixels."""
    return setting.spec().input_shape[1]


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
        return f"{images.num_train_images} images are less than one full batch"
    if full * recipe.global_batch_size == images.num_train_images:
        return f"{images.num_train_images} images are {full} full batches"
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
        # Biases keep PyTorch's values: they have their own factor.
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
        what="Adam's epsilon and where it is added",
        in_torch="1e-8, added to the root of the corrected second moment",
        in_keras="1e-7, added before the correction",
        source="torch.optim.Adam; keras.optimizers.Adam",
        as_torch=_recipe(epsilon=1e-8, epsilon_formula="torch"),
        as_keras=_recipe(epsilon=1e-7, epsilon_formula="keras"),
        not_applicable=_no_epsilon,
    ),
    Factor(
        name="momentum-formula",
        what="whether the learning rate goes into SGD's momentum buffer",
        in_torch="no: w -= lr * b",
        in_keras="yes: b keeps the rates of earlier steps",
        source="torch.optim.SGD; keras.optimizers.SGD",
        as_torch=_recipe(momentum_formula="torch"),
        as_keras=_recipe(momentum_formula="keras"),
        not_applicable=_no_momentum_buffer,
    ),
    Factor(
        name="padding",
        what="padding of strided convolutions",
        in_torch="the variant's own pixels",
        in_keras="'same', which depends on the input size",
        source="torch.nn.Conv2d(padding=); keras.layers.Conv2D(padding='same')",
        as_keras=_variant("same-padding"),
        not_applicable=_same_already,
    ),
    Factor(
        name="dropout-place",
        what="where dropout stands",
        in_torch="before each hidden dense layer",
        in_keras="after its ReLU",
        source="torchvision.models.alexnet; the Keras ports of the reports, after the paper",
        as_torch=_move_dropout("dropout-before"),
        as_keras=_move_dropout("dropout-behind"),
        not_applicable=_no_dropout,
    ),
    Factor(
        name="input-scaling",
        what="range of the scaled pixels",
        in_torch="[-1, 1]",
        in_keras="[0, 1]",
        source="torchvision's Normalize(0.5, 0.5) of PyTorch's CIFAR-10 tutorial; x / 255",
        as_torch=_recipe(input_scaling="symmetric"),
        as_keras=_recipe(input_scaling="unit"),
    ),
    Factor(
        name="resize",
        what="antialiasing when images are shrunk",
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
        in_keras=f"through a buffer of {SHUFFLE_BUFFER:,} images, from the stored order",
        source="torch.utils.data.DataLoader(shuffle=True); tf.data.Dataset.shuffle(1000)",
        as_torch=_recipe(shuffle_buffer=None),
        as_keras=_recipe(shuffle_buffer=SHUFFLE_BUFFER),
        not_applicable=_buffer_holds_all,
    ),
    Factor(
        name="weight-decay",
        what="what weight decay means",
        in_torch="L2: added to the gradient",
        in_keras="decoupled: subtracted from the weights",
        source="weight_decay= of torch.optim.SGD and Adam; of keras.optimizers.SGD and Adam",
        as_torch=_optimizer({"sgdw": "sgd"}),
        as_keras=_optimizer({"sgd": "sgdw", "adam": "adamw"}),
        not_applicable=_no_decay,
    ),
    Factor(
        name="from-logits",
        what="input of the loss",
        in_torch="logits",
        in_keras="probabilities whose softmax the loss cannot see, clipped at 1e-7",
        # No default: Keras's loss finds the logits before a softmax that ends the model, compiled
        # or eager. It cannot if a layer follows the softmax, or if NumPy computed it.
        source="torch.nn.CrossEntropyLoss; keras.losses (from_logits=False) of bare probabilities",
        kind="mistake",
        as_torch=_recipe(loss_input="logits"),
        as_keras=_recipe(loss_input="probabilities"),
    ),
    Factor(
        name="validation-split",
        what="training images held back for validation",
        in_torch="none",
        in_keras="the last tenth in stored order: whole classes if images are sorted",
        source="PyTorch has no such argument; keras.Model.fit(validation_split=0.1)",
        as_torch=_recipe(validation_fraction=0.0, validation_split="stratified"),
        as_keras=_recipe(validation_fraction=VALIDATION_FRACTION, validation_split="last"),
    ),
    Factor(
        name="softmax-twice",
        what="a softmax layer before a loss that applies softmax itself",
        in_torch="no",
        in_keras="yes",
        source="torch.nn.CrossEntropyLoss takes logits; it does not warn of probabilities",
        kind="mistake",
        as_keras=_recipe(loss_input="softmax-twice"),
    ),
    Factor(
        name="last-batch",
        what="a last batch that is smaller than the others",
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
        what="a new order of images in each epoch",
        in_torch="yes",
        in_keras="no: every epoch repeats the first order",
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
        source="float32 is the default of both; torch.autocast, keras mixed_bfloat16",
        kind="switch",
        as_torch=_recipe(precision="float32"),
        as_keras=_recipe(precision="bfloat16"),
    ),
)

FACTORS: dict[str, Factor] = {factor.name: factor for factor in _TABLE}
"""Every factor by its name, in the order in which several are applied."""


def get_factors(names: Iterable[str]) -> tuple[Factor, ...]:
    """The factors with these names in the table's order; all factors without a name.

    Raises:
        UnknownNameError: If a name is unknown; the message suggests the nearest.
    """
    wanted = list(names)
    for name in wanted:
        if name not in FACTORS:
            raise UnknownNameError("factor", name, FACTORS)
    return tuple(factor for name, factor in FACTORS.items() if not wanted or name in wanted)


def aligned(base: Setting) -> Setting:
    """The base with PyTorch's value of every factor; everything else stays unchanged."""
    for factor in FACTORS.values():
        base = factor.as_torch(base)
    return base


def switched(setting: Setting, factors: Iterable[Factor]) -> Setting:
    """An aligned setting with these factors switched, one after the other."""
    for factor in factors:
        setting = factor.as_keras(setting)
    return setting


def not_applicable_reason(factor: Factor, setting: Setting, images: DatasetFacts) -> str:
    """Reason why a factor cannot change an aligned training on this dataset; empty if it may."""
    reason = factor.not_applicable(setting, images)
    if not reason and factor.as_keras(setting) == setting:
        return "both values are the same here"
    return reason


def framework_defaults(framework: str, setting: Setting, images: DatasetFacts) -> Setting:
    """An aligned setting with the defaults of 'torch' or 'tensorflow'.

    Factors that change nothing on this dataset are not switched.
    """
    if framework == "torch":
        return setting
    defaults = (factor for factor in FACTORS.values() if factor.kind == "default")
    return switched(setting, [f for f in defaults if not not_applicable_reason(f, setting, images)])
