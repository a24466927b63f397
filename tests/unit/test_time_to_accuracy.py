"""Time to accuracy: the first epoch that reached the target, without evaluation."""

import pytest

from alexnet_impl.errors import RunError
from alexnet_impl.measurement.target import TimeToAccuracy, time_to_accuracy
from alexnet_impl.results import EpochRecord, History

pytestmark = pytest.mark.fast


def history(*accuracies):
    """Epochs of 10 s, 20 s, ... each with an evaluation of 1 s."""
    return History(
        epochs=[
            EpochRecord(
                epoch=number,
                step=100 * number,
                loss=1.0,
                train_top1_accuracy=0.99,
                evaluated_on="test",
                eval_loss=1.0,
                eval_top1_accuracy=accuracy,
                learning_rate=0.1,
                training_time_s=10.0 * number,
                evaluation_time_s=1.0,
                images_per_second=100.0,
            )
            for number, accuracy in enumerate(accuracies, start=1)
        ]
    )


def test_time_ends_with_the_first_epoch_that_reaches_the_target():
    found = time_to_accuracy(history(0.6, 0.8, 0.75, 0.9), 0.8)
    expected = TimeToAccuracy(
        epochs=2,
        training_time_s=30.0,
        evaluation_time_s=2.0,
        top1_accuracy=0.8,
        evaluated_on="test",
    )
    assert found == expected


def test_a_target_that_no_evaluation_reached_has_no_time():
    """The training images' accuracy does not count."""
    assert time_to_accuracy(history(0.6, 0.8), 0.81) is None
    assert time_to_accuracy(History(), 0.5) is None


@pytest.mark.parametrize("target", [0.0, -0.1, 80.76])
def test_target_must_be_a_share(target):
    with pytest.raises(RunError, match=f"target={target} must be a share"):
        time_to_accuracy(history(0.6), target)
