r"""Networks of the textbook Dive into Deep Learning, as pairs for `alexnet parity`.

    git clone https://github.com/d2l-ai/d2l-en && git -C d2l-en checkout 23d7a5a
    D2L=d2l-en alexnet parity --torch docs/examples/textbook_pairs.py:torch_alexnet \
      --tensorflow docs/examples/textbook_pairs.py:keras_alexnet --image-size 224

The cells of a chapter's PyTorch or TensorFlow tab are run as they are, with the few parts of the
book's own library that they need. docs/ports.md has the results.
"""

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

MODERN = "chapter_convolutional-modern"
CHAPTERS = {
    "lenet": ("chapter_convolutional-neural-networks/lenet.md", "LeNet"),
    "vgg": (f"{MODERN}/vgg.md", "VGG"),
    "nin": (f"{MODERN}/nin.md", "NiN"),
    "normalised_lenet": (f"{MODERN}/batch-norm.md", "BNLeNet"),
    "alexnet": (f"{MODERN}/alexnet.md", "AlexNet"),
    "googlenet": (f"{MODERN}/googlenet.md", "GoogleNet"),
    "resnet18": (f"{MODERN}/resnet.md", "ResNet18"),
    "densenet": (f"{MODERN}/densenet.md", "DenseNet"),
}
"""Name to the chapter's file in the book's repository and the network's class."""
ARGUMENTS = {"vgg": {"arch": ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))}}
CELL = re.compile(r"```\{\.python[^}]*\}\n%%tab (?P<tabs>[^\n]*)\n(?P<code>.*?)```", re.DOTALL)
DEFINES = re.compile(r"^(class|def|@d2l)", re.MULTILINE)
IMPORTS = re.compile(r"^(from d2l|from torch|import torch|import tensorflow).*$", re.MULTILINE)


def __getattr__(name: str) -> Callable[[], Any]:
    """The function torch_<network> or keras_<network>, which builds the model."""
    framework, _, network = name.partition("_")
    if framework not in ("torch", "keras") or network not in CHAPTERS:
        raise AttributeError(name)
    return lambda: _build(network, "pytorch" if framework == "torch" else "tensorflow")


def _build(network: str, tab: str) -> Any:
    """The network of a tab: its attribute `net`."""
    path, class_name = CHAPTERS[network]
    text = (Path(os.environ["D2L"]) / path).read_text(encoding="utf-8")
    names: dict[str, Any] = {"d2l": _library(tab), "tab": SimpleNamespace(selected=tab.__eq__)}
    if tab == "pytorch":
        import torch  # noqa: PLC0415 - each worker has one framework
        from torch import nn  # noqa: PLC0415
        from torch.nn import functional  # noqa: PLC0415

        torch.manual_seed(0)
        names |= {"torch": torch, "nn": nn, "F": functional}
    else:
        import tensorflow as tf  # noqa: PLC0415

        tf.keras.Sequential.__init__ = _in_a_list(tf.keras.Sequential.__init__)
        names["tf"] = tf
    for cell in CELL.finditer(text):
        is_ours = tab in cell["tabs"] or cell["tabs"].strip() == "all"
        if is_ours and DEFINES.search(cell["code"]):
            with suppress(AttributeError):  # some cells also print a summary, with more of d2l
                exec(IMPORTS.sub("", cell["code"]), names)  # noqa: S102 - the book's own code
    return names[class_name](**ARGUMENTS.get(network, {})).net


def _in_a_list(original: Callable[..., None]) -> Callable[..., None]:
    """Keras 2 took one layer for Sequential's list, as the book writes it."""

    def init(self: Any, layers: Any = None, **options: Any) -> None:
        single = hasattr(layers, "weights")
        original(self, [layers] if single else layers, **options)

    return init


def _library(tab: str) -> ModuleType:
    """What the chapters need of the book's library."""
    library: Any = ModuleType("d2l")

    def save_hyperparameters(self: Any, **_: Any) -> None:
        given = sys._getframe(1).f_locals  # noqa: SLF001 - as the book does
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def add_to_class(owner: type) -> Callable[[Any], Any]:
        return lambda method: setattr(owner, method.__name__, method) or method

    if tab == "pytorch":
        from torch.nn import Module as Base  # noqa: PLC0415
    else:
        from keras import Model as Base  # noqa: PLC0415
    members = {
        "save_hyperparameters": save_hyperparameters,
        "forward": lambda self, x: self.net(x),
        "call": lambda self, x: self.net(x),
    }
    library.Classifier = library.Module = type("Classifier", (Base,), members)
    library.add_to_class = add_to_class
    library.init_cnn = lambda _: None
    return library
