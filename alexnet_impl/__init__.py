"""One AlexNet in PyTorch and TensorFlow: the same weights, the same bytes, one meaning each.

Importing this package imports no framework: `get_framework("torch")` does.
"""

from alexnet_impl.errors import AlexNetError
from alexnet_impl.network.spec import Spec, trace
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe import Recipe

__all__ = ["RECIPES", "VARIANTS", "AlexNetError", "Recipe", "Spec", "build_spec", "trace"]
__version__ = "0.1.0"
