"""R0: PyTorch against TensorFlow at 227 pixels, Adam, ten epochs."""

from alexnet_impl.reproduction.claims.claim import Claim, Quantity
from alexnet_impl.reproduction.claims.rows import curve, evaluation_times

_TORCH_LOSSES = ("2.3035", *("2.3028",) * 9)
_BARS = (
    # line, epoch, accuracy, loss, validation accuracy, validation loss
    (205, 1, "0.1008", "2.3400", "0.1000", "2.3027"),
    (209, 2, "0.0970", "2.3030", "0.1000", "2.3027"),
    (213, 3, "0.0976", "2.3028", "0.1000", "2.3026"),
)
_TRAIN_ACCURACY: Quantity = "train_top1_accuracy"
_LOSS: Quantity = "loss"
_LAST_BAR = (217, 4, "0.1009", "2.3027")
_LAST_STEP = "1279"
"""Of the epoch that did not end."""

CLAIMS = (
    Claim(
        experiment="R0-torch",
        quantity="input_scaling",
        says="symmetric",
        line=17,
        quote="se normalizaron asignando los pixeles a un rango entre -1 y 1",
    ),
    Claim(
        experiment="R0-torch",
        quantity="input_scaling",
        says="symmetric",
        line=280,
        quote="Got range [-1.0..0.99215686]",
    ),
    Claim(
        experiment="R0-tf",
        quantity="input_scaling",
        says="symmetric",
        line=17,
        quote="se normalizaron asignando los pixeles a un rango entre -1 y 1",
    ),
    Claim(
        experiment="R0-tf",
        quantity="input_scaling",
        says="unit",
        line=191,
        quote="x_train = tf.image.resize(x_train, (227,227))/255.0",
    ),
    Claim(
        experiment="R0-tf",
        quantity="machine_memory",
        printed="32",
        unit="GB",
        line=32,
        quote="32 GB RAM, NVIDIA GeForce RTX 4070",
    ),
    Claim(
        experiment="R0-tf",
        quantity="conclusion",
        of="CPU alone",
        says="on the computer with Windows 11 the code ran on the CPU alone",
        line=36,
        quote="en el equipo con Windows 11, suando solo CPU",
    ),
    *curve(
        "R0-torch",
        "loss",
        "Epoch [{epoch}/10], Loss: {printed}",
        ((epoch, 134 + epoch, loss) for epoch, loss in enumerate(_TORCH_LOSSES, start=1)),
    ),
    Claim(
        experiment="R0-torch",
        quantity="training_time",
        printed="692.52",
        unit="s",
        line=146,
        quote="Tiempo total de entrenamiento: 692.52 segundos",
    ),
    Claim(
        experiment="R0-torch",
        quantity="test_top1_accuracy",
        printed="10.00",
        unit="%",
        line=152,
        quote="Accuracy en PyTorch: 10.00%",
    ),
    *(
        Claim(
            experiment="R0-tf",
            quantity="epoch_time",
            epoch=epoch,
            line=204 + 4 * (epoch - 1),
            printed=seconds,
            unit="s",
            quote=f"{seconds}s {step}ms/step",
        )
        for epoch, seconds, step in ((1, "407", "257"), (2, "395", "251"), (3, "389", "248"))
    ),
    *(
        Claim(
            experiment="R0-tf",
            quantity="step_time",
            epoch=epoch,
            line=204 + 4 * (epoch - 1),
            printed=step,
            unit="ms",
            quote=f"{step}ms/step",
        )
        for epoch, step in ((1, "257"), (2, "251"), (3, "248"), (4, "236"))
    ),
    *curve(
        "R0-tf",
        "eval_top1_accuracy",
        "val_accuracy: {printed}",
        ((epoch, line, accuracy) for line, epoch, _, _, accuracy, _ in _BARS),
    ),
    *curve(
        "R0-tf",
        "eval_loss",
        "val_loss: {printed}",
        ((epoch, line, loss) for line, epoch, *_, loss in _BARS),
    ),
    *(
        Claim(
            experiment="R0-tf",
            quantity=quantity,
            epoch=epoch,
            line=line,
            printed=printed,
            quote=f"{words}: {printed}",
            from_bar=True,
            steps=int(_LAST_STEP) if epoch == _LAST_BAR[1] else None,
        )
        for line, epoch, accuracy, loss in (*(bar[:4] for bar in _BARS), _LAST_BAR)
        for quantity, words, printed in (
            (_TRAIN_ACCURACY, "accuracy", accuracy),
            (_LOSS, "loss", loss),
        )
    ),
    Claim(
        experiment="R0-tf",
        quantity="steps_taken",
        epoch=4,
        line=215,
        printed=_LAST_STEP,
        quote=f"{_LAST_STEP}/1563",
    ),
    *evaluation_times("R0-tf", 222, "16", "51"),
    Claim(
        experiment="R0-tf",
        quantity="test_top1_accuracy",
        printed="0.1036",
        line=223,
        quote="accuracy: 0.1036",
        from_bar=True,
    ),
    Claim(
        experiment="R0-tf",
        quantity="test_loss",
        printed="2.3026",
        line=223,
        quote="loss: 2.3026",
        from_bar=True,
    ),
    Claim(
        experiment="R0-tf",
        quantity="test_top1_accuracy",
        printed="10.00",
        unit="%",
        line=224,
        quote="Accuracy en TensorFlow: 10.00%",
    ),
    *(
        Claim(
            experiment=experiment,
            quantity="sample_prediction",
            printed="6",
            line=line,
            quote=f"Predicción: 6 (Real: {label})",
        )
        for experiment, line, label in (("R0-torch", 282, 6), ("R0-tf", 304, 3))
    ),
    Claim(
        experiment="R0-torch",
        quantity="test_top1_accuracy",
        printed="71.95",
        unit="%",
        line=318,
        quote="Pytorch logro una precisión de 71.95%",
    ),
    Claim(
        experiment="R0-tf",
        quantity="test_top1_accuracy",
        printed="10.00",
        unit="%",
        line=318,
        quote="TensorFlow de 10.00%",
    ),
    Claim(
        experiment="R0-torch",
        quantity="training_time",
        printed="645.88",
        unit="s",
        line=320,
        quote="Pytorch tomó un tiempo de 645.88 segundos",
    ),
    Claim(
        experiment="R0-tf",
        quantity="training_time",
        printed="3897.94",
        unit="s",
        line=320,
        quote="TensorFlow 3897.94 segundos",
    ),
    Claim(
        experiment="R0-tf",
        quantity="time_ratio",
        printed="6",
        of="R0-torch",
        line=320,
        quote="al menos, seis veces más que el primero",
        says="at least six times",
    ),
    Claim(
        experiment="R0-torch",
        quantity="conclusion",
        of="loss falls",
        says="PyTorch's loss falls progressively",
        line=322,
        quote="Pytorch muestra una reducción progresiva de pérdida",
    ),
    Claim(
        experiment="R0-tf",
        quantity="conclusion",
        of="more epochs",
        says="TensorFlow's network needed more epochs to learn",
        line=322,
        quote="el modelo necesitaba de más epocas para aprender",
    ),
    Claim(
        experiment="R0-torch",
        quantity="conclusion",
        of="sample image",
        says="PyTorch was right about its sample image, and TensorFlow was not",
        line=324,
        quote="Pytorch acertó y TensorFlow no lo hizó",
    ),
    Claim(
        experiment="R0-torch",
        quantity="conclusion",
        of="R0-tf",
        says="under equal conditions, PyTorch learns better and faster than TensorFlow",
        line=328,
        quote="en igualdad de condiciones, PyTorch fue el mejor modelo",
    ),
)
