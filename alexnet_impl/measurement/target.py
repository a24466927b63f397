"""Time to accuracy: what a run took until an evaluation first reached a target."""

from dataclasses import dataclass

from alexnet_impl.errors import RunError
from alexnet_impl.runs.folder import History


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToAccuracy:
    """When a target was reached.

    Attributes:
        epochs: Passes over the training images until then.
        training_time_s: Of their steps: no evaluation, no checkpoint, and no first call of a batch
            size or number of steps, which traces and compiles (Timing.first_step_time_s has those).
        evaluation_time_s: Of the evaluations up to then, the one that found it included.
        top1_accuracy: What that evaluation measured.
        evaluated_on: 'validation' or 'test'.
    """

    epochs: int
    training_time_s: float
    evaluation_time_s: float
    top1_accuracy: float
    evaluated_on: str


def time_to_accuracy(history: History, target: float) -> TimeToAccuracy | None:
    """The first epoch whose evaluation reached the target, and what it took; None if none did.

    Args:
        history: Of a run.
        target: Top-1 accuracy above 0, at most 1.

    Raises:
        RunError: If the target is no such share.
    """
    if not 0 < target <= 1:
        raise RunError(f"target={target} must be a share above 0 and at most 1; 0.8 is 80 %.")
    for number, record in enumerate(history.epochs, start=1):
        if record.eval_top1_accuracy >= target:
            passed = history.epochs[:number]
            return TimeToAccuracy(
                epochs=number,
                training_time_s=sum(epoch.training_time_s for epoch in passed),
                evaluation_time_s=sum(epoch.evaluation_time_s for epoch in passed),
                top1_accuracy=record.eval_top1_accuracy,
                evaluated_on=record.evaluated_on,
            )
    return None
