"""Data sets, and the batches drawn from them: NumPy arrays, the same bytes for every framework.

`load_dataset` turns a `DataConfig` into a `Dataset`; `epoch_batches` turns a split into batches.
Nothing in here imports a framework.
"""

from alexnet_impl.data.batches import (
    Batch,
    BatchPlan,
    Picks,
    chain_digest,
    epoch_batches,
    epoch_picks,
    eval_batches,
    num_batches,
    pick,
)
from alexnet_impl.data.cache import cache_dir
from alexnet_impl.data.config import DATASETS, DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.data.decoding import decode_image, fit_to_square
from alexnet_impl.data.loading import load_dataset, settle
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.data.preprocessing import INPUT_SCALINGS, InputScaling, treat
from alexnet_impl.data.progress import Progress, terminal_progress
from alexnet_impl.data.resize import interpolation_matrix

__all__ = [
    "DATASETS",
    "INPUT_SCALINGS",
    "Batch",
    "BatchPlan",
    "DataConfig",
    "Dataset",
    "InputScaling",
    "Picks",
    "Progress",
    "Split",
    "cache_dir",
    "chain_digest",
    "decode_image",
    "epoch_batches",
    "epoch_picks",
    "eval_batches",
    "fit_to_square",
    "interpolation_matrix",
    "load_dataset",
    "num_batches",
    "pick",
    "prefetch",
    "settle",
    "terminal_progress",
    "treat",
]
