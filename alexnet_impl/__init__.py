"""One AlexNet in PyTorch and TensorFlow: the same weights, the same bytes, one meaning each.

Importing this package imports nothing else, since pytest loads its plugin in every project of the
environment: a name is imported when it is first used. No name imports a framework:
`get_framework("torch")` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_impl.errors import AlexNetError
    from alexnet_impl.network.spec import Spec, trace
    from alexnet_impl.network.variants import VARIANTS, build_spec
    from alexnet_impl.recipe.named import RECIPES
    from alexnet_impl.recipe.recipe import Recipe

__all__ = ["RECIPES", "VARIANTS", "AlexNetError", "Recipe", "Spec", "build_spec", "trace"]
__version__ = "0.1.0"
_MODULES = {
    "RECIPES": "recipe.named",
    "VARIANTS": "network.variants",
    "AlexNetError": "errors",
    "Recipe": "recipe.recipe",
    "Spec": "network.spec",
    "build_spec": "network.variants",
    "trace": "network.spec",
}
"""Public name to its module."""


def __getattr__(name: str) -> Any:
    """Imports a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
