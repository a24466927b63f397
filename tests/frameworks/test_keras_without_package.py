"""A .keras file of this package opens in a Keras process that does not import it."""

import subprocess
import sys

import pytest

from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.weights.initializers import initial_weights

pytestmark = pytest.mark.slow


@pytest.mark.tensorflow
def test_keras_file_opens_in_plain_keras_without_this_package(tmp_path):
    from alexnet_impl.frameworks.tensorflow import write_checkpoint

    spec = build_spec("torchvision", width=1 / 16)
    path = tmp_path / "model.keras"
    write_checkpoint(path, spec, initial_weights(spec, Recipe()))
    script = (
        "import sys, keras, numpy; model = keras.models.load_model(sys.argv[1]); "
        "print(model.predict(numpy.zeros((1, 224, 224, 3)), verbose=0).shape); "
        "assert 'alexnet_impl' not in sys.modules"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "(1, 10)" in done.stdout, done.stderr
