"""The named recipes."""

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
    precision="bfloat16",
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
"""quick: a few epochs on a small dataset, the default of `compare`. explain: learns in seconds at
a small width; its rate falls to 0, for effects drown in the noise that a constant one ends with.
report: R3-torch and R3-tf. speedrun: reaches R3's 80.76 % on the cifar variant in three epochs;
accurate: goes on to the best of it (docs/speedrun.md)."""

_SGD = Recipe(learning_rate=1e-3, epochs=20, global_batch_size=30, input_scaling="imagenet")
"""Of R2 and R3: momentum .9."""
KERAS = Recipe(
    learning_rate=1e-3,
    momentum_formula="keras",
    epsilon=1e-7,
    epsilon_formula="keras",
    initializer="keras-default",
    resize="bilinear",
)
"""Keras's own formulas and initial weights, and tf.image.resize; momentum .9."""

TRANSFER_RECIPES: dict[str, Recipe] = {
    "fine-tune": replace(_SGD, resize_to=256, reset_layers=("fc3",)),
    "fine-tune-in-phases": replace(
        _SGD,
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
"""For --weights. fine-tune: R3-torch-pretrained, all layers of an AlexNet behind a new last one.
fine-tune-in-phases: R2-tf-converted, the head first, then everything at a lower rate (epochs and
rates assumed). The others bear the name of their variant: R1-tf-resnet50 (optimizer and batch
assumed), R3-tf-vgg16 with the preprocessing that its weights need, R4-tf-mobilenetv2 (optimizer
assumed)."""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest.
    """
    known = RECIPES | TRANSFER_RECIPES
    if name not in known:
        raise UnknownNameError("recipe", name, known)
    return known[name]
