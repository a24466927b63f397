"""A port of nets.py to Keras: a first draft with four mistakes, and the finished one.

nets.py holds the network. From this folder:

    alexnet parity --torch nets:net --tensorflow port:first_draft
"""

from functools import partial

import keras
import tensorflow as tf
from keras import layers


def build(*, dropout: float, conv1: str, alpha: float, end: str | None) -> keras.Model:
    """Maps images (batch, 32, 32, 3) to 10 classes.

    Args:
        dropout: Rate before both dense layers; 0 leaves it out.
        conv1: Its padding: 'same', or 'explicit' for 2 pixels on every side.
        alpha: Of the normalisation, on the sum of the squares in its window.
        end: The last layer's activation.
    """
    norm = partial(
        tf.nn.local_response_normalization, depth_radius=2, bias=2.0, alpha=alpha, beta=0.75
    )
    explicit = conv1 == "explicit"
    inner = "valid" if explicit else conv1
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *([layers.ZeroPadding2D(2)] if explicit else []),
            layers.Conv2D(32, 5, strides=2, padding=inner, activation="relu", name="conv1"),
            layers.Lambda(norm, name="norm1"),
            layers.MaxPooling2D(3, 2, name="pool1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2"),
            layers.Lambda(norm, name="norm2"),
            layers.MaxPooling2D(3, 2, name="pool2"),
            layers.Flatten(),
            *([layers.Dropout(dropout)] if dropout else []),
            layers.Dense(128, activation="relu", name="fc1"),
            *([layers.Dropout(dropout)] if dropout else []),
            layers.Dense(10, activation=end, name="fc2"),
        ]
    )


def first_draft() -> keras.Model:
    """Runs, trains, has the right number of parameters, and is another network."""
    return build(dropout=0.0, conv1="same", alpha=1e-4, end="softmax")


def finished() -> keras.Model:
    """Drops features, pads conv1 by 2, divides alpha by the window of 5, and ends in logits."""
    return build(dropout=0.5, conv1="explicit", alpha=1e-4 / 5, end=None)
