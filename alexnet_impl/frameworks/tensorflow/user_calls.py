"""One call of a user's keras.Model: its layers with weights, and the layers between them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_impl.frameworks.tensorflow.user_layers import (
    ATTENTION,
    SEPARABLE,
    Half,
    is_whole,
    own_variables,
    values_of,
    weights_of,
)
from alexnet_impl.frameworks.tensorflow.user_operations import (
    activation_of,
    activation_operation,
    before_activation,
    operation_of,
)
from alexnet_impl.frameworks.user_model import LayerCall, Operation, Sources
from alexnet_impl.weights.canonical import Array


class Recording:
    """Records one call of a model: its layers with weights, and the layers between them.

    Attributes:
        calls: Calls of layers with weights, in order.
        operations: Operations since the last of them.
        output: The model's output.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.calls: list[LayerCall] = []
        self.operations: list[Operation] = []
        self.output: Array = np.empty(0)
        self._open: list[dict[str, Any]] = []
        self._map: Any = None
        self._whole = False
        self._sources = Sources()
        self._halves: dict[str, tuple[Half, ...]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records every layer that is called while the block runs."""
        original, function = keras.layers.Layer.__call__, keras.Operation.__call__
        eager = tf.config.functions_run_eagerly()

        def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            if layer is self.model:
                return original(layer, *args, **kwargs)
            return self._call(layer, original, args, kwargs)

        def compute(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            outputs = function(operation, *args, **kwargs)
            if not isinstance(operation, keras.layers.Layer):
                self._sources.pass_on(outputs, (*args, *kwargs.values()))
            return outputs

        keras.layers.Layer.__call__ = call
        keras.Operation.__call__ = compute
        tf.config.run_functions_eagerly(run_eagerly=True)
        try:
            yield
            self._note_own(self.model)
        finally:
            keras.layers.Layer.__call__ = original
            keras.Operation.__call__ = function
            tf.config.run_functions_eagerly(run_eagerly=eager)

    def _call(
        self, layer: keras.layers.Layer, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Calls a layer, then records it as a container, a layer with weights or an operation."""
        if self._whole:  # inside a layer that counts as one
            return original(layer, *args, **kwargs)
        frame = {"name": layer.name, "inner": False, "weighted": False}
        start = len(self.operations)
        self._open.append(frame)
        self._whole = isinstance(layer, ATTENTION)
        outputs = original(layer, *args, **kwargs)
        self._whole = False
        path = ".".join(entry["name"] for entry in self._open)
        self._open.pop()
        read = (*args, *kwargs.values())
        weighted = bool(weights_of(layer))
        for outer in self._open[-1:]:
            outer |= {"inner": True, "weighted": outer["weighted"] or weighted}
        is_layer = weighted and not frame["weighted"] and is_whole(layer)
        if not is_layer:
            self._note_own(layer)
        if not is_layer and not frame["inner"]:
            pools = type(layer).__name__.startswith(("MaxPooling", "AveragePooling"))
            self._sources.pass_on(outputs, read, pools=pools)
            if (found := operation_of(layer, read[0], outputs)) is not None:
                self.operations.append(found)
        if is_layer:
            linear = before_activation(layer, original, args, kwargs, outputs)
            note = self._note_halves if isinstance(layer, SEPARABLE) else self._note
            name = note(path, layer, read[0], linear, self.operations[:start])
            self._sources.keep(outputs, [name])
        if len(getattr(outputs, "shape", ())) == 4 and not isinstance(layer, keras.layers.Permute):
            self._map = outputs
        return outputs

    def _note_own(self, layer: keras.layers.Layer) -> None:
        """Keeps the variables of a layer that are not those of layers inside it."""
        if type(layer).__module__.startswith("keras."):
            return
        known = {id(call.layer.variable) for call in self.calls if call.inputs is None}
        for own in own_variables(layer):
            if id(own.variable) not in known:
                nothing: dict[str, Any] = dict.fromkeys(("inputs", "outputs", "maps"))
                self.calls.append(LayerCall(name=own.name, layer=own, before=(), **nothing))

    def _note_halves(
        self, _: str, layer: keras.layers.Layer, inputs: Any, outputs: Any, before: list[Operation]
    ) -> str:
        """Keeps a separable convolution as the two convolutions that it is."""
        first, second = self._halves.setdefault(
            layer.name, tuple(Half(layer, depthwise=depthwise) for depthwise in (True, False))
        )
        between = first.halfway(inputs)
        self._sources.keep(between, [self._note(first.name, first, inputs, between, before)])
        return self._note(second.name, second, between, outputs, [])

    def _note(
        self,
        path: str,
        layer: Any,
        inputs: Any,
        outputs: Any,
        before: list[Operation],
    ) -> str:
        """Keeps the first call of a layer with weights; returns the layer's name."""
        name = next((call.name for call in self.calls if call.layer is layer), "")
        if not name:
            taken = layer.name in [call.name for call in self.calls]
            name = path if taken else layer.name
            self.calls.append(
                LayerCall(
                    name=name,
                    layer=layer,
                    before=tuple(before),
                    inputs=values_of(layer, inputs),
                    outputs=values_of(layer, outputs),
                    maps=None if self._map is None else values_of(None, self._map),
                    **self._sources.facts([inputs]),
                )
            )
        self.operations = []
        if activation := activation_of(layer):
            title = f"{layer.name}'s activation"
            self.operations.append(activation_operation(activation, title, outputs))
        return name
