"""Run as a script: `alexnet serve` with the NumPy framework, which is killed in its second step."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from alexnet_impl.frameworks import FRAMEWORKS, register
from alexnet_impl.processes import remote_trainer as remote
from support.fake_framework import FakeFramework

KILLED_AT = 2


def say_and_die(_, step):
    if step == KILLED_AT:
        sys.stderr.write("no luck today\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    framework = FakeFramework()
    framework.before_step = say_and_die
    for name in FRAMEWORKS:
        register(name, framework)
    sys.exit(remote.serve())
