"""Both frameworks in one process, imported in any order: it must not crash."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.tensorflow]

USE_BOTH = """
from alexnet_impl import Recipe, build_spec
from alexnet_impl.frameworks import get_framework
from alexnet_impl.weights.initializers import initial_weights
import numpy as np
spec, recipe = build_spec("cifar", width=1 / 16), Recipe(optimizer="adam")
images = np.zeros((4, 32, 32, 3), np.uint8)
for name in {order}:
    trainer = get_framework(name).make_trainer(spec, recipe, initial_weights(spec, recipe), "cpu")
    trainer.read([trainer.train_step(images, np.arange(4), 0.001)])
print("alive")
"""

ORDERS = {
    "tensorflow-by-hand-first": ("import tensorflow, torch\n", ("torch", "tensorflow")),
    "torch-by-hand-first": ("import torch, tensorflow\n", ("tensorflow", "torch")),
    "keras-by-hand-first": ("import keras\n", ("torch", "tensorflow")),
    "adapter-then-tensorflow-by-hand": (
        "import alexnet_impl.frameworks.torch\nimport tensorflow\n",
        ("torch", "tensorflow"),
    ),
    "adapters-tensorflow-first": ("", ("tensorflow", "torch")),
}


@pytest.mark.parametrize(("imports", "order"), ORDERS.values(), ids=ORDERS)
def test_both_frameworks_live_in_one_process(imports, order):
    script = imports + USE_BOTH.format(order=order)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"died with {done.returncode}: {done.stderr[-2000:]}"
    assert "alive" in done.stdout
