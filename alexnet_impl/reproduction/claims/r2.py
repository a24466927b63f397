"""R2: Keras and PyTorch on an M1 Pro, with and without ImageNet weights."""

from alexnet_impl.reproduction.claims.claim import Claim, Quantity
from alexnet_impl.reproduction.claims.rows import CLASSES

_LAYERS = (
    # Of the table: line, layer of the Spec, parameters. Conv1 and its pool share a line.
    (81, "conv1", "34,944"),
    (81, "conv2", "614,656"),
    (86, "conv3", "885,120"),
    (87, "conv4", "1,327,488"),
    (88, "conv5", "884,992"),
    (91, "fc1", "37,752,832"),
    (93, "fc2", "16,781,312"),
    (95, "fc3", "40,970"),
)
_BIG_LAST_EPOCH: tuple[tuple[Quantity, str, str, bool], ...] = (
    ("train_top1_accuracy", "accuracy", "0.9745", True),
    ("loss", "loss", "0.0782", True),
    ("eval_top1_accuracy", "val accuracy", "0.7045", False),
    ("eval_loss", "val loss", "1.8938", False),
)
"""What is printed, and whether Keras's bar has averaged it."""
_SHORT_NAMES = ("plane", "car", *CLASSES[2:])
_SCRATCH = (
    "83.93",
    "80.00",
    "68.35",
    "54.79",
    "78.18",
    "64.41",
    "82.14",
    "68.75",
    "81.03",
    "78.21",
)
_PRETRAINED = (
    # Names and figures are torn apart by the page's layout; horse's figure is not there.
    (232, "airplane", "96.43"),
    (235, "automobile", "100.00"),
    (238, "bird", "91.14"),
    (240, "cat", "76.71"),
    (241, "deer", "96.36"),
    (245, "dog", "88.14"),
    (247, "frog", "94.64"),
    (250, "ship", "100.00"),
    (251, "truck", "93.59"),
)

CLAIMS = (
    Claim(
        experiment="R2-tf-big",
        quantity="num_params",
        printed="202,839,952",
        line=62,
        quote="Total params: 202,839,952",
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="model_size",
        printed="773.77",
        unit="MB",
        line=62,
        quote="(773.77 MB)",
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="training_time",
        printed="4",
        unit="h",
        line=62,
        quote="took over 4hr to run 20 epochs",
        says="over 4 h",
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="epoch_time",
        printed="8",
        unit="min",
        line=62,
        quote="took 8 min on average per epochs",
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="test_top1_accuracy",
        printed="0.9738",
        line=62,
        quote="model evaluate test_ds - accuracy: 0.9738",
        from_bar=True,
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="test_loss",
        printed="0.0753",
        line=62,
        quote="loss: 0.0753",
        from_bar=True,
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="test_loss",
        printed="0.06679382920265198",
        line=62,
        quote="[0.06679382920265198,",
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="test_top1_accuracy",
        printed="0.9774082899093628",
        line=62,
        quote="0.9774082899093628]",
    ),
    *(
        Claim(
            experiment="R2-tf",
            quantity="num_params",
            of=layer,
            printed=printed,
            line=line,
            quote=printed,
        )
        for line, layer, printed in _LAYERS
    ),
    Claim(
        experiment="R2-tf-augmented",
        quantity="test_top1_accuracy",
        printed="80",
        upto="100",
        unit="%",
        line=105,
        quote="an accuracy above 80%",
        says="above 80 %",
    ),
    Claim(
        experiment="R2-tf-augmented",
        quantity="conclusion",
        of="R2-tf",
        says="augmentation does better than none",
        line=114,
        quote="both the accuracy and the loss performed better as well",
    ),
    Claim(
        experiment="R2-tf-converted",
        quantity="conclusion",
        says="weights moved by transposes alone do not do well",
        line=118,
        quote="Spoiler the performance was not so great",
    ),
    Claim(
        experiment="R2-torch",
        quantity="test_top1_accuracy",
        printed="74.00",
        unit="%",
        line=160,
        quote="Accuracy of the network on the 10000 test images: 74.00 %",
    ),
    *(
        Claim(
            experiment="R2-torch",
            quantity="recall",
            of=name,
            printed=printed,
            unit="%",
            line=162,
            quote=f"Accuracy of {short}: {printed}%",
        )
        for name, short, printed in zip(CLASSES, _SHORT_NAMES, _SCRATCH, strict=True)
    ),
    Claim(
        experiment="R2-torch-pretrained",
        quantity="test_top1_accuracy",
        printed="91.77",
        unit="%",
        line=170,
        quote="10000 test images:** 91.77 %",
    ),
    Claim(
        experiment="R2-torch-pretrained",
        quantity="eval_top1_accuracy",
        printed="91",
        unit="%",
        about=1.0,
        line=197,
        quote="validation accuracy flatten around 91 %",
    ),
    *(
        Claim(
            experiment="R2-tf-big",
            quantity=quantity,
            epoch=20,
            printed=printed,
            line=202,
            quote=f"{words}: {printed}",
            from_bar=from_bar,
        )
        for quantity, words, printed, from_bar in _BIG_LAST_EPOCH
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="conclusion",
        of="validation loss",
        says="from about epoch 8 the validation loss rises while the training loss falls",
        line=202,
        quote="the validation loss increases from around epoch 8",
    ),
    *(
        Claim(
            experiment="R2-torch-pretrained",
            quantity="recall",
            of=name,
            printed=printed,
            unit="%",
            line=line,
            quote=f"{printed} %",
        )
        for line, name, printed in _PRETRAINED
    ),
    Claim(
        experiment="R2-tf-big",
        quantity="epoch_time",
        printed="8",
        unit="min",
        line=264,
        quote="the Keras model which took 8min per epoch to run",
    ),
    Claim(
        experiment="R2-tf-augmented",
        quantity="epoch_time",
        printed="2",
        unit="min",
        about=0.5,
        line=264,
        quote="Data Augmentation with Keras took around 2 min per epoch",
    ),
    Claim(
        experiment="R2-torch",
        quantity="training_time",
        printed="65",
        unit="min",
        line=264,
        quote="AlexNet in PyTorch took 65 min in total",
    ),
    Claim(
        experiment="R2-torch-pretrained",
        quantity="training_time",
        printed="90",
        unit="min",
        line=264,
        quote="pretrained in PyTorch took 90 min in total",
    ),
    Claim(
        experiment="R2-torch-pretrained",
        quantity="test_top1_accuracy",
        printed="91",
        unit="%",
        about=1.0,
        line=268,
        quote="the best from all with an acurracy of 91%",
    ),
    Claim(
        experiment="R2-torch-pretrained",
        quantity="conclusion",
        of="R2-tf-augmented",
        says="pretrained AlexNet in PyTorch is the best of all",
        line=268,
        quote="pretrained AlexNet with Pyorch was the best from all",
    ),
)
