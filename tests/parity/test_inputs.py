"""Inputs of the user's own: tokens and files in the place of noise."""

import numpy as np
import pytest
from parity.test_right_ports import compared

from alexnet_impl.errors import ParityError, UserCodeError
from alexnet_impl.ports.inputs import load_inputs

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]
fast, slow = pytest.mark.fast, pytest.mark.slow
TOKENS = np.arange(4 * 6).reshape(4, 6) % 11


def reader(vocabulary=11):
    """A PyTorch classifier of sentences of 6 tokens."""
    from torch import arange, manual_seed, nn

    manual_seed(0)

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(vocabulary, 8), nn.Embedding(6, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, tokens):
            x = self.words(tokens) + self.places(arange(tokens.shape[1]))
            return self.head(self.layer(x).mean(1))

    return Reader().eval()


def port(heads=2):
    """Its port."""
    import keras
    from keras import layers as k

    class Places(k.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=shape[1:], name="table")

        def call(self, x):
            return x + self.table

    tokens = keras.Input((6,), dtype="int64")
    x = Places()(k.Embedding(11, 8)(tokens))
    y = k.LayerNormalization(epsilon=1e-5)(x)
    y = k.Dropout(0.1)(k.MultiHeadAttention(heads, 8 // heads, dropout=0.1)(y, y))
    x = k.Add()([x, y])
    y = k.Dense(16, activation="relu")(k.LayerNormalization(epsilon=1e-5)(x))
    y = k.Dropout(0.1)(k.Dense(8)(k.Dropout(0.1)(y)))
    return keras.Model(tokens, k.Dense(3)(k.GlobalAveragePooling1D()(k.Add()([x, y]))))


@slow
def test_port_that_reads_tokens_holds():
    record = compared(reader(), port(), inputs=lambda: TOKENS)
    assert [str(check) for check in record.failures] == []
    assert record.checks[-1].name == "steps"


@slow
def test_mistake_of_a_port_that_reads_tokens_has_its_cause():
    record = compared(reader(), port(heads=4), inputs=lambda: TOKENS)
    (cause,) = next(check for check in record.failures if check.name == "layers").causes
    assert "had 4 heads, where PyTorch has 2" in cause.what


@slow
def test_model_that_reads_no_images_says_how_to_give_inputs():
    with pytest.raises(ParityError, match="--inputs"):
        compared(reader(), port())


@fast
def test_inputs_are_read_from_files_and_functions(tmp_path):
    np.save(tmp_path / "tokens.npy", TOKENS.astype(np.int32))
    np.savez(tmp_path / "images.npz", x=np.ones((2, 4, 4, 3)))
    (tmp_path / "mine.py").write_text("def batch():\n    return [[1.0, 2.0], [3.0, 4.0]]\n")
    assert load_inputs("tokens.npy", tmp_path).dtype == np.int64
    assert load_inputs("images.npz", tmp_path).dtype == np.float32
    assert load_inputs("mine.py:batch", tmp_path).shape == (2, 2)
    assert load_inputs(lambda: TOKENS, tmp_path).shape == (4, 6)


@fast
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "cannot be read"),
        (lambda path: path.write_bytes(b"no array"), "cannot be read"),
        (lambda path: np.save(path, np.array(["a", "b"])), "numbers in one array"),
        (lambda path: np.save(path, np.ones((1, 4))), "at least two rows"),
        (lambda path: np.save(path, np.array([[1.0], [np.nan]])), "NaN"),
        (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "cannot be read"),
    ],
)
def test_inputs_of_another_form_are_refused_in_one_line(tmp_path, make, words):
    make(tmp_path / "x.npy")
    with pytest.raises(ParityError, match=words) as caught:
        load_inputs("x.npy", tmp_path)
    assert "\n" not in str(caught.value)


@fast
def test_archive_of_several_arrays_and_missing_functions_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    with pytest.raises(ParityError, match="it holds 2 arrays"):
        load_inputs("two.npz", tmp_path)
    with pytest.raises(UserCodeError):
        load_inputs("nowhere:batch", tmp_path)
