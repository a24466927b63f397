"""Saves the state of a run to its folder, and restores it."""

import numpy as np

from alexnet_impl.errors import RunError
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import History
from alexnet_impl.training.state import Progress, RunState
from alexnet_impl.typed_json import read, to_json
from alexnet_impl.weights.canonical import Weights


def save(state: RunState) -> None:
    """Writes history and checkpoint: the history first, so that no finished epoch is lost.

    Raises:
        DivergedError: If a weight is not finite; the checkpoint before is kept.
    """
    weights = state.trainer.weights()
    for name, array in weights.items():
        if not np.isfinite(array).all():
            step = state.progress.step
            raise state.diverged(f"{name} holds values that are not finite after step {step}")
    arrays = {f"weights/{name}": array for name, array in weights.items()}
    arrays |= {f"state/{name}": array for name, array in state.trainer.state().items()}
    state.count_other_work()
    state.folder.write_history(state.history)
    state.folder.write_checkpoint(arrays, to_json(state.progress))


def restore(state: RunState) -> None:
    """Continues from the last checkpoint; without one, the run starts again from its seed.

    Raises:
        RunError: If the checkpoint lacks arrays, or has those of another training.
    """
    found = state.folder.read_checkpoint()
    if found is None:
        return
    arrays, progress = found
    weights, optimizer = _part(arrays, "weights/"), _part(arrays, "state/")
    state.progress = read(Progress, progress)
    phase = state.next_phase()
    if phase is not state.phase:
        state.begin_phase(phase, weights)
    if state.progress.step > phase.first_step or phase is state.phases[0]:
        try:
            state.trainer.restore(weights, optimizer)
        except (LookupError, ValueError, TypeError, RuntimeError) as error:  # the frameworks' own
            path = state.folder.path / "checkpoint.safetensors"
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"{path}: is damaged, or of another training ({type(error).__name__}: {reason}); "
                "remove it, and the run starts over."
            ) from error
    if state.watch is not None and state.progress.collapse is not None:
        state.watch.report = state.progress.collapse
    history = state.folder.history
    state.history = History(
        epochs=history.epochs[: state.progress.epoch],
        step_loss=history.step_loss[: state.progress.step],
        step_learning_rate=history.step_learning_rate[: state.progress.step],
    )


def checkpoint_weights(folder: RunFolder) -> Weights | None:
    """Returns the weights of the last checkpoint in the canonical layout, or None without one."""
    found = folder.read_checkpoint()
    return None if found is None else _part(found[0], "weights/")


def _part(arrays: Weights, prefix: str) -> Weights:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
