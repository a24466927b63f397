"""R1: scratch against pretrained in both frameworks, ten epochs."""

from alexnet_impl.reproduction.claims.claim import Claim, Quantity


def _percent(experiment: str, quantity: Quantity, printed: str, line: int, quote: str) -> Claim:
    return Claim(
        experiment=experiment, quantity=quantity, printed=printed, unit="%", line=line, quote=quote
    )


CLAIMS = (
    _percent("R1-torch", "train_top1_accuracy", "76.08", 63, "accuracy de 76.08%"),
    _percent("R1-torch", "test_top1_accuracy", "61.59", 63, "61.59% para los datos de prueba"),
    _percent("R1-tf", "train_top1_accuracy", "96.32", 90, "96.32% para train"),
    _percent("R1-tf", "test_top1_accuracy", "80.34", 90, "80.34% para test"),
    _percent("R1-torch-pretrained", "test_top1_accuracy", "93", 108, "accuracy del 93%"),
    _percent("R1-tf-resnet50", "test_top1_accuracy", "67", 138, "accuracy del 67%"),
    _percent("R1-torch", "test_top1_accuracy", "61.59", 147, "Desde cero con PyTorch 61.59%"),
    _percent("R1-tf", "test_top1_accuracy", "80.34", 148, "Desde cero con TensorFlow 80.34%"),
    _percent("R1-torch-pretrained", "test_top1_accuracy", "93", 149, "con PyTorch 93%"),
    _percent("R1-tf-resnet50", "test_top1_accuracy", "67", 150, "TensorFlow (ResNet50) 67%"),
    Claim(
        experiment="R1-tf",
        quantity="conclusion",
        of="R1-torch",
        says="the frameworks' defaults give 61.59 % or 80.34 % with a similar architecture",
        line=156,
        quote="desde cero con PyTorch (61.59%) y TensorFlow (80.34%)",
    ),
    Claim(
        experiment="R1-torch-pretrained",
        quantity="conclusion",
        of="R1-torch",
        says="ImageNet weights raise 61.59 % to 93 %",
        line=157,
        quote="demostrando el valor de los pesos preentrenados",
    ),
    Claim(
        experiment="R1-tf-resnet50",
        quantity="conclusion",
        of="R1-tf",
        says="ResNet50 does worse than AlexNet: the more complex is not always the better",
        line=158,
        quote="no todas las arquitecturas más complejas son necesariamente mejores",
    ),
)
