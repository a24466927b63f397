"""The reports' experiments that start from ImageNet weights.

Their recipes are those of `alexnet train --weights` where one exists, with the report's changes.
"""

from dataclasses import replace

from alexnet_impl.recipe.named import TRANSFER_RECIPES
from alexnet_impl.reproduction.catalogue.experiment import Experiment, keras_recipe, torch_recipe

PIL = "PIL rounds resized pixels to whole numbers; here they keep their fractions"
SHUFFLED = "the training images are shuffled anew in each epoch"
R1_TRAINING = (
    "optimizer, learning rate and batch are not said: SGD at 1e-3 with momentum 0.9, as in the "
    "two reports that say how an AlexNet learned, and batches of 32, Keras's default"
)
R1_TRAIN_ACCURACY = (
    "how the accuracy on the training images was measured is not said: ours is the mean over the "
    "last epoch's steps, Dropout included, and no verdict rests on it"
)
R2_BATCH = (
    "batches of 128, the last partial one dropped: the report says 128 of its augmented run, and "
    "the accuracy that it prints with sixteen digits is 43,913 of 44,928 images, which are 351 "
    "batches of 128 out of 45,000"
)
R2_VALIDATION = "the 10 % for validation are drawn class by class from the training images"
R4_BATCH = "the batch is not said: 32, Keras's default"
R2_BUFFER = "the shuffle buffer is as large as the test part: 10,000"

_ALEXNET = "torchvision:IMAGENET1K_V1"
_KERAS = "keras:imagenet"

_ALL_LEARN = "which layers learn is not said: all of them"
_IMAGENET = "scaling is not said: ImageNet's mean and deviation, which the weights need"
_R1_EPOCHS = "the 10 epochs are said of the scratch networks"
_R2_CONVERTED = (
    (
        "the network is torchvision's, its Dropout before the dense layers: the report matches "
        "them layer by layer"
    ),
    "the last layer is initialised anew with 10 outputs; the log assigns classifier.6 as well",
    f"{R2_BATCH}; of this training it says that it has the same structure",
    R2_VALIDATION,
    R2_BUFFER,
    "'frozen the last layer and train' is read as training the last layer alone",
    "5 epochs for each phase, and a tenth of the learning rate in the second: neither is said",
)
_R2_PHASES = keras_recipe(
    epochs=10,
    global_batch_size=128,
    drop_last=True,
    validation_fraction=0.1,
    shuffle_buffer=10_000,
    input_scaling="imagenet",
    reset_layers=("fc3",),
    phases=TRANSFER_RECIPES["fine-tune-in-phases"].phases,
)
_R4_VGG16 = keras_recipe(
    optimizer="adam", trainable="head", epochs=10, global_batch_size=128, input_scaling="caffe"
)
_R4_VGG16_ASSUMPTIONS = (
    "the head and which layers learn are not said: R3-tf-vgg16's, the backbone frozen",
    "Adam at its defaults and 10 epochs, as R4-tf: the report's training did not come so far",
    SHUFFLED,
)

PRETRAINED = (
    Experiment(
        id="R1-torch-pretrained",
        about="torchvision's AlexNet with ImageNet weights",
        variant="torchvision",
        weights=_ALEXNET,
        recipe=torch_recipe(
            epochs=10, global_batch_size=32, input_scaling="imagenet", reset_layers=("fc3",)
        ),
        data="resized to 224, ImageNet's mean and deviation",
        assumptions=(
            "no new last layer is shown: one with the dataset's 10 outputs",
            f"{R1_TRAINING}; {_R1_EPOCHS}",
            "the size is not said: 224, which the weights were trained at",
            _IMAGENET,
            _ALL_LEARN,
            f"{SHUFFLED}; {PIL}",
        ),
    ),
    Experiment(
        id="R1-tf-resnet50",
        about="ResNet50 with ImageNet weights, the last 15 layers trainable, 1024, 512",
        variant="resnet50",
        weights=_KERAS,
        recipe=TRANSFER_RECIPES["resnet50"],
        data="resized to 224, ImageNet's mean taken off, blue first",
        assumptions=(
            f"{R1_TRAINING}; {_R1_EPOCHS}",
            "size and scaling are not said: 224 and what the weights need",
            "the head is forced to float32, which only mixed precision needs; here all of it is",
            SHUFFLED,
        ),
    ),
    Experiment(
        id="R2-tf-converted",
        about="torchvision's weights moved into Keras by transposes alone, the head first",
        variant="torchvision",
        weights=_ALEXNET,
        unpermuted=True,
        recipe=_R2_PHASES,
        data="resized to 224, ImageNet's mean and deviation, 10 % for validation",
        assumptions=_R2_CONVERTED,
        mistake="fc1 reads the flattened map channels first in PyTorch and channels last in "
        "Keras: transposes alone leave its 9,216 inputs in the wrong order (docs/parity.md)",
    ),
    Experiment(
        id="R2-tf-converted-permuted",
        about="R2-tf-converted with the rows of fc1 permuted",
        variant="torchvision",
        weights=_ALEXNET,
        recipe=_R2_PHASES,
        data="as R2-tf-converted",
        assumptions=_R2_CONVERTED,
        corrects="R2-tf-converted",
    ),
    Experiment(
        id="R2-torch-pretrained",
        about="torchvision's AlexNet with ImageNet weights and a new last layer",
        variant="torchvision",
        weights=_ALEXNET,
        recipe=replace(TRANSFER_RECIPES["fine-tune"], global_batch_size=64, resize_to=None),
        data="resized to 224, ImageNet's mean and deviation",
        assumptions=(
            "optimizer, batch and epochs are R2-torch's: the report changes nothing but the model",
            "no part for validation is said of PyTorch: its 91 % are read as of the test images",
            _IMAGENET,
            _ALL_LEARN,
            f"{SHUFFLED}; {PIL}",
        ),
    ),
    Experiment(
        id="R3-torch-pretrained",
        about="torchvision's AlexNet with ImageNet weights and a new last layer",
        variant="torchvision",
        weights=_ALEXNET,
        recipe=TRANSFER_RECIPES["fine-tune"],
        data="resized to 256, centre 224, ImageNet's mean and deviation",
        assumptions=(PIL,),
    ),
    Experiment(
        id="R3-tf-vgg16",
        about="VGG16 with ImageNet weights, frozen, and 512, 512 without Dropout",
        variant="vgg16",
        weights=_KERAS,
        cache_features=True,
        recipe=TRANSFER_RECIPES["vgg16"],
        data="resized to 224, pixels from 0 to 255 through VGG16's preprocess_input",
        steps_per_epoch=1667,
        corrects="R3-tf-vgg16-twice",
    ),
    Experiment(
        id="R3-tf-vgg16-twice",
        about="R3-tf-vgg16 on pixels that were scaled before",
        variant="vgg16",
        weights=_KERAS,
        cache_features=True,
        recipe=replace(TRANSFER_RECIPES["vgg16"], input_scaling="symmetric-then-caffe"),
        data="resized to 224, pixels from -1 to 1 through VGG16's preprocess_input",
        assumptions=(
            (
                "the listing does not do this: its line 988 loads the pixels again, from 0 to 255; "
                "the images of the scratch network would have given it"
            ),
        ),
        mistake="VGG16's mean pixel is taken off [-1, 1] instead of [0, 255]",
    ),
    Experiment(
        id="R4-torch-pretrained",
        about="torchvision's AlexNet with ImageNet weights, only a new last layer learns",
        variant="torchvision",
        weights=_ALEXNET,
        cache_features=True,
        recipe=torch_recipe(
            optimizer="adam",
            trainable="head",
            epochs=10,
            global_batch_size=32,
            input_scaling="imagenet",
            reset_layers=("fc3",),
        ),
        data="resized to 224, ImageNet's mean and deviation",
        assumptions=(
            (
                "which layers learn is not said: the last one, which is all that is said to be "
                "adjusted; with Adam at 1e-3 on all layers R0-torch collapsed"
            ),
            "Adam at 1e-3, as R4-torch",
            R4_BATCH,
            _IMAGENET,
            f"{SHUFFLED}; {PIL}",
        ),
    ),
    Experiment(
        id="R4-tf-vgg16",
        about="VGG16 with ImageNet weights, every image resized before the first step",
        variant="vgg16",
        weights=_KERAS,
        in_memory=True,
        recipe=_R4_VGG16,
        data="all training and test images as float32 at 224 in memory",
        assumptions=_R4_VGG16_ASSUMPTIONS,
        mistake="holds both parts of the dataset resized, as float32, at once",
    ),
    Experiment(
        id="R4-tf-vgg16-cached",
        about="R4-tf-vgg16 batch by batch, with VGG16's features of each image computed once",
        variant="vgg16",
        weights=_KERAS,
        cache_features=True,
        recipe=_R4_VGG16,
        data="resized to 224 batch by batch, through VGG16's preprocess_input",
        assumptions=_R4_VGG16_ASSUMPTIONS,
        corrects="R4-tf-vgg16",
    ),
    Experiment(
        id="R4-tf-mobilenetv2",
        about="MobileNetV2 with ImageNet weights, frozen, and a small head",
        variant="mobilenetv2",
        weights=_KERAS,
        cache_features=True,
        recipe=replace(TRANSFER_RECIPES["mobilenetv2"], prefetch=1),
        data="resized to 128, pixels to [-1, 1]",
        assumptions=(
            "the small head is the last layer alone, after the mean of each channel",
            "Adam at its defaults and 10 epochs, as R4-tf",
            "scaling is not said: [-1, 1], which the weights need",
            SHUFFLED,
        ),
    ),
)
"""The experiments that start from ImageNet weights, report by report."""
