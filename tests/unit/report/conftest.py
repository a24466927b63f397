"""Run folders made of seeded numbers, written by RunFolder's own writers."""

import dataclasses

import numpy as np
import pytest
from support.records import epoch_record, run_result, timing

from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset, Split
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.run import page
from alexnet_impl.report.run.page import write_report
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import RunFolder
from alexnet_impl.runs.records import History, Predictions
from alexnet_impl.stats.accuracy import mean_cross_entropy

CLASSES = ("airplane", "car", "bird", "cat")
RECIPE = dataclasses.replace(
    RECIPES["quick"], learning_rate=0.02, epochs=2, global_batch_size=20, seed=3
)
ENVIRONMENT = {
    "python": "3.11.7",
    "cpu": "Fast Processor 9000",
    "logical_cpus": 8,
    "packages": {"torch": "2.14.1", "tensorflow": "2.21.0", "keras": "3.15.1"},
    "framework": {"threads": 2},
}
TIMING = {
    "torch": timing(first_step_time_s=0.25, training_time_s=4.0, images_per_second=195.0),
    "tensorflow": timing(first_step_time_s=1.5, training_time_s=5.0, images_per_second=156.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeRun:
    """Content of a fake run folder; the defaults are a finished run on 60 test images."""

    framework: str = "torch"
    variant: str = "cifar"
    width: float = 0.125
    recipe: Recipe = RECIPE
    classes: tuple[str, ...] = CLASSES
    status: str | None = "finished"
    num_train: int = 400
    num_test: int = 60
    num_correct: int = 48
    image_size: int = 8
    data_seed: int = 0
    noise: float = 1e-6
    wrong_seed: int = 5
    batches: str = "ab" * 32
    weights: str = "cd" * 32


def write_run(path, fake):
    """Write the folder of a fake run."""
    config = RunConfig(
        framework=fake.framework,
        variant=fake.variant,
        width=fake.width,
        recipe=fake.recipe,
        data=DataConfig(dataset="digits"),
        device="cpu",
    )
    dataset = make_dataset(fake)
    folder = RunFolder.create(path, config, dataset, fake.weights)
    folder.write_json("environment.json", ENVIRONMENT)
    history = make_history(fake, len(dataset.train))
    folder.write_history(history)
    if fake.status is not None:
        finish(folder, fake, dataset, len(history.step_loss))
    return folder


def make_dataset(fake):
    rng = np.random.default_rng(fake.data_seed)

    def split(num_images):
        shape = (num_images, fake.image_size, fake.image_size, 3)
        labels = np.arange(num_images) % len(fake.classes)
        return Split(images=rng.integers(0, 256, shape, dtype=np.uint8), labels=labels)

    return Dataset(
        name="noise",
        source="Seeded noise & nothing else.",
        class_names=fake.classes,
        train=split(fake.num_train),
        test=split(fake.num_test),
    )


def make_history(fake, num_train):
    rng = np.random.default_rng(7)
    per_epoch = -(-num_train // fake.recipe.global_batch_size)
    num_epochs = fake.recipe.epochs if fake.status == "finished" else fake.recipe.epochs - 1
    num_steps = per_epoch * num_epochs + (0 if fake.status == "finished" else 3)
    place = np.arange(num_steps) / max(per_epoch * fake.recipe.epochs, 1)
    loss = 2.3 * np.exp(-3 * place) + 0.15 * rng.random(num_steps)
    sign = 1 if fake.framework == "torch" else -1
    loss = loss + sign * fake.noise * np.exp(np.minimum(12 * place, 10)) * rng.random(num_steps)
    if fake.status == "diverged":
        loss[-1] = np.nan
    return History(
        epochs=[make_epoch(fake, number, per_epoch, loss) for number in range(1, num_epochs + 1)],
        step_loss=loss.tolist(),
        step_learning_rate=[0.01] * num_steps,
    )


def make_epoch(fake, number, per_epoch, loss):
    last = loss[(number - 1) * per_epoch : number * per_epoch]
    final = fake.num_correct / fake.num_test
    reached = final * (1 - np.exp(-3 * number / fake.recipe.epochs)) / (1 - np.exp(-3))
    return epoch_record(
        epoch=number,
        step=number * per_epoch,
        loss=float(last.mean()),
        train_top1_accuracy=float(reached * 0.96),
        evaluated_on="validation",
        eval_loss=float(last[-1] + 0.1),
        eval_top1_accuracy=float(reached),
        training_time_s=2.0,
        evaluation_time_s=0.25,
        images_per_second=195.0,
    )


def finish(folder, fake, dataset, num_steps):
    loss = accuracy = None
    if fake.status == "finished":
        predictions = make_predictions(fake, dataset)
        folder.write_predictions(predictions)
        loss = mean_cross_entropy(predictions.probabilities, predictions.labels)
        accuracy = fake.num_correct / fake.num_test
    result = run_result(
        status=fake.status,
        message="" if fake.status == "finished" else "stopped by the user",
        steps=num_steps,
        test_loss=loss,
        test_top1_accuracy=accuracy,
        timing=TIMING[fake.framework],
        peak_memory_bytes=512 * 2**20,
        batches_sha256=fake.batches,
    )
    folder.write_result(result)


def make_predictions(fake, dataset):
    """Predictions in which `num_correct` images are correct, the others off by one class."""
    labels = dataset.test.labels
    num_classes = len(fake.classes)
    named = labels.copy()
    order = np.random.default_rng(fake.wrong_seed).permutation(fake.num_test)
    wrong = np.sort(order[fake.num_correct :])
    named[wrong] = (labels[wrong] + 1) % num_classes
    sure = np.random.default_rng(6).uniform(0.6, 0.99, fake.num_test)
    probabilities = np.repeat(((1 - sure) / (num_classes - 1))[:, None], num_classes, axis=1)
    probabilities[np.arange(fake.num_test), named] = sure
    samples = np.sort(order[-24:])
    return Predictions(
        probabilities=probabilities.astype(np.float32),
        labels=labels,
        sample_indices=samples,
        sample_images=dataset.test.images[samples],
        wrong_indices=wrong[:48],
        wrong_images=dataset.test.images[wrong[:48]],
    )


@pytest.fixture
def make_run(tmp_path):
    """Writes a run folder of that name with these changes to FakeRun's defaults."""

    def make(name, **changes):
        return write_run(tmp_path / name, FakeRun(**changes))

    return make


@pytest.fixture
def make_seeds(make_run):
    """Writes runs of both frameworks with these seeds; PyTorch classifies more images correctly."""

    def make(seeds=(0, 1, 2), correct=((48, 50, 49), (45, 46, 47))):
        return [
            make_run(
                f"{framework}-{seed}",
                framework=framework,
                recipe=dataclasses.replace(RECIPE, seed=seed),
                num_correct=number,
            )
            for framework, numbers in zip(("torch", "tensorflow"), correct, strict=True)
            for seed, number in zip(seeds, numbers, strict=True)
        ]

    return make


@pytest.fixture
def without_figures(monkeypatch):
    """Leaves the figures out of run pages, for tests of their words: drawing takes a second."""
    monkeypatch.setattr(page, "_figures", lambda _: {})


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """A finished run of each framework, not to be changed: 48 and 45 of 60 images are correct."""
    path = tmp_path_factory.mktemp("pair")
    return [
        write_run(path / "torch", FakeRun(framework="torch", num_correct=48)),
        write_run(path / "tensorflow", FakeRun(framework="tensorflow", num_correct=45)),
    ]


@pytest.fixture(scope="session")
def pair_html(pair, tmp_path_factory):
    """The page of the pair with its real figures, drawn once for all tests that read it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, pair)
    return path.read_text(encoding="utf-8")
