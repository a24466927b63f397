"""Workloads: what a benchmark can time, each prepared once and then called repeatedly."""

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from alexnet_impl.data.batches import Batch, chain_digest, epoch_batches
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.decoding import decode_image
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.errors import UnknownNameError
from alexnet_impl.frameworks import DeviceTrainer, Framework
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.measurement.case import READY_BATCHES
from alexnet_impl.measurement.timing import amortise_call_cost
from alexnet_impl.network.spec import Spec
from alexnet_impl.recipe.recipe import require_settled
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.feeding import batch_plan, prefetch_depth, take_steps, training_batches
from alexnet_impl.weights.initializers import initial_weights

EPOCH_BYTES = 2**30
"""Largest size in bytes of the images in an epoch of the tutorial loop."""
FLOAT_BYTES = 4
LEARNING_RATE = 1e-4
"""Learning rate of timed steps: so small that noise cannot make a network diverge."""


@dataclass(slots=True, kw_only=True)
class WorkloadContext:
    """The network, images and options that workloads are built from.

    Attributes:
        framework: The adapter.
        config: Variant, width, recipe and device.
        spec: The network.
        train: Training images, uint8 in their stored size.
    """

    framework: Framework
    config: RunConfig
    spec: Spec
    train: Split

    def trainer(self) -> DeviceTrainer:
        """A trainer with the recipe's initial weights."""
        recipe = self.config.recipe
        weights = initial_weights(self.spec, recipe)
        return self.framework.make_trainer(self.spec, recipe, weights, self.config.device)

    def batches(self) -> Iterator[Batch]:
        """Endless iterator over a few ready batches."""
        plan = batch_plan(replace(self.config.recipe, drop_last=True))
        ready = list(itertools.islice(epoch_batches(self.train, plan, 0), READY_BATCHES))
        return itertools.cycle(ready)

    def epoch(self, epoch: int) -> Iterator[Any]:
        """The batches of an epoch as the training loop feeds them, without a last partial one."""
        recipe = replace(self.config.recipe, drop_last=True)
        return training_batches(self.train, recipe, epoch)

    def steps(self, batches: Iterator[Any]) -> TimedCall:
        """Training steps on batches of epoch(), recipe.steps_per_call of them in a call."""
        trainer, recipe = self.trainer(), self.config.recipe
        count = recipe.steps_per_call
        rates = [LEARNING_RATE] * count
        if recipe.device_data:
            trainer.put_dataset_on_device(self.train.images, recipe.crop_padding)

        def call() -> None:
            take_steps(trainer, list(itertools.islice(batches, count)), rates)

        done = self.batchwise(call, trainer)
        return replace(done, amount=count * recipe.global_batch_size)

    def batchwise(self, call: Callable[[], Any], trainer: DeviceTrainer | None = None) -> TimedCall:
        """A timed call that takes one batch, on the trainer's device or on the host alone."""
        batch_size = self.config.recipe.global_batch_size
        if trainer is None:
            return on_host(call, batch_size, "images")
        return TimedCall(
            call=call,
            amount=batch_size,
            unit="images",
            synchronize=trainer.synchronize,
            peak_memory_bytes=trainer.peak_memory_bytes,
        )


def on_host(call: Callable[[], Any], amount: float = 1, unit: str = "calls") -> TimedCall:
    """A timed call on the host alone, whose work is done when it returns."""
    return TimedCall(call=call, amount=amount, unit=unit, synchronize=lambda: None)


def workload_context(framework: Framework, config: RunConfig) -> WorkloadContext:
    """Load what the workloads of a config are built from.

    Raises:
        AlexNetError: If the config cannot be.
    """
    require_settled(config.recipe)
    dataset = load_dataset(config.data)
    spec = config.spec(dataset.num_classes)
    return WorkloadContext(framework=framework, config=config, spec=spec, train=dataset.train)


def _training(context: WorkloadContext) -> TimedCall:
    """A whole training step on ready batches."""
    ready = itertools.islice(context.epoch(0), READY_BATCHES)
    return context.steps(itertools.cycle(ready))


def _training_from_pipeline(context: WorkloadContext) -> TimedCall:
    """A training step whose batches a thread makes and digests while the device computes."""
    epochs = (context.epoch(number) for number in itertools.count())
    batches = _digested(itertools.chain.from_iterable(epochs))
    return context.steps(prefetch(batches, prefetch_depth(context.config.recipe)))


def _digested(batches: Iterator[Any]) -> Iterator[Any]:
    digest = ""
    for batch in batches:
        digest = chain_digest(digest, batch)
        yield batch


def _update(context: WorkloadContext) -> TimedCall:
    """The optimizer's update alone."""
    trainer, batch = context.trainer(), next(context.batches())
    trainer.backward(batch.images, batch.labels)
    return context.batchwise(partial(trainer.update, LEARNING_RATE), trainer)


def _tutorial_loop(context: WorkloadContext) -> TimedCall:
    """Training by the loop of the framework's tutorials."""
    recipe = context.config.recipe
    size = context.spec.input_shape[1]
    shape = (recipe.global_batch_size, size, size, 3)
    images = np.random.default_rng(recipe.seed).integers(0, 256, shape, np.uint8)
    labels = next(context.batches()).labels
    timed_call = context.framework.tutorial_loop(
        context.spec, images, labels, recipe.precision, context.config.device
    )
    return amortise_call_cost(timed_call, max(1, EPOCH_BYTES // (images.size * FLOAT_BYTES)))


def _batching(context: WorkloadContext) -> TimedCall:
    """Gathering a batch in NumPy."""
    uncut = replace(context.config.recipe, flip=False, crop_padding=0, drop_last=True)
    return _host_batches(context, uncut)


def _augmentation(context: WorkloadContext) -> TimedCall:
    """Gathering, flipping and cropping a batch in NumPy."""
    recipe = context.config.recipe
    padding = recipe.crop_padding or 4
    return _host_batches(context, replace(recipe, flip=True, crop_padding=padding, drop_last=True))


def _host_batches(context: WorkloadContext, recipe: Any) -> TimedCall:
    plan = batch_plan(recipe)
    epochs = (epoch_batches(context.train, plan, epoch) for epoch in itertools.count())
    batches = itertools.chain.from_iterable(epochs)
    return context.batchwise(lambda: next(batches))


def _decoding(context: WorkloadContext) -> TimedCall:
    """Decoding a batch of JPEG files, on one thread."""
    from PIL import Image  # noqa: PLC0415 - for this workload alone

    files = []
    for image in next(context.batches()).images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        files.append(file.getvalue())

    def decode() -> None:
        for content in files:
            decode_image(content, where="a benchmark")

    return context.batchwise(decode)


def _building(context: WorkloadContext) -> TimedCall:
    """Building the framework's model."""
    build = partial(context.framework.build_model, context.spec, context.config.recipe.precision)
    return on_host(build, unit="models")


def _conversion(context: WorkloadContext) -> TimedCall:
    """Conversion of canonical weights into the framework's model and back."""
    recipe, spec = context.config.recipe, context.spec
    model = context.framework.build_model(spec, recipe.precision)
    weights = initial_weights(spec, recipe)

    def there_and_back() -> None:
        context.framework.set_weights(model, spec, weights)
        context.framework.get_weights(model, spec)

    return on_host(there_and_back, unit="models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One workload.

    Attributes:
        prepare: Builds what its calls need.
        passes: Forward passes of the network that one image costs: 3 for a training step.
        gated: Whether a ratio of two frameworks needs the gate first.
        is_tutorial: Whether it is the tutorials' loop, which trains every layer and runs in an
            unmodified process.
        unit: What its calls are counted in: 'images' or 'models'.
    """

    prepare: Callable[[WorkloadContext], TimedCall]
    passes: int = 0
    gated: bool = False
    is_tutorial: bool = False
    unit: str = "images"


def _part(step: Callable[[DeviceTrainer, Batch], Any], passes: int = 0) -> Workload:
    """A workload that calls one method of the trainer on ready batches."""

    def prepare(context: WorkloadContext) -> TimedCall:
        trainer, batches = context.trainer(), context.batches()
        return context.batchwise(lambda: step(trainer, next(batches)), trainer)

    return Workload(prepare=prepare, passes=passes, gated=True)


WORKLOADS: dict[str, Workload] = {
    "training": Workload(prepare=_training, passes=3, gated=True),
    "training-from-pipeline": Workload(prepare=_training_from_pipeline, passes=3, gated=True),
    "inference": _part(lambda trainer, batch: trainer.infer(batch.images), passes=1),
    "forward": _part(lambda trainer, batch: trainer.forward(batch.images, batch.labels), passes=1),
    "backward": _part(
        lambda trainer, batch: trainer.backward(batch.images, batch.labels), passes=3
    ),
    "update": Workload(prepare=_update, gated=True),
    "transfer": _part(lambda trainer, batch: trainer.move(batch.images)),
    "preprocessing": _part(lambda trainer, batch: trainer.preprocess(batch.images)),
    "tutorial-loop": Workload(prepare=_tutorial_loop, passes=3, is_tutorial=True),
    "batching": Workload(prepare=_batching),
    "augmentation": Workload(prepare=_augmentation),
    "decoding": Workload(prepare=_decoding),
    "building": Workload(prepare=_building, gated=True, unit="models"),
    "conversion": Workload(prepare=_conversion, gated=True, unit="models"),
}
"""Name to workload, as --workload takes it."""


def get_workload(name: str) -> Workload:
    """The workload of that name.

    Raises:
        UnknownNameError: If there is none; the message suggests the nearest.
    """
    if name not in WORKLOADS:
        raise UnknownNameError("workload", name, WORKLOADS)
    return WORKLOADS[name]
