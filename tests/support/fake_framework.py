"""An honest framework in NumPy: softmax regression with the Trainer protocol.

So that the loop, the run folder and the command line are tested without any framework: the network
is real (Flatten and Dense), learns by SGD with momentum, has a random state (noise on its inputs)
and counts how often it is made to wait.
"""

import itertools
import signal
from types import SimpleNamespace

import numpy as np

from alexnet_impl.data.batches import GatherIndices, pick
from alexnet_impl.frameworks import ADAPTERS, FRAMEWORKS, StepValues, register
from alexnet_impl.machine.bfloat16 import Bfloat16Support
from alexnet_impl.network.spec import Conv, Dense, Flatten, Relu
from alexnet_impl.network.variants import VARIANTS, Variant
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.stats.accuracy import softmax
from alexnet_impl.training.events import (
    Ended,
    EpochEnded,
    Evaluating,
    Prepared,
    Started,
    Stepped,
    Warned,
)
from alexnet_impl.weights.canonical import check_weights
from alexnet_impl.weights.safetensors_io import read_safetensors
from alexnet_impl.weights.stored import StoredWeights

LINEAR = Variant(
    source="Softmax regression, for tests",
    about="one dense layer on the pixels",
    input_size=4,
    published_num_params={10: 490},
    layers=lambda _, num_classes, __: iter(
        [Flatten(name="flatten"), Dense(name="fc1", out_features=num_classes)]
    ),
)
NOISE = 0.01


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def at_step(step, act):
    """A before_step that acts on the trainer in one step, counted over the whole run."""

    def before_step(trainer, coming):
        if coming == step:
            act(trainer)

    return before_step


def interrupt_at(step, number=signal.SIGINT):
    """A before_step that sends a signal to this process: Ctrl-C by default."""
    return at_step(step, lambda _: signal.raise_signal(number))


def kill_at(step):
    """A before_step that stands for kill -9."""

    def kill(_):
        raise Killed

    return at_step(step, kill)


def break_at(step, loss):
    """A before_step whose step has that loss; its weights are as usual."""
    return at_step(step, lambda trainer: setattr(trainer, "broken_loss", loss))


class FakeTrainer:
    """Softmax regression on pixels in [-1, 1], in float32.

    Attributes:
        steps_taken: By this object.
        reads: Lengths of what read() was asked for.
        waits: How often synchronize() was called.
        before_step: Called with the number of the coming step, counted over the whole run.
    """

    def __init__(self, recipe, weights, before_step=None):
        self.recipe = recipe
        self.kernel, self.bias = weights["fc1.weight"].copy(), weights["fc1.bias"].copy()
        self.momentum = {"kernel": np.zeros_like(self.kernel), "bias": np.zeros_like(self.bias)}
        self.step = 0
        self.steps_taken, self.reads, self.waits = 0, [], 0
        self.before_step = before_step
        self.broken_loss = None

    def features(self, images):
        """Pixels in [-1, 1], channels outermost, of shape (batch, 3 * height * width)."""
        pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        return pixels.astype(np.float32) / np.float32(127.5) - 1

    def put_dataset_on_device(self, images, padding):
        self.held = images, padding

    def train_steps(self, images, labels, learning_rates):
        """A list as its handle."""
        steps = zip(images, labels, learning_rates, strict=True)
        return [self.train_step(*step) for step in steps]

    def train_step(self, images, labels, learning_rate):
        if isinstance(images, GatherIndices):
            held, padding = self.held
            images = pick(held, images, padding).images
        if self.before_step is not None:
            self.before_step(self, self.step + 1)
        rng = np.random.default_rng([self.recipe.seed, self.step])
        features = self.features(images)
        features += rng.normal(0, NOISE, features.shape).astype(np.float32)
        probabilities = softmax(features @ self.kernel.T + self.bias)
        picked = probabilities[np.arange(len(labels)), labels]
        loss = float(-np.log(np.maximum(picked, 1e-30)).mean())
        num_correct = int((probabilities.argmax(1) == labels).sum())
        wrong = probabilities.copy()
        wrong[np.arange(len(labels)), labels] -= 1
        wrong = (wrong / len(labels)).astype(np.float32)
        self._update("kernel", wrong.T @ features, learning_rate)
        self._update("bias", wrong.sum(0), learning_rate)
        self.step += 1
        self.steps_taken += 1
        if self.broken_loss is not None:
            loss, self.broken_loss = self.broken_loss, None
        return StepValues(loss=loss, num_correct=num_correct)

    def _update(self, name, gradient, learning_rate):
        self.momentum[name] = np.float32(self.recipe.momentum) * self.momentum[name] + gradient
        value = getattr(self, name) - np.float32(learning_rate) * self.momentum[name]
        setattr(self, name, value)

    def read(self, handles):
        """Of the handles of train_step() and of train_steps()."""
        self.reads.append(len(handles))
        each = (handle if isinstance(handle, list) else [handle] for handle in handles)
        return list(itertools.chain.from_iterable(each))

    def logits(self, images):
        return self.features(images) @ self.kernel.T + self.bias

    def synchronize(self):
        self.waits += 1

    def weights(self):
        return {"fc1.weight": self.kernel.copy(), "fc1.bias": self.bias.copy()}

    def state(self):
        momentum = {f"optimizer.{name}.momentum": a for name, a in self.momentum.items()}
        return momentum | {"noise.step": np.array(self.step, np.int64)}

    def restore(self, weights, state):
        self.kernel, self.bias = weights["fc1.weight"].copy(), weights["fc1.bias"].copy()
        self.momentum = {n: state[f"optimizer.{n}.momentum"].copy() for n in self.momentum}
        self.step = int(state["noise.step"])

    def peak_memory_bytes(self):
        return None


MORTAL = Variant(
    source="Softmax regression with a convolution beside it, for tests",
    about="one convolution that can die",
    input_size=4,
    published_num_params={},
    layers=lambda _, num_classes, __: iter(
        [
            Conv(name="conv1", out_channels=3, kernel_size=1),
            Relu(name="relu1"),
            Flatten(name="flatten"),
            Dense(name="fc1", out_features=num_classes),
        ]
    ),
)
DIES_AT = 6
"""The step from which a MortalTrainer's convolution yields 0."""


class MortalTrainer(FakeTrainer):
    """Learns like its parent, and shows activations that are a script.

    Attributes:
        dies_at: From this step on the ReLU's outputs and the logits are 0.
        moved_by_step: By so much the convolution's outputs, of standard deviation 1, rise a step.
        on_look: Called by activations().
        looked_at: The steps after which activations() was called.
    """

    dies_at = DIES_AT
    moved_by_step = 0.0
    on_look = staticmethod(lambda: None)

    def __init__(self, recipe, weights, before_step=None):
        super().__init__(recipe, weights, before_step)
        self.conv = {name: weights[name] for name in ("conv1.weight", "conv1.bias")}
        self.looked_at = []

    def activations(self, images, *, training=False):
        assert not training
        self.looked_at.append(self.step)
        self.on_look()
        alive = float(self.step < self.dies_at)
        outputs = np.tile([[1.0, -1.0, 1.0]], (len(images), 1)).reshape(-1, 3, 1, 1)
        outputs[::2] *= -1
        outputs += self.moved_by_step * self.step
        return {
            "images": images,
            "conv1": outputs,
            "relu1": np.maximum(outputs, 0) * alive,
            "flatten": outputs.reshape(len(images), -1),
            "fc1": self.logits(images) * alive,
        }

    def weights(self):
        return self.conv | super().weights()


class FakeFramework:
    """What get_framework() gives: makes FakeTrainers and remembers them.

    Attributes:
        trainers: All that were made, the latest last.
        before_step: Handed to each trainer that is made from now on.
        threads: What set_threads() was told.
        kind: Class of the trainers.
        bfloat16: What bfloat16_support() reports.
    """

    def __init__(self):
        self.kind = FakeTrainer
        self.trainers = []
        self.before_step = None
        self.threads = None
        self.bfloat16 = Bfloat16Support(hardware=True, speed=2.0)

    def make_trainer(self, spec, recipe, weights, device):  # noqa: ARG002 - the protocol's
        self.trainers.append(self.kind(recipe, weights, self.before_step))
        return self.trainers[-1]

    def set_threads(self, threads):
        self.threads = threads

    def read_stored(self, path, key=None):  # noqa: ARG002 - the protocol's
        """The arrays of a safetensors file, whatever its name ends in."""
        return StoredWeights(arrays=read_safetensors(path)[0])

    def read_checkpoint(self, path, spec):
        """The weights of a safetensors file, whatever its name ends in."""
        weights, _ = read_safetensors(path)
        check_weights(weights, spec, where=str(path))
        return weights

    def fingerprint(self, device):
        return {"name": "numpy", "device": device}

    def bfloat16_support(self, device):  # noqa: ARG002 - the protocol's
        return self.bfloat16

    @property
    def trainer(self):
        """The latest one."""
        return self.trainers[-1]


def take_the_place_of_every_framework(framework):
    """Register it under every framework's name, and its network among the variants."""
    VARIANTS["linear"] = LINEAR
    for name in FRAMEWORKS:
        register(name, framework)


def install(monkeypatch):
    """Put a fake in the place of every framework until the test ends."""
    framework = FakeFramework()
    monkeypatch.setitem(VARIANTS, "linear", LINEAR)
    for name in FRAMEWORKS:
        monkeypatch.setitem(ADAPTERS, name, ADAPTERS[name])  # is put back after the test
    take_the_place_of_every_framework(framework)
    return framework


def install_mortal(monkeypatch):
    """install() with MortalTrainers, of a class that a test may change, and their network."""
    framework = install(monkeypatch)
    monkeypatch.setitem(VARIANTS, "mortal", MORTAL)
    framework.kind = type("Trainer", (MortalTrainer,), {})
    return framework


def linear_config(recipe, data):
    """A RunConfig of the fake's network."""
    return RunConfig(framework="torch", variant="linear", width=1.0, recipe=recipe, data=data)


class RecordingObserver:
    """Remembers the events it is called with."""

    def __init__(self):
        self.started_at, self.num_steps = None, None
        self.steps, self.epochs, self.results, self.warnings = [], [], [], []
        self.prepared_images = {}
        self.on = SimpleNamespace(epoch_ended=lambda _: None)

    def __call__(self, event):
        match event:
            case Prepared(what=what, done=done, total=total):
                assert done <= total
                self.prepared_images[what] = (*self.prepared_images.get(what, ()), done)
            case Started():
                self.num_steps, self.started_at = event.num_steps, event.step
            case Stepped():
                assert event.num_steps == self.num_steps
                assert event.images_per_second >= 0
                self.steps.append((event.step, event.loss))
            case Evaluating(done=done, total=total):
                assert 0 < done <= total
            case Warned():
                self.warnings.append(event.message)
            case EpochEnded():
                self.epochs.append(event.record)
                self.on.epoch_ended(event.record)
            case Ended():
                self.results.append(event.result)
            case _:
                raise AssertionError(event)
