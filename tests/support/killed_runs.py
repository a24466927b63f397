"""Kills trainings of a real framework, resumes them, and compares them with an uninterrupted one.

Run as a script, `killed_runs.py FRAMEWORK FOLDER KILLS SEED`: a process that has imported the
framework forks a training for each kill, since importing it takes longest. A training is killed at
a file operation or at a random instant, several times in a row; the last line says what was found.
"""

import json
import os
import random
import signal
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path

FLAGS = (
    *("--variant", "cifar-dropout", "--width", "0.0625", "--dataset", "synthetic"),
    *("--train-images", "128", "--test-images", "40", "--device", "cpu", "--threads", "1"),
    *("--recipe.epochs", "3", "--recipe.global-batch-size", "16", "--recipe.flip"),
    *("--recipe.crop-padding", "2", "--recipe.validation-fraction", "0.1"),
)
NUM_EPOCHS = 3
KILLED_AT_THE_END = {"checkpoint.safetensors", ".lock"}
"""Files that are removed after the result was written."""
KILLS_IN_A_ROW = 4
LATE_IMPORTS = {"torch": ("scipy.stats", "torch._dynamo"), "tensorflow": ("scipy.stats",)}
"""What a training imports at last, and each forked one again otherwise."""
WRITING = {"os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate"}


def on_writing(folder, act):
    """Calls `act` with the number of each operation that changes a file in the folder."""
    numbers = count(1)

    def hook(event, arguments):
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if (opens or event in WRITING) and str(folder) in str(arguments[0]):
            act(next(numbers))

    sys.addaudithook(hook)


def train(name, folder, prepare):
    """Trains or resumes in a forked process after prepare(); returns how that one ended."""
    if (process := os.fork()) == 0:
        code = 1
        try:
            log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            prepare()
            new = ("--framework", name, "--output", str(folder), *FLAGS)
            resumed = ("--resume", str(folder))
            code = main(["train", *(resumed if (folder / "run.json").is_file() else new)])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def finished(folder):
    result = RunFolder(folder).result
    return result is not None and result.status == "finished"


def facts(folder):
    """What must not depend on kills."""
    run = RunFolder.open(folder)
    return (
        weights_sha256(run.read_weights()),
        run.read_predictions().probabilities.tobytes(),
        run.result.batches_sha256,
        run.result.test_loss,
        run.history.step_loss,
        run.history.step_learning_rate,
        [(one.epoch, one.step, one.loss, one.eval_loss) for one in run.history.epochs],
        {path.name for path in folder.iterdir()} - KILLED_AT_THE_END,
    )


class Killer:
    """Kills trainings in turn at a file operation and at an instant, both drawn at random.

    Attributes:
        num_operations: Of a whole training.
        duration_s: Of a whole training.
        kills: How many there were.
    """

    def __init__(self, rng, num_operations, duration_s):
        self.rng, self.num_operations, self.duration_s = rng, num_operations, duration_s
        self.kills = 0

    def prepare(self, folder):
        """What the process of a training calls that is to be killed."""
        at, delay_s = self.rng.randint(1, self.num_operations), self.rng.random() * self.duration_s

        def kill(number):
            if number == at:
                os.kill(os.getpid(), signal.SIGKILL)

        if self.kills % 2:
            return lambda: signal.setitimer(signal.ITIMER_REAL, delay_s)  # SIGALRM's default kills
        return lambda: on_writing(folder, kill)

    def train(self, name, folder, most):
        """Trains and resumes, killed at most so often, until the end or a failure."""
        for _ in range(most):
            code = train(name, folder, self.prepare(folder))
            self.kills += code < 0
            if code > 0 or finished(folder):
                return
        train(name, folder, lambda: None)


def problem(folder, expected):
    """What is wrong with a run that was killed; None if nothing is."""
    if not finished(folder):
        return "stuck"
    if len(RunFolder.open(folder).history.epochs) != NUM_EPOCHS:
        return "lost_epochs"
    return None if facts(folder) == expected else "other_bits"


def campaign(name, root, kills, seed):
    """Kills that often; returns the number of runs, and those that were not right."""
    numbers, started = root / "numbers", time.monotonic()
    whole = root / "whole"
    code = train(name, whole, lambda: on_writing(whole, lambda n: numbers.write_text(str(n))))
    assert code == 0, whole.with_suffix(".log").read_text()
    rng, duration_s = random.Random(seed), time.monotonic() - started
    killer = Killer(rng, int(numbers.read_text()), duration_s)
    found = {"runs": 0, "stuck": [], "lost_epochs": [], "other_bits": []}
    while killer.kills < kills:
        found["runs"] += 1
        folder = root / f"run-{found['runs']}"
        killer.train(name, folder, min(rng.randint(1, KILLS_IN_A_ROW), kills - killer.kills))
        if kind := problem(folder, facts(whole)):
            found[kind].append(folder.name)
    return found | {"kills": killer.kills}


if __name__ == "__main__":
    name, root, kills, seed = sys.argv[1:]
    from alexnet_impl.cli import main
    from alexnet_impl.frameworks import get_framework
    from alexnet_impl.runs.environment import environment_fingerprint
    from alexnet_impl.runs.folder import RunFolder
    from alexnet_impl.training import run as training
    from alexnet_impl.weights.canonical import weights_sha256

    get_framework(name)
    for module in LATE_IMPORTS[name]:
        import_module(module)
    environment_fingerprint()  # asks the machine, once in a process
    os.fsync = lambda _: None  # no kill cuts the power
    training.CHECKPOINT_EVERY_S = 0.02  # stands for slow steps
    print(json.dumps(campaign(name, Path(root), int(kills), int(seed))))  # noqa: T201
