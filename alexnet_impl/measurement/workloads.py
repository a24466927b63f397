"""What a benchmark can time: each work is made ready once and then called again and again."""

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from alexnet_impl.data.batches import Batch, chain_digest, epoch_batches
from alexnet_impl.data.config import DataConfig
from alexnet_impl.data.dataset import Split
from alexnet_impl.data.decoding import decode_image
from alexnet_impl.data.loading import load_dataset
from alexnet_impl.data.prefetch import prefetch
from alexnet_impl.errors import UnknownNameError
from alexnet_impl.frameworks import DeviceTrainer, Framework
from alexnet_impl.frameworks.timed_call import TimedCall
from alexnet_impl.measurement.timing import lengthen
from alexnet_impl.network.spec import Spec
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.training.feeding import batch_plan, prefetch_depth, take_steps, training_batches
from alexnet_impl.weights.initializers import initial_weights

READY_BATCHES = 4
"""Batches that a step goes round over, so that no cache holds them all."""
PIPELINE_IMAGES = 20_000
"""Where batches are drawn while they are timed: 61 MB at 32 x 32."""
EPOCH_BYTES = 2**30
"""Of the images in an epoch of plain training, at most."""
FLOAT_BYTES = 4
DRAWING = ("training-from-pipeline", "batching", "augmentation")
LEARNING_RATE = 1e-4
"""Of timed steps: so small that noise cannot make a network diverge."""


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a work is made of.

    Attributes:
        framework: The adapter.
        config: Variant, width, recipe, device.
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
        """A few ready batches, over and over."""
        plan = batch_plan(replace(self.config.recipe, drop_last=True))
        ready = list(itertools.islice(epoch_batches(self.train, plan, 0), READY_BATCHES))
        return itertools.cycle(ready)

    def epoch(self, epoch: int) -> Iterator[Any]:
        """An epoch as the training loop feeds it, without a last batch that is not full."""
        recipe = replace(self.config.recipe, drop_last=True)
        return training_batches(self.train, recipe, epoch)

    def steps(self, batches: Iterator[Any]) -> TimedCall:
        """Training steps over these batches of epoch(): as many a call as the recipe says."""
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
        """A call that takes one batch of images, on the trainer's device or on the host alone."""
        batch_size = self.config.recipe.global_batch_size
        if trainer is None:
            return TimedCall(call=call, amount=batch_size, unit="images", synchronize=_no_device)
        return TimedCall(
            call=call,
            amount=batch_size,
            unit="images",
            synchronize=trainer.synchronize,
            peak_memory_bytes=trainer.peak_memory_bytes,
        )


def make_bench(framework: Framework, config: RunConfig) -> Bench:
    """What the works of this config are made of.

    Raises:
        AlexNetError: If the config cannot be.
    """
    dataset = load_dataset(config.data)
    spec = config.spec(dataset.num_classes)
    return Bench(framework=framework, config=config, spec=spec, train=dataset.train)


def _training(bench: Bench) -> TimedCall:
    """A whole training step on ready batches."""
    ready = itertools.islice(bench.epoch(0), READY_BATCHES)
    return bench.steps(itertools.cycle(ready))


def _training_from_pipeline(bench: Bench) -> TimedCall:
    """As the training loop does it: made, and digested, on a thread while the device works."""
    epochs = (bench.epoch(number) for number in itertools.count())
    batches = _digested(itertools.chain.from_iterable(epochs))
    return bench.steps(prefetch(batches, prefetch_depth(bench.config.recipe)))


def _digested(batches: Iterator[Any]) -> Iterator[Any]:
    digest = ""
    for batch in batches:
        digest = chain_digest(digest, batch)
        yield batch


def _inference(bench: Bench) -> TimedCall:
    """Logits of a batch, left on the device."""
    trainer, batches = bench.trainer(), bench.batches()
    return bench.batchwise(lambda: trainer.infer(next(batches).images), trainer)


def _forward(bench: Bench) -> TimedCall:
    """Preprocessing, forward pass and loss of a training step."""
    trainer, batches = bench.trainer(), bench.batches()

    def forward() -> None:
        batch = next(batches)
        trainer.forward(batch.images, batch.labels)

    return bench.batchwise(forward, trainer)


def _backward(bench: Bench) -> TimedCall:
    """The same and the gradients of all weights."""
    trainer, batches = bench.trainer(), bench.batches()

    def backward() -> None:
        batch = next(batches)
        trainer.backward(batch.images, batch.labels)

    return bench.batchwise(backward, trainer)


def _update(bench: Bench) -> TimedCall:
    """The optimizer's update alone."""
    trainer, batch = bench.trainer(), next(bench.batches())
    trainer.backward(batch.images, batch.labels)
    return bench.batchwise(partial(trainer.update, LEARNING_RATE), trainer)


def _transfer(bench: Bench) -> TimedCall:
    """A batch to the device, as it is stored."""
    trainer, batches = bench.trainer(), bench.batches()
    return bench.batchwise(lambda: trainer.move(next(batches).images), trainer)


def _preprocessing(bench: Bench) -> TimedCall:
    """A batch to the device, scaled and resized there."""
    trainer, batches = bench.trainer(), bench.batches()
    return bench.batchwise(lambda: trainer.preprocess(next(batches).images), trainer)


def _plain_training(bench: Bench) -> TimedCall:
    """Training as the framework's tutorials write it."""
    recipe = bench.config.recipe
    size = bench.spec.input_shape[1]
    shape = (recipe.global_batch_size, size, size, 3)
    images = np.random.default_rng(recipe.seed).integers(0, 256, shape, np.uint8)
    labels = next(bench.batches()).labels
    work = bench.framework.plain_training(
        bench.spec, images, labels, recipe.precision, bench.config.device
    )
    return lengthen(work, max(1, EPOCH_BYTES // (images.size * FLOAT_BYTES)))


def _batching(bench: Bench) -> TimedCall:
    """Gathering a batch in NumPy."""
    plain = replace(bench.config.recipe, flip=False, crop_padding=0, drop_last=True)
    return _host_batches(bench, plain)


def _augmentation(bench: Bench) -> TimedCall:
    """Gathering, flipping and cropping it."""
    recipe = bench.config.recipe
    padding = recipe.crop_padding or 4
    return _host_batches(bench, replace(recipe, flip=True, crop_padding=padding, drop_last=True))


def _host_batches(bench: Bench, recipe: Any) -> TimedCall:
    plan = batch_plan(recipe)
    epochs = (epoch_batches(bench.train, plan, epoch) for epoch in itertools.count())
    batches = itertools.chain.from_iterable(epochs)
    return bench.batchwise(lambda: next(batches))


def _decoding(bench: Bench) -> TimedCall:
    """Decoding a batch of JPEGs, on one thread."""
    from PIL import Image  # noqa: PLC0415 - for this work alone

    files = []
    for image in next(bench.batches()).images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        files.append(file.getvalue())

    def decode() -> None:
        for content in files:
            decode_image(content, where="a benchmark")

    return bench.batchwise(decode)


def _building(bench: Bench) -> TimedCall:
    """Making the framework's model."""
    build = partial(bench.framework.build_model, bench.spec, bench.config.recipe.precision)
    return TimedCall(call=build, amount=1, unit="models", synchronize=_no_device)


def _conversion(bench: Bench) -> TimedCall:
    """Canonical weights into the framework's model and back out."""
    recipe, spec = bench.config.recipe, bench.spec
    model = bench.framework.build_model(spec, recipe.precision)
    weights = initial_weights(spec, recipe)

    def there_and_back() -> None:
        bench.framework.set_weights(model, spec, weights)
        bench.framework.get_weights(model, spec)

    return TimedCall(call=there_and_back, amount=1, unit="models", synchronize=_no_device)


def _no_device() -> None:
    """The work is the host's alone and done when its call returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something to time.

    Attributes:
        prepare: Makes it ready.
        passes: How many times the network's forward MACs one image costs: 3 for a training step.
        gated: Whether the two frameworks must have been shown equal for their ratio to mean
            anything.
        plain: Whether it is timed in a process as the framework leaves it.
        unit: What its calls are counted in, as their TimedCall says.
    """

    prepare: Callable[[Bench], TimedCall]
    passes: int = 0
    gated: bool = False
    plain: bool = False
    unit: str = "images"


WORKS: dict[str, Work] = {
    "training": Work(prepare=_training, passes=3, gated=True),
    "training-from-pipeline": Work(prepare=_training_from_pipeline, passes=3, gated=True),
    "inference": Work(prepare=_inference, passes=1, gated=True),
    "forward": Work(prepare=_forward, passes=1, gated=True),
    "backward": Work(prepare=_backward, passes=3, gated=True),
    "update": Work(prepare=_update, gated=True),
    "transfer": Work(prepare=_transfer, gated=True),
    "preprocessing": Work(prepare=_preprocessing, gated=True),
    "plain-training": Work(prepare=_plain_training, passes=3, plain=True),
    "batching": Work(prepare=_batching),
    "augmentation": Work(prepare=_augmentation),
    "decoding": Work(prepare=_decoding),
    "building": Work(prepare=_building, gated=True, unit="models"),
    "conversion": Work(prepare=_conversion, gated=True, unit="models"),
}
"""Name to work; what a user says as --work."""


def get_work(name: str) -> Work:
    """The work of that name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest.
    """
    if name not in WORKS:
        raise UnknownNameError("work", name, WORKS)
    return WORKS[name]


def synthetic_data(batch_size: int, image_size: int = 32, work: str = "") -> DataConfig:
    """Noise for a benchmark.

    Args:
        batch_size: There are images for the ready batches that a step goes round over.
        image_size: Height and width in pixels.
        work: One that draws its batches has more images than any cache holds.
    """
    least = PIPELINE_IMAGES if work in DRAWING else 100
    return DataConfig(
        dataset="synthetic",
        train_images=max(batch_size * READY_BATCHES, least),
        test_images=100,
        image_size=image_size,
    )
