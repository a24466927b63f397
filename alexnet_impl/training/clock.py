"""A clock that waits for the device before it reads the time."""

import time

from alexnet_impl.frameworks import DeviceTrainer


def images_per_second(num_images: int, time_s: float) -> float:
    """The rate of `num_images` in `time_s` seconds; 0 if no time has passed."""
    return num_images / time_s if time_s > 0 else 0.0


class Clock:
    """Time since the last lap, taken when the device has finished its work."""

    def __init__(self, trainer: DeviceTrainer) -> None:
        self.trainer = trainer
        self.restart()

    def restart(self) -> None:
        """Begin a lap; what lies before it is not counted."""
        self.trainer.synchronize()
        self.started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the lap began, and begin another."""
        self.trainer.synchronize()
        now = time.perf_counter()
        elapsed, self.started = now - self.started, now
        return elapsed

    def since_read(self) -> float:
        """Seconds since the lap began, without waiting for the device."""
        return time.perf_counter() - self.started
