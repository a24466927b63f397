"""The experiments that can be run: what each report says of its network, data and training.

What a report leaves out is an assumption, in words; a framework's defaults are that framework's:
PyTorch's initial weights, momentum and Adam in its experiments, Keras's in its.
"""

from dataclasses import dataclass, field
from typing import Any

from alexnet_impl.errors import RunError, UnknownNameError
from alexnet_impl.experiments.foreign import FOREIGN
from alexnet_impl.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One row of the reports' tables, as something to train.

    Attributes:
        id: Report, framework, and what sets it apart.
        about: One line on what is trained.
        variant: A key of VARIANTS.
        recipe: Every number of the training; its epochs are the report's.
        data: What the report does to the images.
        steps_per_epoch: As the report prints them, where it does.
        in_memory: Whether the resized images of both parts are held as float32 at once.
        assumptions: What the report leaves out, and what was taken for it.
        mistake: What is wrong with it; empty if it is not known for a mistake.
        corrects: The experiment whose mistake this one is without.
    """

    id: str
    about: str
    variant: str
    recipe: Recipe
    data: str
    steps_per_epoch: int | None = None
    in_memory: bool = False
    assumptions: tuple[str, ...] = field(default=())
    mistake: str = ""
    corrects: str = ""

    @property
    def report(self) -> str:
        """R0 to R4."""
        return self.id.partition("-")[0]

    @property
    def framework(self) -> str:
        """'torch' or 'tensorflow', which the ids call tf."""
        return "tensorflow" if self.id.split("-")[1] == "tf" else "torch"


def _keras(**changes: Any) -> Recipe:
    """A recipe with Keras's defaults where the report does not say otherwise."""
    defaults: dict[str, Any] = {
        "learning_rate": 1e-3,
        "momentum_formula": "keras",
        "epsilon": 1e-7,
        "epsilon_formula": "keras",
        "initializer": "keras-default",
        "resize": "bilinear",
    }
    return Recipe(**defaults | changes)


def _torch(**changes: Any) -> Recipe:
    """A recipe with PyTorch's defaults, which are Recipe's own."""
    return Recipe(**{"learning_rate": 1e-3} | changes)


_PIL = "PIL rounds resized pixels to whole numbers; here they keep their fractions"
_SHUFFLED = "the training images are shuffled anew in each epoch"
_R0_FIRST_LAYER = (
    "the lines of the first convolution are not in the file: torchvision's, 11x11 with stride 4 "
    "and padding 2, which the 9,216 features of fc1 allow"
)
_R0_IMAGES = (
    "the cell that loads the images is not there either: the text's 227 pixels and [-1, 1], which "
    "a warning confirms"
)
_R1_TRAINING = (
    "optimizer, learning rate and batch are not said: SGD at 1e-3 with momentum 0.9, as in the "
    "two reports that say how an AlexNet learned, and batches of 32, Keras's default"
)
_R2_BATCH = (
    "batches of 128, the last partial one dropped: the report says 128 of its augmented run, and "
    "the accuracy that it prints with sixteen digits is 43,913 of 44,928 images, which are 351 "
    "batches of 128 out of 45,000"
)
_R2_VALIDATION = "the 10 % for validation are drawn class by class from the training images"
_R2_BIG_NETWORK = (
    "the network is inferred from its parameter total: no third pool, no Dropout, and dense layers "
    "of 4096, 4096, 1000 and 1000; here the last has the dataset's 10 outputs"
)
_R4_NETWORK = "widths, and the places and rate of Dropout, are R3's and torchvision's usual ones"
_R4_BATCH = "the batch is not said: 32, Keras's default"

_ALL = (
    Experiment(
        id="R0-torch",
        about="torchvision's AlexNet, Adam at 1e-3",
        variant="torchvision",
        recipe=_torch(optimizer="adam", epochs=10, global_batch_size=32, input_size=227),
        data="resized to 227, pixels to [-1, 1]",
        assumptions=(
            _R0_FIRST_LAYER,
            _R0_IMAGES,
            _SHUFFLED,
            _PIL,
        ),
    ),
    Experiment(
        id="R0-tf",
        about="torchvision's channels in Keras, Adam at its defaults",
        variant="torchvision-same",
        recipe=_keras(
            optimizer="adam",
            epochs=10,
            global_batch_size=32,
            input_size=227,
            input_scaling="unit",
        ),
        data="resized to 227 batch by batch, pixels to [0, 1]",
        steps_per_epoch=1563,
        assumptions=("all 10 epochs, although the report's cells end in the fourth",),
        corrects="R0-tf-in-memory",
    ),
    Experiment(
        id="R0-tf-in-memory",
        about="R0-tf as the report feeds it: every image resized before the first step",
        variant="torchvision-same",
        recipe=_keras(
            optimizer="adam",
            epochs=10,
            global_batch_size=32,
            input_size=227,
            input_scaling="unit",
        ),
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
        recipe=_torch(epochs=10, global_batch_size=32),
        data="resized to 224, pixels to [-1, 1]",
        assumptions=(
            _R1_TRAINING,
            "size and scaling are not said: 224, which gives the 9,216 features, and [-1, 1]",
            f"{_SHUFFLED}; {_PIL}",
        ),
    ),
    Experiment(
        id="R1-tf",
        about="96-256-384-384-256, conv1 without padding",
        variant="caffenet-like",
        recipe=_keras(epochs=10, global_batch_size=32, input_size=227, input_scaling="unit"),
        data="resized to 227, pixels to [0, 1]",
        assumptions=(_R1_TRAINING, "scaling is not said: [0, 1]", _SHUFFLED),
    ),
    Experiment(
        id="R2-tf",
        about="the report's corrected Keras network, without augmentation",
        variant="caffenet-like-same",
        recipe=_keras(
            epochs=20,
            global_batch_size=128,
            drop_last=True,
            validation_fraction=0.1,
            shuffle_buffer=10_000,
            input_scaling="unit",
        ),
        data="resized to 224, pixels to [0, 1], 10 % for validation",
        steps_per_epoch=351,
        assumptions=(
            _R2_BATCH,
            _R2_VALIDATION,
            "the shuffle buffer is as large as the test part: 10,000",
        ),
        corrects="R2-tf-big",
    ),
    Experiment(
        id="R2-tf-big",
        about="the report's mistaken Keras network",
        variant="big",
        recipe=_keras(
            epochs=20,
            global_batch_size=128,
            drop_last=True,
            validation_fraction=0.1,
            shuffle_buffer=10_000,
            input_scaling="unit",
        ),
        data="as R2-tf",
        steps_per_epoch=351,
        assumptions=(
            _R2_BATCH,
            _R2_VALIDATION,
            _R2_BIG_NETWORK,
        ),
        mistake="a dense layer of 1000 units too many, no Dropout and no third pool",
    ),
    Experiment(
        id="R2-tf-augmented",
        about="R2-tf with random flips and crops",
        variant="caffenet-like-same",
        recipe=_keras(
            epochs=15,
            global_batch_size=128,
            drop_last=True,
            validation_fraction=0.1,
            shuffle_buffer=10_000,
            input_scaling="unit",
            flip=True,
            crop_padding=4,
        ),
        data="as R2-tf, flipped and cropped at random",
        steps_per_epoch=351,
        assumptions=(
            "how far crops reach is not said: 4 pixels of the stored 32, before resizing",
            _R2_VALIDATION,
            "the shuffle buffer is as large as the test part: 10,000",
        ),
    ),
    Experiment(
        id="R2-torch",
        about="96-256-384-384-256 in PyTorch, conv1 padded by 2",
        variant="caffenet-like-pad2",
        recipe=_torch(epochs=20, global_batch_size=64),
        data="resized to 224, pixels to [-1, 1]",
        assumptions=(
            "scaling is not said: [-1, 1], as in the tutorial whose output format it prints",
            "pools are 3x3 with stride 2, which fc1's 9,216 features allow: none is listed",
            f"{_SHUFFLED}; {_PIL}",
        ),
    ),
    Experiment(
        id="R3-torch",
        about="the 32x32 AlexNet without Dropout, SGD",
        variant="cifar",
        recipe=_torch(epochs=20, global_batch_size=30),
        data="as stored, pixels to [-1, 1]",
    ),
    Experiment(
        id="R3-tf",
        about="the same in Keras, behind a shuffle buffer of 1,000",
        variant="cifar",
        recipe=_keras(epochs=20, global_batch_size=30, shuffle_buffer=1_000),
        data="as stored, pixels to [-1, 1]",
        steps_per_epoch=1667,
    ),
    Experiment(
        id="R4-torch",
        about="a 32x32 AlexNet with Dropout, Adam at 1e-3",
        variant="cifar-dropout",
        recipe=_torch(optimizer="adam", epochs=10, global_batch_size=32),
        data="as stored, mean 0.5 and deviation 0.5",
        assumptions=(_R4_NETWORK, _R4_BATCH, _SHUFFLED),
    ),
    Experiment(
        id="R4-tf",
        about="the same in Keras, Adam at its defaults",
        variant="cifar-dropout",
        recipe=_keras(optimizer="adam", epochs=10, global_batch_size=32),
        data="as stored, mean 0.5 and deviation 0.5",
        assumptions=(_R4_NETWORK, _R4_BATCH, _SHUFFLED),
    ),
)

EXPERIMENTS: dict[str, Experiment] = {experiment.id: experiment for experiment in _ALL}
"""By id, in the order of the reports."""

PAIRS = (
    ("R0-torch", "R0-tf"),
    ("R1-torch", "R1-tf"),
    ("R2-torch", "R2-tf"),
    ("R3-torch", "R3-tf"),
    ("R4-torch", "R4-tf"),
)
"""What the reports put side by side as one network in two frameworks."""


def get_experiment(name: str) -> Experiment:
    """The experiment of that id.

    Raises:
        RunError: If it needs weights from elsewhere.
        UnknownNameError: If there is none; the message offers the nearest.
    """
    if name in FOREIGN:
        raise RunError(
            f"{name}: trains {FOREIGN[name].network}, which `alexnet reproduce` does not load; it "
            f"runs {', '.join(EXPERIMENTS)}."
        )
    if name not in EXPERIMENTS:
        raise UnknownNameError("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
