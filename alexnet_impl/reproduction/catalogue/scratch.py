"""All experiments of the reports; those trained from scratch are defined here.

Each states the report's network, data and training; what the report leaves out is an assumption, in
words. Experiments that start from published weights are in `transfer`.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from alexnet_impl.errors import UnknownNameError
from alexnet_impl.reproduction.catalogue.experiment import Experiment, keras_recipe, torch_recipe
from alexnet_impl.reproduction.catalogue.transfer import (
    PIL,
    PRETRAINED,
    R1_TRAIN_ACCURACY,
    R1_TRAINING,
    R2_BATCH,
    R2_BUFFER,
    R2_VALIDATION,
    R4_BATCH,
    SHUFFLED,
)

_R0_FIRST_LAYER = (
    "the lines of the first convolution are not in the file: torchvision's, 11x11 with stride 4 "
    "and padding 2, which the 9,216 features of fc1 allow"
)
_R0_IMAGES = (
    "the cell that loads the images is not there either: the text's 227 pixels and [-1, 1], which "
    "a warning confirms"
)
_R2_BIG_NETWORK = (
    "the network is inferred from its parameter total: no third pool, no Dropout, and dense layers "
    "of 4096, 4096, 1000 and 1000; here the last has the dataset's 10 outputs"
)
_R4_NETWORK = "widths, and the places and rate of Dropout, are R3's and torchvision's usual ones"

_R0_KERAS = keras_recipe(
    optimizer="adam", epochs=10, global_batch_size=32, input_size=227, input_scaling="unit"
)
_R2_KERAS = keras_recipe(
    epochs=20,
    global_batch_size=128,
    drop_last=True,
    validation_fraction=0.1,
    shuffle_buffer=10_000,
    input_scaling="unit",
)

_SCRATCH = (
    Experiment(
        id="R0-torch",
        about="torchvision's AlexNet, Adam at 1e-3",
        variant="torchvision",
        recipe=torch_recipe(optimizer="adam", epochs=10, global_batch_size=32, input_size=227),
        data="resized to 227, pixels to [-1, 1]",
        assumptions=(_R0_FIRST_LAYER, _R0_IMAGES, SHUFFLED, PIL),
    ),
    Experiment(
        id="R0-tf",
        about="torchvision's channels in Keras, Adam at its defaults",
        variant="torchvision-same",
        recipe=_R0_KERAS,
        data="resized to 227 batch by batch, pixels to [0, 1]",
        steps_per_epoch=1563,
        assumptions=("all 10 epochs, although the report's cells end in the fourth",),
        corrects="R0-tf-in-memory",
    ),
    Experiment(
        id="R0-tf-in-memory",
        about="R0-tf as the report feeds it: every image resized before the first step",
        variant="torchvision-same",
        recipe=_R0_KERAS,
        data="all training and test images as float32 at 227 in memory, pixels to [0, 1]",
        steps_per_epoch=1563,
        in_memory=True,
        assumptions=(
            "where the memory would be enough, training reads the same pixels batch by batch",
        ),
        mistake="holds both parts of the dataset resized, as float32, at once",
    ),
    Experiment(
        id="R1-torch",
        about="a slim AlexNet, 64-128-256-256-256",
        variant="slim",
        recipe=torch_recipe(epochs=10, global_batch_size=32),
        data="resized to 224, pixels to [-1, 1]",
        assumptions=(
            R1_TRAINING,
            R1_TRAIN_ACCURACY,
            "size and scaling are not said: 224, which gives the 9,216 features, and [-1, 1]",
            f"{SHUFFLED}; {PIL}",
        ),
    ),
    Experiment(
        id="R1-tf",
        about="96-256-384-384-256, conv1 without padding",
        variant="caffenet-like",
        recipe=keras_recipe(epochs=10, global_batch_size=32, input_size=227, input_scaling="unit"),
        data="resized to 227, pixels to [0, 1]",
        assumptions=(R1_TRAINING, R1_TRAIN_ACCURACY, "scaling is not said: [0, 1]", SHUFFLED),
    ),
    Experiment(
        id="R2-tf",
        about="the report's corrected Keras network, without augmentation",
        variant="caffenet-like-same",
        recipe=_R2_KERAS,
        data="resized to 224, pixels to [0, 1], 10 % for validation",
        steps_per_epoch=351,
        assumptions=(R2_BATCH, R2_VALIDATION, R2_BUFFER),
        corrects="R2-tf-big",
    ),
    Experiment(
        id="R2-tf-big",
        about="the report's mistaken Keras network",
        variant="big",
        recipe=_R2_KERAS,
        data="as R2-tf",
        steps_per_epoch=351,
        assumptions=(R2_BATCH, R2_VALIDATION, R2_BUFFER, _R2_BIG_NETWORK),
        mistake="a dense layer of 1000 units too many, no Dropout and no third pool",
    ),
    Experiment(
        id="R2-tf-augmented",
        about="R2-tf with random flips and crops",
        variant="caffenet-like-same",
        recipe=replace(_R2_KERAS, epochs=15, flip=True, crop_padding=4),
        data="as R2-tf, flipped and cropped at random",
        steps_per_epoch=351,
        assumptions=(
            "on which images it is above 80 % is not said: the test images",
            "how far crops reach is not said: 4 pixels of the stored 32, before resizing",
            R2_VALIDATION,
            R2_BUFFER,
        ),
    ),
    Experiment(
        id="R2-torch",
        about="96-256-384-384-256 in PyTorch, conv1 padded by 2",
        variant="caffenet-like-pad2",
        recipe=torch_recipe(epochs=20, global_batch_size=64),
        data="resized to 224, pixels to [-1, 1]",
        assumptions=(
            "scaling is not said: [-1, 1], as in the tutorial whose output format it prints",
            "pools are 3x3 with stride 2, which fc1's 9,216 features allow: none is listed",
            f"{SHUFFLED}; {PIL}",
        ),
    ),
    Experiment(
        id="R3-torch",
        about="the 32x32 AlexNet without Dropout, SGD",
        variant="cifar",
        recipe=torch_recipe(epochs=20, global_batch_size=30),
        data="as stored, pixels to [-1, 1]",
    ),
    Experiment(
        id="R3-tf",
        about="the same in Keras, with a shuffle buffer of 1,000",
        variant="cifar",
        recipe=keras_recipe(epochs=20, global_batch_size=30, shuffle_buffer=1_000),
        data="as stored, pixels to [-1, 1]",
        steps_per_epoch=1667,
    ),
    Experiment(
        id="R4-torch",
        about="a 32x32 AlexNet with Dropout, Adam at 1e-3",
        variant="cifar-dropout",
        recipe=torch_recipe(optimizer="adam", epochs=10, global_batch_size=32),
        data="as stored, mean 0.5 and deviation 0.5",
        assumptions=(_R4_NETWORK, R4_BATCH, SHUFFLED),
    ),
    Experiment(
        id="R4-tf",
        about="the same in Keras, Adam at its defaults",
        variant="cifar-dropout",
        recipe=keras_recipe(optimizer="adam", epochs=10, global_batch_size=32),
        data="as stored, mean 0.5 and deviation 0.5",
        assumptions=(_R4_NETWORK, R4_BATCH, SHUFFLED),
    ),
)

EXPERIMENTS: dict[str, Experiment] = {
    experiment.id: experiment
    for experiment in sorted((*_SCRATCH, *PRETRAINED), key=lambda experiment: experiment.report)
}
"""All experiments by id: report by report, those trained from scratch first."""

PAIRS = tuple((f"R{number}-torch", f"R{number}-tf") for number in range(5))
"""Pairs that the reports compare as one network in two frameworks."""


def get_experiment(name: str) -> Experiment:
    """Returns the experiment with this id.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest.
    """
    if name not in EXPERIMENTS:
        raise UnknownNameError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def get_experiments(names: Iterable[str]) -> list[Experiment]:
    """The named experiments, each once; 'all' stands for every one that may be run.

    Raises:
        UnknownNameError: If there is no such experiment.
    """
    runnable = [name for name, experiment in EXPERIMENTS.items() if not experiment.in_memory]
    expanded = chain.from_iterable(runnable if name == "all" else [name] for name in names)
    return [get_experiment(name) for name in dict.fromkeys(expanded)]
