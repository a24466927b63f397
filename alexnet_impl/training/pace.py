"""How long a run will take, from the speed of its steps so far."""

from alexnet_impl.data.progress import time_text
from alexnet_impl.training.events import Started, Stepped

LONG_S = 120.0
"""A run that takes longer is announced with its duration."""
KNOWN_STEPS, KNOWN_S = 4, 10.0
"""Steps, and seconds of them, after which the speed is known well enough to announce a duration:
the very first are slower."""
FORWARD_SHARE = 1 / 3
"""Time of evaluating an image over that of training on it: a step has two more such passes."""
RESUME = "Ctrl-C and `--resume` at any time"


class Pace:
    """Speed of the steps that it was told of; first calls, which trace and compile, do not count.

    Attributes:
        steps: Number of those steps.
        time_s: Their seconds.
        images: Their images.
    """

    def __init__(self) -> None:
        self.steps, self.time_s, self.images = 0, 0.0, 0.0
        self._announced = False

    def add(self, event: Stepped) -> None:
        """Counts the steps since the previous event."""
        self.steps += event.timed_steps
        self.time_s += event.timed_s
        self.images += event.images_per_second * event.timed_s

    @property
    def is_known(self) -> bool:
        """Whether there were enough steps for an estimate."""
        return self.steps >= KNOWN_STEPS and self.time_s >= KNOWN_S

    @property
    def step_time_s(self) -> float:
        """Seconds per step, or 0 before the first."""
        return self.time_s / self.steps if self.steps else 0.0

    def duration_s(self, run: Started, steps: int) -> float:
        """Estimates the seconds of this number of steps, with their share of the evaluations."""
        image_s = self.time_s / self.images if self.images else 0.0
        evaluation_s = FORWARD_SHARE * image_s * run.evaluated_images
        return steps * self.step_time_s + evaluation_s * steps / run.num_steps

    def announce(
        self, run: Started, steps: int, *, runs: int = 1, scope: str = "", resume: str = RESUME
    ) -> str:
        """Says once how long a job will take; '' if it is short, not known yet, or said before.

        `steps` are those to come in each of the job's `runs`. `scope` says what the time is for,
        such as ' per framework', and `resume` how to stop and continue it.
        """
        if self._announced or not self.is_known:
            return ""
        self._announced = True
        time_s = runs * self.duration_s(run, steps)
        if time_s <= LONG_S:
            return ""
        count = f"{runs} runs of " if runs > 1 else ""
        what = f"{count}{steps:,} steps at {self.step_time_s:.2g} s, and evaluation"
        return f"about {time_text(time_s)}{scope} ({what}){resume and f'; {resume}'}"

    def text(self, run: Started, event: Stepped) -> str:
        """Step, loss, speed and time left, such as 'step 7/30  loss 2.0000  400 images/s'."""
        text = f"step {event.step:,}/{event.num_steps:,}  loss {event.loss:.4f}"
        if not self.steps:
            return text
        speed = self.images / self.time_s
        left_s = self.duration_s(run, event.num_steps - event.step)
        return f"{text}  {speed:.{0 if speed >= 10 else 1}f} images/s  {time_text(left_s)} left"
