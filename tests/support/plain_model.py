"""A user's model in NumPy, behind the UserModel protocol."""

from dataclasses import replace

import numpy as np

from alexnet_impl.frameworks.user_model import Operation, UserLayer, UserModel, UserModelFacts
from alexnet_impl.parity.reference import convolve

RELU = Operation(kind="relu", name="relu", numbers={})
FLATTEN = Operation(kind="flatten", name="flatten", numbers={})


def conv(name, *shape, **facts):
    shapes = {"weight": shape, "bias": shape[:1]}
    return UserLayer(name=name, kind="conv", shapes=shapes, **facts)


def dense(name, *shape, **facts):
    shapes = {"weight": shape, "bias": shape[:1]}
    return UserLayer(name=name, kind="dense", shapes=shapes, **facts)


def layer_output(layer, values, weights):
    if layer.kind == "dense":
        return values @ weights["weight"].T + weights["bias"]
    return convolve(values, weights["weight"], layer.stride) + weights["bias"][:, None, None]


class PlainModel(UserModel):
    """conv, ReLU, flatten, dense in NumPy behind the UserModel protocol.

    Its gradients are no gradients: they are what the test says, or the weights themselves.
    """

    input_shape = (5, 5, 3)

    def __init__(self, **changes):
        self.relu = changes.get("relu", True)
        self.noise = changes.get("noise", 0.0)
        self.float64 = changes.get("float64", "")
        self.frozen = changes.get("frozen", ())
        self.loss = changes.get("loss", 1.0)
        self.bad_gradient = changes.get("bad_gradient", "")
        before = (RELU,) if changes.get("known", True) else (replace(RELU, kind="other"),)
        self.layers = (
            conv("conv", 4, 3, 3, 3),
            dense("fc", 10, 36, before=(*before, FLATTEN)),
        )
        rng = np.random.default_rng(changes.get("seed", 0))
        self.held = {
            f"{layer.name}.{short}": rng.standard_normal(shape).astype(np.float32)
            for layer in self.layers
            for short, shape in layer.shapes.items()
        }
        self.held |= {n: np.full_like(self.held[n], np.nan) for n in changes.get("broken", ())}
        self.dtype = np.float32

    def describe(self, images):
        assert images.shape[1:] == PlainModel.input_shape
        return UserModelFacts(layers=self.layers, after=())

    def use_precision(self, precision):
        self.dtype = np.dtype(precision).type
        return self.float64 if precision == "float64" else ""

    def weights(self):
        return dict(self.held)

    def set_weights(self, weights):
        self.held |= weights

    def forward(self, images):
        return self.computed(images, relu=self.relu)

    def replay(self, images, edits, place=""):
        """Knows two changes: a ReLU that is missing, and other weights."""
        other = [one for one in edits if one.index is None and not one.attributes]
        lost = [one for one in edits if (one.layer, one.index, one.chain) == ("conv", 0, ())]
        if len(other) + len(lost) < len(edits):
            return {}
        held = self.held
        for one in other:
            self.held = self.held | {f"{one.layer}.{k}": a for k, a in one.weights.items()}
        found = self.computed(images, relu=self.relu and not lost)
        self.held = held
        return {key: array for key, array in found.items() if place in ("", key)}

    def computed(self, images, relu):
        values = images.astype(self.dtype).transpose(0, 3, 1, 2)
        arrays = {}
        for layer in self.layers:
            if layer.kind == "dense":
                values = (np.maximum(values, 0) if relu else values).reshape(len(values), -1)
            arrays[f"{layer.name}.input"] = values
            own = {k: self.held[f"{layer.name}.{k}"].astype(self.dtype) for k in layer.shapes}
            values = layer_output(layer, values, own) * (1 + self.noise)
            arrays[f"{layer.name}.output"] = values
        return arrays | {"output": values}

    def gradients(self, images, labels):
        assert len(images) == len(labels)
        found = {name: array for name, array in self.held.items() if name not in self.frozen}
        if self.bad_gradient:
            found[self.bad_gradient] = np.full_like(found[self.bad_gradient], np.nan)
        return self.loss * float(self.held["fc.bias"].sum()), found
