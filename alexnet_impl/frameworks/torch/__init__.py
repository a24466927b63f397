"""The PyTorch adapter: AlexNet as an nn.Module, its weights and its training step."""

from alexnet_impl.frameworks import keep_frameworks_apart

keep_frameworks_apart()

from alexnet_impl.frameworks.torch.calibration import (  # noqa: E402
    bfloat16_support,
    calibration_kernels,
    tutorial_loop,
)
from alexnet_impl.frameworks.torch.device import find_device, fingerprint, set_threads  # noqa: E402
from alexnet_impl.frameworks.torch.model import AlexNet, build_model  # noqa: E402
from alexnet_impl.frameworks.torch.stored_files import read_stored  # noqa: E402
from alexnet_impl.frameworks.torch.training import make_trainer  # noqa: E402
from alexnet_impl.frameworks.torch.user_model import borrow_model, load_model  # noqa: E402
from alexnet_impl.frameworks.torch.user_preprocessing import (  # noqa: E402
    decode_jpeg,
    run_preprocessing,
)
from alexnet_impl.frameworks.torch.weights import (  # noqa: E402
    get_weights,
    read_backbone,
    read_checkpoint,
    set_weights,
    write_checkpoint,
)

__all__ = [
    "AlexNet",
    "bfloat16_support",
    "borrow_model",
    "build_model",
    "calibration_kernels",
    "decode_jpeg",
    "find_device",
    "fingerprint",
    "get_weights",
    "load_model",
    "make_trainer",
    "read_backbone",
    "read_checkpoint",
    "read_stored",
    "run_preprocessing",
    "set_threads",
    "set_weights",
    "tutorial_loop",
    "write_checkpoint",
]
