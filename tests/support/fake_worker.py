"""A worker of every kind with the NumPy framework in place of the real ones.

fake_python() writes an executable that stands for a worker's Python. It runs this file as a
script, with a behaviour before the arguments of a real worker: BEHAVIOUR -P -m alexnet_impl worker
KIND.
"""

import os
import select
import signal
import sys
from pathlib import Path

STEP_OF_SECOND_EPOCH = 6
DIES_IN_STEP = 2
PATIENCE_S = 60


def fake_python(folder, behaviour="trains"):
    """The path of an executable: a worker that trains, or that does something else as well.

    Args:
        folder: Where to write it.
        behaviour: A key of BEHAVIOURS.
    """
    return shell_script(folder, f"exec '{sys.executable}' '{__file__}' {behaviour} \"$@\"")


def shell_script(folder, *lines):
    """The path of an executable with these lines of a shell."""
    path = folder / "python"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def wait_for_signal(_, step):
    """In the second epoch, train on only after a signal: one that is sent cannot come too late."""
    if step == STEP_OF_SECOND_EPOCH:
        arrived, _, _ = select.select([WAKEUP[0]], [], [], PATIENCE_S)
        assert arrived, "no signal came"


def say_and_die(_, step):
    if step == DIES_IN_STEP:
        sys.stderr.write("no luck today\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)


BEHAVIOURS = {
    "trains": None,
    "has-no-bfloat16": None,
    "waits-for-a-signal": wait_for_signal,
    "dies": say_and_die,
}


def refuse(*_, **__):
    raise AssertionError("the job has prepared this run: a worker builds and looks for nothing")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from alexnet_impl.cli.workers import run_worker
    from alexnet_impl.machine.bfloat16 import Bfloat16Support
    from alexnet_impl.runs import config
    from alexnet_impl.training import prepare
    from support.fake_framework import FakeFramework, take_the_place_of_every_framework

    behaviour, *command, kind = sys.argv[1:]
    assert command == ["-P", "-m", "alexnet_impl", "worker"], command
    framework = FakeFramework()
    framework.before_step = BEHAVIOURS[behaviour]
    if behaviour == "has-no-bfloat16":
        framework.bfloat16 = Bfloat16Support(hardware=False, speed=0.01)
    take_the_place_of_every_framework(framework)
    config.find_spec = prepare.find_pretrained = refuse
    WAKEUP = os.pipe()
    os.set_blocking(WAKEUP[1], False)
    signal.set_wakeup_fd(WAKEUP[1])
    sys.exit(run_worker(kind))
