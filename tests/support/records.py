"""Records of made-up runs: what a test does not choose is some valid value."""

from alexnet_impl.runs.records import EpochRecord, RunResult, Timing


def epoch_record(**changes):
    """An epoch that was evaluated on the test images."""
    values = {
        "epoch": 1,
        "step": 2,
        "loss": 2.25,
        "train_top1_accuracy": 0.125,
        "evaluated_on": "test",
        "eval_loss": 2.0,
        "eval_top1_accuracy": 0.25,
        "learning_rate": 0.01,
        "training_time_s": 3.5,
        "evaluation_time_s": 0.5,
        "images_per_second": 20.0,
    }
    return EpochRecord(**values | changes)


def timing(**changes):
    """The times of a run, in seconds, and its rate."""
    values = {
        "first_step_time_s": 0.5,
        "training_time_s": 3.5,
        "evaluation_time_s": 0.5,
        "images_per_second": 20.0,
    }
    return Timing(**values | changes)


def run_result(**changes):
    """The result of a finished run on a CPU."""
    values = {
        "status": "finished",
        "steps": 2,
        "test_loss": 2.0,
        "test_top1_accuracy": 0.25,
        "timing": timing(),
        "peak_memory_bytes": 2**30,
        "peak_device_memory_bytes": None,
        "batches_sha256": "ab" * 32,
    }
    return RunResult(**values | changes)
