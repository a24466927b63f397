"""What Keras takes its cross-entropy of: the claim of the factor from-logits, asked of Keras."""

import numpy as np
import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.fast]

LOGITS = np.array([[30.0, 0.0]], np.float32)
LABEL = np.array([1])
CLIPPED = -np.log(1e-7)


def model(*behind):
    """A model that ends in a softmax, but for these layers."""
    import keras

    return keras.Sequential([keras.Input((2,)), keras.layers.Softmax(), *behind])


def loss_of(probabilities):
    import keras

    return float(keras.losses.SparseCategoricalCrossentropy()(LABEL, probabilities))


def fitted_loss(model, *, eagerly):
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(optimizer="sgd", loss=loss, run_eagerly=eagerly)
    return model.fit(LOGITS, LABEL, verbose=0).history["loss"][0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eagerly"])
def test_keras_sees_through_a_softmax_that_ends_the_model(eagerly):
    assert fitted_loss(model(), eagerly=eagerly) == pytest.approx(30, rel=1e-6)
    assert loss_of(model()(LOGITS)) == pytest.approx(30, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eagerly"])
def test_keras_clips_probabilities_whose_softmax_it_cannot_see(eagerly):
    import keras

    hidden = model(keras.layers.Reshape((2,)))
    assert fitted_loss(hidden, eagerly=eagerly) == pytest.approx(CLIPPED, rel=1e-4)
    assert loss_of(model()(LOGITS).numpy()) == pytest.approx(CLIPPED, rel=1e-4)
