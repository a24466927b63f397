"""The functions that a user's nn.Module calls, as operations in PyTorch's numbers."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from alexnet_impl.frameworks.user_model import Operation, pair_of

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "relu": ("relu", ()),
    "relu6": ("relu6", ()),
    "hardtanh": ("relu6", ("low", "high")),
    "leaky_relu": ("leaky_relu", ("slope",)),
    "elu": ("elu", ("alpha",)),
    "selu": ("selu", ()),
    "gelu": ("gelu", ()),
    "silu": ("silu", ()),
    "mish": ("mish", ()),
    "softplus": ("softplus", ()),
    "softsign": ("softsign", ()),
    "tanh": ("tanh", ()),
    "sigmoid": ("sigmoid", ()),
    "hardsigmoid": ("hard_sigmoid", ()),
    "hardswish": ("hard_silu", ()),
    "softmax": ("softmax", ("axis",)),
    "log_softmax": ("log_softmax", ("axis",)),
    "local_response_norm": ("lrn", ("size", "alpha", "beta", "k")),
    "max_pool2d": ("max_pool", ("size", "stride", "padding", "dilation", "ceil")),
    "avg_pool2d": ("avg_pool", ("size", "stride", "padding", "ceil", "counted")),
    "adaptive_avg_pool2d": ("adaptive_avg_pool", ("size",)),
    "adaptive_max_pool2d": ("adaptive_max_pool", ("size",)),
    "mean": ("adaptive_avg_pool", ("axes",)),
    "amax": ("adaptive_max_pool", ("axes",)),
    "interpolate": ("resize", ("size", "scale", "mode", "align_corners")),
    "pixel_shuffle": ("pixel_shuffle", ("factor",)),
    "dropout": ("dropout", ("rate", "active")),
    "dropout1d": ("dropout", ("rate", "active")),
    "dropout2d": ("dropout", ("rate", "active")),
    "dropout3d": ("dropout", ("rate", "active")),
    "feature_dropout": ("dropout", ("rate", "active")),
    "alpha_dropout": ("dropout", ("rate", "active")),
    "pad": ("pad", ("pad", "mode", "value")),
    "scaled_dot_product_attention": ("attention", ("key", "value", "mask", "rate", "causal")),
    "permute": ("permute", ()),
    "transpose": ("permute", ()),
    "movedim": ("permute", ()),
}
"""A function's name to the kind of its operation, and names of its arguments behind the input."""
KEYWORDS = {
    "kernel_size": "size",
    "output_size": "size",
    "ceil_mode": "ceil",
    "count_include_pad": "counted",
    "negative_slope": "slope",
    "dim": "axis",
    "p": "rate",
    "training": "active",
    "upscale_factor": "factor",
    "attn_mask": "mask",
    "is_causal": "causal",
    "min_val": "low",
    "max_val": "high",
}
SILENT = {"__get__", "contiguous", "to", "type", "float", "double", "clone", "detach", "cpu"}
"""Functions that change no value."""
SCALINGS: dict[str, Callable[[float], tuple[float, float]]] = {
    "mul": lambda number: (number, 0.0),
    "div": lambda number: (1 / number if number else 1.0, 0.0),
    "truediv": lambda number: (1 / number if number else 1.0, 0.0),
    "add": lambda number: (1.0, number),
    "sub": lambda number: (1.0, -number),
}
"""Arithmetic with one number: what it multiplies by, and adds."""
FLATTENERS = {"flatten", "view", "reshape", "squeeze"}


def operation_of(name: str, args: Any, kwargs: Any, result: Tensor) -> Operation | None:
    """The call of a function as an Operation; None if it changes no value of any shape."""
    source = args[0] if args and isinstance(args[0], Tensor) else None
    if name in SILENT or (source is not None and source.ndim == result.ndim and name in FLATTENERS):
        return None
    if source is not None and source.ndim == 4 and result.ndim == 2 and name in FLATTENERS:
        return Operation(kind="flatten", name=name, numbers={})
    kind, arguments = KINDS.get(name, ("other", ()))
    given = dict(zip(arguments, args[1:], strict=False))
    given |= {KEYWORDS.get(key, key): value for key, value in kwargs.items()}
    global_ = name not in ("mean", "amax") or _is_global(source, given)
    up_to_6 = name != "hardtanh" or (given.get("low"), given.get("high")) == (0, 6)
    if not global_ or not up_to_6:
        kind = "other"
    number = args[1] if len(args) > 1 else None
    if name in SCALINGS and source is not None and isinstance(number, int | float):
        kind, given = "scale", {"number": SCALINGS[name](float(number))}
    numbers = NUMBERS[kind](given, name, result) if kind in NUMBERS else {}
    return Operation(kind=kind, name=name, numbers=numbers)


def _is_global(source: Tensor | None, given: dict[str, Any]) -> bool:
    """Whether a reduction takes the height and width of maps."""
    axes = given.get("axes", given.get("axis"))
    return (
        source is not None
        and source.ndim == 4
        and isinstance(axes, list | tuple)
        and sorted(axis % 4 for axis in axes) == [2, 3]
    )


Given = dict[str, Any]
"""Arguments of a function by name."""


def _pad_numbers(given: Given) -> Given:
    if given.get("mode", "constant") != "constant" or given.get("value") not in (None, 0):
        return {"zeros": False}
    left, right, top, bottom = (*given["pad"], 0, 0)[:4]
    return {"zeros": True, "sides": ((top, bottom), (left, right))}


def _pool_numbers(given: Given) -> Given:
    size = pair_of(given["size"])
    return {
        "size": size,
        "stride": pair_of(given.get("stride") or size),
        "padding": tuple((p, p) for p in pair_of(given.get("padding", 0))),
        "ceil": bool(given.get("ceil", False)),
    }


def _resize_numbers(given: Given, result: Tensor) -> Given:
    return {
        "size": tuple(result.shape[2:]),
        "mode": given.get("mode", "nearest"),
        "align_corners": bool(given.get("align_corners")),
        "antialias": bool(given.get("antialias")),
    }


def _dropout_numbers(given: Given, name: str) -> Given:
    form = "alpha" if "alpha" in name else "units" if name == "dropout" else "maps"
    rate, active = given.get("rate", 0.5), given.get("active", True)
    return {"rate": rate, "active": active, "form": form}


NUMBERS: dict[str, Callable[[Given, str, Tensor], Given]] = {
    "pad": lambda given, *_: _pad_numbers(given),
    "max_pool": lambda given, *_: _pool_numbers(given),
    "avg_pool": lambda given, *_: _pool_numbers(given) | {"counted": given.get("counted", True)},
    "adaptive_avg_pool": lambda given, *_: {"size": pair_of(given.get("size", 1))},
    "adaptive_max_pool": lambda given, *_: {"size": pair_of(given.get("size", 1))},
    "scale": lambda given, *_: dict(zip(("by", "plus"), given["number"], strict=True)),
    "attention": lambda given, *_: {
        "causal": bool(given.get("causal")),
        "masked": given.get("mask") is not None,
        "size": given["key"].shape[-1],
    },
    "resize": lambda given, _, result: _resize_numbers(given, result),
    "pixel_shuffle": lambda given, *_: {"factor": given["factor"]},
    "gelu": lambda given, *_: {"approximate": given.get("approximate", "none") == "tanh"},
    "leaky_relu": lambda given, *_: {"slope": float(given.get("slope", 0.01))},
    "elu": lambda given, *_: {"alpha": float(given.get("alpha", 1.0))},
    "softmax": lambda given, _, result: {"axis": (given.get("axis") or 0) % result.ndim},
    "log_softmax": lambda given, _, result: {"axis": (given.get("axis") or 0) % result.ndim},
    "dropout": lambda given, name, _: _dropout_numbers(given, name),
    "lrn": lambda given, *_: {
        key: given[key] for key in ("size", "alpha", "beta", "k") if key in given
    },
}
"""Kind of an operation to the numbers that affect its result, sizes as (height, width)."""
