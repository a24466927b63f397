"""R4: 32x32 scratch networks, and the memory that pretrained ones need."""

from alexnet_impl.reproduction.claims.claim import Claim


def _range(experiment: str, printed: str, upto: str, line: int, quote: str) -> Claim:
    return Claim(
        experiment=experiment,
        quantity="test_top1_accuracy",
        printed=printed,
        upto=upto,
        unit="%",
        about=0.0 if upto else 2.5,
        line=line,
        quote=quote,
    )


CLAIMS = (
    _range("R4-torch", "70", "75", 34, "aproximadamente un **70-75**% de exactitud"),
    _range("R4-tf", "70", "", 46, "en torno a **70**% de accuracy"),
    _range("R4-torch", "70", "75", 84, "~70-75% de exactitud en CIFAR-10"),
    _range("R4-tf", "70", "", 85, "~70% de exactitud"),
    _range("R4-torch-pretrained", "80", "85", 89, "exactitud de ~80-85% con 10 épocas"),
    _range("R4-tf-mobilenetv2", "85", "90", 90, "~85-90% de exactitud"),
    _range("R4-torch", "70", "", 100, "alcanza ~70% de exactitud"),
    _range("R4-tf", "70", "", 100, "alcanza ~70% de exactitud"),
    _range("R4-torch-pretrained", "80", "90", 101, "entre 80% y 90% de exactitud"),
    _range("R4-tf-mobilenetv2", "80", "90", 101, "entre 80% y 90% de exactitud"),
    Claim(
        experiment="R4-tf",
        quantity="conclusion",
        of="R4-torch",
        says="both frameworks reach similar accuracies",
        line=46,
        quote="Se lograron resultados de exactitud similares",
    ),
    Claim(
        experiment="R4-tf-vgg16",
        quantity="conclusion",
        says="resizing the whole dataset to 224 used up the memory",
        line=59,
        quote="se intentó redimensionar todo el dataset",
    ),
    Claim(
        experiment="R4-torch-pretrained",
        quantity="conclusion",
        of="R4-torch",
        says="ImageNet weights make better networks than training from scratch",
        line=106,
        quote="supera consistentemente a los modelos entrenados desde cero",
    ),
)
