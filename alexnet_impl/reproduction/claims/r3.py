"""R3: a 32x32 AlexNet in both frameworks, and pretrained AlexNet and VGG16."""

from alexnet_impl.reproduction.claims.claim import Claim
from alexnet_impl.reproduction.claims.rows import (
    classification_report,
    curve,
    evaluation_times,
    progress_bar,
)

_TORCH_LOSSES = """
2.3006620897671817 1.9944575370681021 1.6269077512412708 1.4343157799285404 1.2623996114973974
1.1275993689277892 1.0140475594110667 0.9188935680523845 0.8282509428087508 0.7558683384551784
0.6924303247317913 0.6414471424548441 0.5909679847460488 0.5442672680256677 0.5012322283284566
0.45854267941471627 0.4216360343194466 0.3847499661143125 0.34767415529160567 0.3159668788483705
"""
_PRETRAINED_LOSSES = """
0.6339 0.4018 0.3134 0.2524 0.2093 0.1730 0.1421 0.1171 0.0987 0.0842
0.0732 0.0642 0.0566 0.0496 0.0433 0.0423 0.0339 0.0350 0.0311 0.0276
"""
_TORCH_TABLE = """
avión 0.8623 0.7950 0.8273
auto 0.8973 0.9090 0.9031
pájaro 0.8505 0.6260 0.7212
gato 0.6155 0.5810 0.5977
ciervo 0.8085 0.7390 0.7722
perro 0.6008 0.8550 0.7057
rana 0.9495 0.7150 0.8157
caballo 0.7810 0.9020 0.8371
barco 0.8495 0.9090 0.8783
camión 0.8327 0.8910 0.8609
"""
_PRETRAINED_TABLE = """
avión 0.8974 0.9530 0.9243
auto 0.9273 0.9700 0.9482
pájaro 0.8843 0.9020 0.8931
gato 0.8690 0.7760 0.8199
ciervo 0.9135 0.8980 0.9057
perro 0.8737 0.8720 0.8729
rana 0.9402 0.9430 0.9416
caballo 0.9036 0.9470 0.9248
barco 0.9549 0.9310 0.9428
camión 0.9506 0.9240 0.9371
"""
_VGG16_TABLE = """
avión 0.9094 0.9230 0.9161
auto 0.9529 0.9310 0.9418
pájaro 0.8647 0.8370 0.8506
gato 0.7684 0.7930 0.7805
ciervo 0.8563 0.8700 0.8631
perro 0.8599 0.8160 0.8374
rana 0.8943 0.9310 0.9123
caballo 0.9268 0.9120 0.9194
barco 0.9240 0.9480 0.9358
camión 0.9395 0.9320 0.9357
"""
_TF_BARS = """
38 18 0.2421 2.0359
34 17 0.5005 1.3786
43 18 0.6012 1.1203
30 18 0.6694 0.9389
30 18 0.7178 0.8055
30 18 0.7592 0.6924
41 18 0.7887 0.6062
30 18 0.8114 0.5369
40 17 0.8390 0.4635
42 18 0.8624 0.3972
41 18 0.8848 0.3293
41 18 0.9058 0.2718
41 18 0.9270 0.2132
30 18 0.9425 0.1675
30 18 0.9570 0.1273
30 18 0.9648 0.1025
40 17 0.9701 0.0847
29 17 0.9778 0.0683
41 17 0.9830 0.0500
29 17 0.9850 0.0473
"""
_VGG16_BARS = """
359 212 0.7461 0.9890 0.8624 0.4079
354 211 0.9272 0.2142 0.8721 0.4259
354 211 0.9727 0.0803 0.8818 0.4778
354 212 0.9933 0.0236 0.8816 0.5601
382 211 0.9987 0.0079 0.8837 0.6117
382 212 0.9995 0.0030 0.8871 0.6444
353 211 1.0000 8.5145e-04 0.8886 0.6721
350 192 1.0000 4.4437e-04 0.8893 0.6910
354 211 1.0000 3.2362e-04 0.8896 0.7059
349 191 1.0000 2.6002e-04 0.8893 0.7171
"""


def _confidence(experiment: str, printed: str, line: int, word: str) -> Claim:
    """Of the class that is printed above an image."""
    return Claim(
        experiment=experiment,
        quantity="sample_confidence",
        printed=printed,
        unit="%",
        line=line,
        quote=f"{word}: {printed}%",
    )


_TORCH = (
    *curve(
        "R3-torch",
        "loss",
        "Época {epoch}, Pérdida: {printed}",
        ((e, 175 + e, loss) for e, loss in enumerate(_TORCH_LOSSES.split(), start=1)),
    ),
    Claim(
        experiment="R3-torch",
        quantity="test_top1_accuracy",
        printed="79.22",
        unit="%",
        line=226,
        quote="Precisión en el conjunto de prueba: 79.22%",
    ),
    *classification_report("R3-torch", 262, _TORCH_TABLE),
    Claim(
        experiment="R3-torch",
        quantity="test_top1_accuracy",
        printed="0.7922",
        line=272,
        quote="accuracy 0.7922 10000",
    ),
    *classification_report(
        "R3-torch", 273, "macro avg 0.8048 0.7922 0.7919\nweighted avg 0.8048 0.7922 0.7919"
    ),
    _confidence("R3-torch", "99.9", 318, "Probabilidad"),
    Claim(
        experiment="R3-torch",
        quantity="training_time",
        printed="10",
        unit="min",
        line=660,
        quote="Tiempo de entrenamiento 10 min",
    ),
    Claim(
        experiment="R3-torch",
        quantity="training_time",
        of="a computer without a GPU",
        printed="40",
        upto="60",
        unit="min",
        line=758,
        quote="tardó alrededor de 40 a 60 min",
    ),
)
_PRETRAINED = (
    *curve(
        "R3-torch-pretrained",
        "loss",
        "Época {epoch}, Pérdida: {printed}",
        ((e, 393 + e, loss) for e, loss in enumerate(_PRETRAINED_LOSSES.split(), start=1)),
    ),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="test_top1_accuracy",
        printed="91.16",
        unit="%",
        line=449,
        quote="Precisión en el conjunto de prueba: 91.16%",
    ),
    *classification_report("R3-torch-pretrained", 531, _PRETRAINED_TABLE),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="test_top1_accuracy",
        printed="0.9116",
        line=542,
        quote="accuracy 0.9116 10000",
    ),
    *classification_report(
        "R3-torch-pretrained",
        543,
        "macro avg 0.9115 0.9116 0.9110\nweighted avg 0.9115 0.9116 0.9110",
    ),
    _confidence("R3-torch-pretrained", "100.0", 648, "Probabilidad"),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="training_time",
        printed="42",
        unit="min",
        line=660,
        quote="10 min 42 min",
    ),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="test_top1_accuracy",
        of="other runs of it",
        printed="86",
        unit="%",
        line=665,
        quote="en otras ejecuciones la precisión lleo a 86%",
    ),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="conclusion",
        of="R3-torch",
        says="the pretrained network is superior, for four times the time",
        line=665,
        quote="le tomo poco menos de 1/4 de tiempo",
    ),
    Claim(
        experiment="R3-torch-pretrained",
        quantity="precision_difference",
        of="R3-torch",
        printed="0.11",
        line=755,
        quote="siendo superior por 0.11",
    ),
)
_TF = (
    *progress_bar("R3-tf", 868, ("train_top1_accuracy", "loss"), _TF_BARS),
    Claim(
        experiment="R3-tf",
        quantity="train_top1_accuracy",
        epoch=20,
        printed="98",
        unit="%",
        line=910,
        quote="el accuracy fue del 98%",
    ),
    Claim(
        experiment="R3-tf",
        quantity="loss",
        epoch=20,
        printed="0.0468",
        line=910,
        quote="una perdida de 0.0468",
    ),
    Claim(
        experiment="R3-tf",
        quantity="training_time",
        printed="10",
        unit="min",
        about=2.0,
        line=910,
        quote="tardando 10 min aproximadamente",
    ),
    Claim(
        experiment="R3-tf",
        quantity="test_top1_accuracy",
        printed="80.4",
        unit="%",
        line=910,
        quote="obteniendo un 80.4%",
    ),
    *evaluation_times("R3-tf", 917, "4", "8"),
    Claim(
        experiment="R3-tf",
        quantity="test_top1_accuracy",
        printed="0.8126",
        line=917,
        quote="accuracy: 0.8126",
        from_bar=True,
    ),
    Claim(
        experiment="R3-tf",
        quantity="test_loss",
        printed="0.9261",
        line=917,
        quote="loss: 0.9261",
        from_bar=True,
    ),
    Claim(
        experiment="R3-tf",
        quantity="test_top1_accuracy",
        printed="80.76",
        unit="%",
        line=920,
        quote="Precisión en conjunto de prueba: 80.76%",
    ),
    *classification_report(
        "R3-tf", 940, "macro avg 0.8150 0.8070 0.8090\nweighted avg 0.8150 0.8076 0.8090"
    ),
    _confidence("R3-tf", "98.3", 973, "Probailidad"),
)
_VGG16 = (
    Claim(
        experiment="R3-tf-vgg16",
        quantity="listing",
        of="last layer",
        says="the network ends in a softmax",
        line=1022,
        quote="layers.Dense(10, activation='softmax')",
    ),
    *progress_bar(
        "R3-tf-vgg16",
        1040,
        ("train_top1_accuracy", "loss", "eval_top1_accuracy", "eval_loss"),
        _VGG16_BARS,
    ),
    *evaluation_times("R3-tf-vgg16", 1072, "54", "160"),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="test_top1_accuracy",
        printed="0.8866",
        line=1072,
        quote="accuracy: 0.8866",
        from_bar=True,
    ),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="test_loss",
        printed="0.7426",
        line=1072,
        quote="loss: 0.7426",
        from_bar=True,
    ),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="test_top1_accuracy",
        printed="88.93",
        unit="%",
        line=1076,
        quote="Precisión VGG16: 88.93%",
    ),
    *classification_report("R3-tf-vgg16", 1101, _VGG16_TABLE),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="test_top1_accuracy",
        printed="0.8893",
        line=1111,
        quote="accuracy 0.8893 10000",
    ),
    *classification_report(
        "R3-tf-vgg16",
        1112,
        "macro avg 0.8896 0.8893 0.8893\nweighted avg 0.8896 0.8893 0.8893",
    ),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="listing",
        of="probabilities",
        says="what the network returns goes through a softmax",
        line=1128,
        quote="probabilidades_vgg = tf.nn.softmax(logits_vgg).numpy()",
    ),
    _confidence("R3-tf-vgg16", "23.2", 1148, "Confianza"),
)
_TABLE = (
    Claim(
        experiment="R3-tf",
        quantity="training_time",
        printed="10",
        upto="12",
        unit="min",
        line=1158,
        quote="10 min 42 min 10-12 min",
    ),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="training_time",
        printed="80",
        unit="min",
        about=5.0,
        line=1158,
        quote="1h y 20 min",
        says="1 h 20 min",
    ),
    *(
        Claim(
            experiment=experiment,
            quantity="test_top1_accuracy",
            printed=printed,
            unit="%",
            line=1161,
            quote=f"{printed}%",
        )
        for experiment, printed in (
            ("R3-torch", "79.22"),
            ("R3-torch-pretrained", "91.16"),
            ("R3-tf", "80.76"),
            ("R3-tf-vgg16", "88.93"),
        )
    ),
    Claim(
        experiment="R3-tf",
        quantity="conclusion",
        of="R3-torch",
        says="TensorFlow is easier, and its accuracy almost the same",
        line=1155,
        quote="la precisión del modelo es casi la misma",
    ),
    Claim(
        experiment="R3-tf-vgg16",
        quantity="conclusion",
        of="R3-torch-pretrained",
        says="among the pretrained, VGG16 is the slower one and AlexNet superior",
        line=1155,
        quote="VGG16 es más lento. En PyTorch, AlexNet es superior",
    ),
)

CLAIMS = _TORCH + _PRETRAINED + _TF + _VGG16 + _TABLE
"""Losses and classification reports that are repeated are given once, where they stand first; the
times of single predictions are left out."""
