"""Named recipes: complete sets of training hyperparameters to start from, chosen by --recipe."""

from dataclasses import replace

from alexnet_impl.errors import UnknownNameError
from alexnet_impl.recipe.recipe import Recipe

_SPEEDRUN = Recipe(
    optimizer="muon",
    learning_rate=0.03,
    nesterov=True,
    schedule="one-cycle",
    warmup=0.2,
    epochs=3,
    global_batch_size=64,
    weight_decay=1e-3,
    weight_decay_on="kernels",
    flip=True,
    alternate_flips=True,
    eval_flip=True,
    initializer="he-dirac",
    last_layer_std=0.01,
    precision="auto",
)

RECIPES: dict[str, Recipe] = {
    "quick": Recipe(
        learning_rate=0.01,
        nesterov=True,
        schedule="one-cycle",
        warmup=0.2,
        epochs=6,
        global_batch_size=64,
        validation_fraction=0.1,
        crop_padding=1,
        initializer="he",
        last_layer_std=0.01,
    ),
    "explain": Recipe(
        optimizer="adam",
        learning_rate=3e-3,
        weight_decay=1e-4,
        schedule="one-cycle",
        warmup=0.2,
        steps=120,
        global_batch_size=64,
    ),
    "report": Recipe(learning_rate=1e-3, epochs=20, global_batch_size=30),
    "speedrun": _SPEEDRUN,
    "accurate": replace(_SPEEDRUN, epochs=12, crop_padding=2, label_smoothing=0.1),
}
_SGD = Recipe(learning_rate=1e-3, epochs=20, global_batch_size=30, input_scaling="imagenet")
"""The SGD of the reports R2 and R3, with momentum 0.9."""
KERAS = Recipe(
    learning_rate=1e-3,
    momentum_formula="keras",
    epsilon=1e-7,
    epsilon_formula="keras",
    initializer="keras-default",
    resize="bilinear",
)
"""Keras's own formulas and initial weights, and tf.image.resize, with momentum 0.9."""

TRANSFER_RECIPES: dict[str, Recipe] = {
    "fine-tune": replace(_SGD, resize_to=256, reset_layers=("fc3",)),
    "fine-tune-in-phases": replace(
        _SGD,
        epochs=10,
        global_batch_size=64,
        reset_layers=("fc3",),
        phases=("epochs=5,trainable=head", "epochs=5,learning_rate=0.0001"),
    ),
    "resnet50": replace(
        KERAS, trainable="last-15", epochs=10, global_batch_size=32, input_scaling="caffe"
    ),
    "vgg16": replace(
        KERAS,
        trainable="head",
        epochs=10,
        global_batch_size=30,
        input_scaling="caffe",
        shuffle_buffer=1000,
    ),
    "mobilenetv2": replace(
        KERAS,
        optimizer="adam",
        trainable="head",
        epochs=10,
        global_batch_size=8,
        input_scaling="symmetric",
    ),
}
"""Recipes for training that starts from given weights (--weights)."""

PURPOSES: dict[str, str] = {
    "quick": "a few epochs on a small dataset: the default of `alexnet compare`",
    "explain": "learns in seconds at a small width; the rate falls to 0, because a constant rate "
    "leaves noise that hides small effects",
    "report": "the published recipe of R3-torch and R3-tf",
    "speedrun": "three epochs on the cifar variant, to R3's 80.76 % (docs/speedrun.md)",
    "accurate": "twelve epochs of speedrun, to the best accuracy of the cifar variant",
    "fine-tune": "R3-torch-pretrained: every layer of a pretrained AlexNet, with a new last layer",
    "fine-tune-in-phases": "R2-tf-converted: first the head, then all layers at a lower rate "
    "(epochs and rates assumed)",
    "resnet50": "R1-tf-resnet50 (optimizer and batch size assumed)",
    "vgg16": "R3-tf-vgg16, with the preprocessing that its weights need",
    "mobilenetv2": "R4-tf-mobilenetv2 (optimizer assumed)",
}
"""One line on each named recipe, for `alexnet recipes`."""


def get_recipe(name: str) -> Recipe:
    """Returns the named recipe.

    Raises:
        UnknownNameError: If no recipe has that name; the message suggests the nearest.
    """
    known = RECIPES | TRANSFER_RECIPES
    if name not in known:
        raise UnknownNameError("recipe", name, known)
    return known[name]
