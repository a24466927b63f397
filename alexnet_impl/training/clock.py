"""A clock that waits for the device before it reads the time."""

import time

from alexnet_impl.frameworks import DeviceTrainer


def images_per_second(num_images: int, time_s: float) -> float:
    """Returns num_images / time_s, or 0 if no time has passed."""
    return num_images / time_s if time_s > 0 else 0.0


class Clock:
    """Measures laps; each ends when the device has finished its work."""

    def __init__(self, trainer: DeviceTrainer) -> None:
        self.trainer = trainer
        self.restart()

    def restart(self) -> None:
        """Starts a lap; the time before it is not counted."""
        self.trainer.synchronize()
        self.started = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the lap started, and starts another."""
        self.trainer.synchronize()
        now = time.perf_counter()
        elapsed, self.started = now - self.started, now
        return elapsed

    def since_read(self) -> float:
        """Returns the seconds since the lap started, without waiting for the device."""
        return time.perf_counter() - self.started
