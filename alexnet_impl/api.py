"""The Python API: `from alexnet_impl import api`. docs/api.md shows it as a whole.

Importing this module imports no framework. Trainings, parity checks and benchmarks run each
framework in a worker process of its own; build_model(), predict() and convert() use it in this one.
A path may be text, and a folder to write need not exist. Errors are of the class AlexNetError.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from alexnet_impl.compare import (
    COMPARISON,
    check_frameworks,
    compare_in,
    comparison_seeds,
    require_finished_pair,
    warn_on,
)
from alexnet_impl.convert import Conversion
from alexnet_impl.convert import convert as convert_file
from alexnet_impl.data.data_config import DataConfig
from alexnet_impl.data.dataset import Dataset
from alexnet_impl.data.progress import Progress, silent, terminal_progress
from alexnet_impl.errors import RunError, UnknownNameError, require_home
from alexnet_impl.frameworks import FRAMEWORKS, get_framework
from alexnet_impl.machine.watch import MachineWatch
from alexnet_impl.measurement.case import Case, make_case
from alexnet_impl.measurement.gate import check_comparable, pass_gate
from alexnet_impl.measurement.kept_rounds import KeptRounds, entries_of
from alexnet_impl.measurement.measured_cases import Gate, MeasuredCase, MeasuredPair, RoundsPlan
from alexnet_impl.measurement.rounds import from_now
from alexnet_impl.measurement.sides import parse_side
from alexnet_impl.measurement.workloads import get_workload
from alexnet_impl.network.bodies import Body
from alexnet_impl.network.own_network import (
    OwnVariant,
    is_own,
    load_own_variant,
    own_variant,
)
from alexnet_impl.network.spec import Spec, Trace, trace
from alexnet_impl.network.variants import Variant, build_spec, refuse_library
from alexnet_impl.parity.prove import prove
from alexnet_impl.parity.record import ParityRecord, write_record
from alexnet_impl.predict import (
    ImagePrediction,
    is_weights,
    network_of_run,
    network_of_weights,
    predict_files,
)
from alexnet_impl.processes.conversion import prepare_job
from alexnet_impl.processes.precision import ask_workers, settle_precision
from alexnet_impl.processes.training_worker import train_in_worker
from alexnet_impl.processes.weight_files import (
    PUBLISHED_VARIANT,
    Hints,
    read_network,
)
from alexnet_impl.recipe.recipe import OnCollapse, Recipe
from alexnet_impl.recipe.recipe_file import ChosenRecipe, choose_recipe
from alexnet_impl.report.printing import PlainConsole
from alexnet_impl.report.run.command_lines import nearest_recipe
from alexnet_impl.report.run.seeds import SeedComparison, seed_comparison
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.runs.config import RunConfig
from alexnet_impl.runs.folder import (
    RunFolder,
    check_free,
    hold_folder,
    hold_new_folder,
    stamped_folder,
)
from alexnet_impl.stats.accuracy import (
    Accuracy,
    confusion_matrix,
    per_class_accuracy,
    top1_accuracy,
)
from alexnet_impl.training.feeding import run_images
from alexnet_impl.training.observers import make_observer
from alexnet_impl.training.prepare import prepare_run
from alexnet_impl.training.run_request import PREPROCESSING_FIELDS, RunRequest, settle_request
from alexnet_impl.training.stopping import continued_by
from alexnet_impl.weights.canonical import Weights
from alexnet_impl.weights.pretrained_files import Pretrained, find_pretrained
from alexnet_impl.weights.published_files import is_published_name

__all__ = [
    "Comparison",
    "Evaluation",
    "NetworkNumbers",
    "RunSettings",
    "bench",
    "build_model",
    "compare",
    "convert",
    "describe",
    "evaluate",
    "load_run",
    "own_network",
    "parity",
    "predict",
    "train",
]

Network: TypeAlias = str | OwnVariant
"""A name from `alexnet variants`, FILE.py:NAME, or what own_network() returned."""


class NetworkNumbers(TypedDict, total=False):
    """Numbers of a network; what is left out is the network's own, and ten classes."""

    num_classes: int
    """Number of logits."""
    input_size: int | None
    """Height and width of the images in pixels."""
    width: float
    """Multiplier of the numbers of channels and features."""


class RunSettings(TypedDict, total=False):
    """Settings of train(), compare(), parity() and bench(): the flags of the command line."""

    variant: Network
    """The network; 'cifar' by default."""
    width: float | None
    """Multiplier of channels and features: 1, and 0.25 for the package's variants on digits."""
    recipe: str | Path | Recipe
    """A name from `alexnet recipes`, a TOML file, or a Recipe; 'quick' by default."""
    dataset: str | None
    """digits, cifar10, image_folder or synthetic; by default what data_dir holds, or digits."""
    data_dir: str | Path | None
    """Folder, zip or archive with the images."""
    train_images: int | None
    """Limit the training set to this number, balanced over the classes."""
    test_images: int | None
    """Limit the test set to this number, balanced over the classes."""
    classes: Sequence[str]
    """Train and test on these classes only."""
    image_size: int | None
    """Height and width in pixels to which images of a folder or of noise are decoded."""
    seed: int | None
    """Seed of weights, batches, augmentation and dropout, in place of the recipe's."""
    device: str
    """auto, cpu or gpu."""
    threads: int | None
    """CPU threads of the framework."""
    weights: str | Path | None
    """Initial weights of train() and compare(): a published name or a file."""
    cache_features: bool
    """Whether the output of frozen layers is computed once for each image."""
    on_collapse: OnCollapse
    """What a run does when the network's units die: stop, warn or ignore."""
    interpreters: Mapping[str, str]
    """Framework to the Python of another environment that runs it."""
    output: str | Path | None
    """Folder to write; by default a new one in runs/."""
    progress: bool
    """Whether progress is printed; False by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The accuracy of a finished run on its test images.

    Attributes:
        accuracy: Top-1 accuracy with its 95 % interval.
        loss: Mean cross-entropy.
        per_class: Class name to the share of its images that were classified correctly.
        confusion: Numbers of images of shape (num_classes, num_classes): rows are labels, columns
            predictions.
        predicted: The most probable class of each image, int64 of shape (num_images,).
        labels: int64 of shape (num_images,).
    """

    accuracy: Accuracy
    loss: float | None
    per_class: dict[str, Accuracy]
    confusion: NDArray[np.int64]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of both frameworks.

    Attributes:
        folder: The folder of its runs and of report.html.
        runs: Those of each seed, PyTorch's before TensorFlow's.
        over_seeds: The paired difference over the seeds; None of a single seed.
    """

    folder: Path
    runs: tuple[RunFolder, ...]
    over_seeds: SeedComparison | None


def own_network(name: str, network: Callable[..., Spec] | Variant | Body) -> OwnVariant:
    """Names a network of your own, for every `variant` of this module.

    Args:
        name: Its name in tables, run folders and weight files; none of the package's.
        network: A Body, a Variant, or a function that returns a Spec. The function is given those
            of num_classes, input_size and width that it has as parameters.

    Raises:
        SpecError: If the package has a variant of that name.

    Example:
        >>> from alexnet_impl import api
        >>> from alexnet_impl.network.bodies import Body
        >>> small = api.own_network("small", Body(channels=(8, 16), pooled=(1, 2), hidden=(32,)))
        >>> api.describe(small).num_params
        26842
    """
    return own_variant(name, network)


def describe(variant: Network = "cifar", **numbers: Unpack[NetworkNumbers]) -> Trace:
    """Returns the shapes, parameters and multiply-accumulates of every layer.

    Shapes are of one image, channels first: (channels, height, width) or (features,). No framework
    is imported.

    Raises:
        UnknownNameError: If there is no such variant.
        SpecError: If the network does not allow these numbers.

    Example:
        >>> from alexnet_impl import api
        >>> found = api.describe("torchvision", num_classes=1000)
        >>> found.num_params
        61100840
        >>> found.layers[0].output_shape
        (64, 55, 55)
    """
    return trace(_spec(variant, numbers))


def build_model(
    framework: str,
    variant: Network | None = None,
    *,
    weights: str | Path | Weights | None = None,
    **numbers: Unpack[NetworkNumbers],
) -> Any:
    """Builds the framework's own kind of model.

    Args:
        framework: 'torch' for an nn.Module, which reads images (batch, 3, height, width);
            'tensorflow' for a keras.Model, which reads (batch, height, width, 3). Both read
            float32 that a recipe's preprocessing made, and yield logits (batch, num_classes).
        variant: The network; by default that of the weights, or 'cifar'.
        weights: A published name, a file of any kind, or arrays by name in the canonical layout:
            convolutions (out, in / groups, height, width), dense layers (out, in). None: the
            framework's own initial weights.
        **numbers: num_classes, input_size and width, unless a file states them.

    Raises:
        FrameworkError: If the framework is not installed.
        WeightsError: If the weights are damaged or belong to another network.

    Example:
        >>> import numpy as np
        >>> from alexnet_impl import api
        >>> model = api.build_model("torch", "cifar", width=1 / 16)
        >>> images = np.zeros((2, 3, 32, 32), np.float32)
        >>> import torch
        >>> tuple(model(torch.from_numpy(images)).shape)
        (2, 10)
    """
    adapter = get_framework(framework)
    if weights is None or isinstance(weights, Mapping):
        spec, arrays = _spec(variant or "cifar", numbers), weights
    else:
        spec, arrays = _read(weights, variant, numbers)
    model = adapter.build_model(spec)
    if arrays is not None:
        adapter.set_weights(model, spec, arrays)
    return model


def train(framework: str, **settings: Unpack[RunSettings]) -> RunFolder:
    """Trains a network in one framework, in a worker process, and returns its run folder.

    Raises:
        UnknownNameError: If there is no such framework, variant, recipe or setting.
        AlexNetError: If a setting is not valid, or the run diverged.
        StoppedError: If Ctrl-C stopped it; the run can be continued with `alexnet train --resume`.

    Example:
        >>> from alexnet_impl import api
        >>> run = api.train("torch", width=1 / 16, train_images=200, output="runs/mine")
        >>> run.result.status
        'finished'
        >>> [record.epoch for record in run.history.epochs]
        [1, 2, 3, 4, 5, 6]
    """
    if framework not in FRAMEWORKS:
        raise UnknownNameError("framework", framework, FRAMEWORKS)
    job = _Job(settings)
    check_frameworks(job.interpreters, {framework})
    folder = job.folder(framework)
    config, given = job.settle(framework)
    dataset = job.images(config)
    (config,) = settle_precision([config], ask_workers(job.interpreters), job.say)
    run = prepare_job(config, dataset, given, interpreters=job.interpreters)
    interpreter = job.interpreters.get(framework, sys.executable)
    folder.parent.mkdir(parents=True, exist_ok=True)
    how = f"continue with: alexnet train --resume {folder}"
    with continued_by(how, folder / "run.json"), make_observer(job.console) as observer:
        train_in_worker(run, folder, observer, interpreter=interpreter)
    return RunFolder.open(folder)


def compare(*, seeds: int = 1, **settings: Unpack[RunSettings]) -> Comparison:
    """Trains both frameworks with equal weights and batches, and writes report.html.

    Args:
        seeds: Number of seeds; each trains a pair of runs, from the recipe's seed on.
        **settings: The network, the recipe and the images.

    Raises:
        AlexNetError: If a setting is not valid, or every pair diverged.
        StoppedError: If Ctrl-C stopped it; continue it with `alexnet compare --resume`.

    Example:
        >>> from alexnet_impl import api
        >>> done = api.compare(width=1 / 16, train_images=200, output="runs/both")
        >>> torch, tensorflow = done.runs
        >>> torch.initial_weights_sha256 == tensorflow.initial_weights_sha256
        True
        >>> torch.result.batches_sha256 == tensorflow.result.batches_sha256
        True
    """
    job = _Job(settings)
    check_frameworks(job.interpreters)
    job.refuse_library()
    comparison_seeds(0, seeds)  # refuses too many
    folder = job.folder("compare")
    config, given = job.settle(FRAMEWORKS[0])
    chosen = comparison_seeds(config.recipe.seed, seeds)
    sides = [replace(config, framework=name) for name in FRAMEWORKS]
    dataset = job.images(config)
    config = settle_precision(sides, ask_workers(job.interpreters), job.say)[0]
    run = prepare_job(config, dataset, given, frameworks=FRAMEWORKS, interpreters=job.interpreters)
    from alexnet_impl.report.run.page import write_report  # noqa: PLC0415 - takes a second

    how = f"continue with: alexnet compare --resume {folder}"
    with hold_folder(folder), continued_by(how, folder / COMPARISON):
        found = compare_in(run, folder, job.console, job.interpreters, seeds=chosen)
        write_report(folder / "report.html", found)
    if seeds > 1:
        require_finished_pair(found)
    verdict = seed_comparison(view_runs(found)) if seeds > 1 else None
    return Comparison(folder=folder, runs=tuple(found), over_seeds=verdict)


def parity(*, steps: int = 20, **settings: Unpack[RunSettings]) -> ParityRecord:
    """Checks that both frameworks compute the same, or finds the first mismatch.

    Args:
        steps: Training steps of each form of lockstep.
        **settings: The network, the recipe and the images.

    Returns:
        Every check with its bound, and whether all hold; parity.json in the output folder is the
        same, and parity.html shows it.

    Raises:
        AlexNetError: If a setting is not valid, or a worker process failed.

    Example:
        >>> from alexnet_impl import api
        >>> record = api.parity(
        ...     variant="cifar", width=1 / 16, train_images=200, steps=4, output="runs/parity"
        ... )
        >>> record.holds, record.failures
        (True, ())
    """
    job = _Job(settings)
    job.refuse_weights("parity")
    check_frameworks(job.interpreters)
    job.refuse_library()
    folder = job.folder("parity")
    config, _ = job.settle(FRAMEWORKS[0])
    sides = [replace(config, framework=name) for name in FRAMEWORKS]
    dataset = job.images(config)
    config = settle_precision(sides, ask_workers(job.interpreters), job.say)[0]
    run = prepare_run(config, dataset)

    def keep(found: ParityRecord) -> None:
        write_record(folder, found)

    with hold_new_folder(folder):
        record = prove(run, dataset, steps, job.interpreters, keep)
        keep(record)  # whole now
        from alexnet_impl.report.parity.page import (  # noqa: PLC0415 - takes a second
            write_parity_pictures,
        )

        write_parity_pictures(folder, record)
    return record


def bench(
    *sides: str,
    workload: str = "training",
    plan: RoundsPlan | None = None,
    **settings: Unpack[RunSettings],
) -> MeasuredCase | MeasuredPair:
    """Times one side, or two in interleaved rounds.

    Args:
        *sides: 'torch', 'tensorflow', or with fields of the recipe of its own, such as
            'torch,compile_mode=compiled,global_batch_size=64'.
        workload: What to time; `alexnet bench --help` lists the workloads.
        plan: How long to measure; by default 40 rounds and two minutes at most.
        **settings: The network, the recipe and the images, by default noise.

    Returns:
        A MeasuredCase with the seconds per call of one side; a MeasuredPair with the ratio of two,
        and its interval. bench.json in the output folder holds the same, and what may have
        interfered; bench.html shows it.

    Raises:
        RunError: If there are not one or two sides, or they have no ratio: two frameworks whose
            models differ have none.
        OutOfMemoryError: If a batch does not fit; rounds before are kept and returned.
        StoppedError: If Ctrl-C stopped it; the rounds so far are in bench.json.

    Example:
        >>> from alexnet_impl import api
        >>> from alexnet_impl.measurement.measured_cases import RoundsPlan
        >>> quick = RoundsPlan(min_rounds=1, max_rounds=2, warm_up_s=0.1)
        >>> done = api.bench(
        ...     "torch", workload="batching", width=1 / 16, plan=quick, output="runs/bench"
        ... )
        >>> done.unit, done.per_second > 0
        ('images', True)
    """
    if len(sides) not in (1, 2):
        raise RunError(f"bench: got {len(sides)} sides; give one or two.")
    job = _Job(settings)
    job.refuse_weights("bench")
    cases = [job.case(side, workload) for side in sides]
    if len(cases) == 2:
        check_comparable(*cases)
    check_frameworks(job.interpreters, {case.config.framework for case in cases})
    folder = job.folder("bench")
    asked = [case.config for case in cases]
    configs = settle_precision(asked, ask_workers(job.interpreters), job.say)
    cases = [replace(case, config=one) for case, one in zip(cases, configs, strict=True)]
    plan = from_now(plan or RoundsPlan())
    with hold_new_folder(folder):
        watch = MachineWatch(warn_on(job.console))
        rounds = KeptRounds(cases, plan, job.interpreters, folder, watch)
        with rounds.told_if_stopped():
            with watch:
                gate = _gate(rounds)
                found = rounds.measure(_ignore, gate)
                after = watch.after()
            entries, pairs = entries_of(found, gate)
            rounds.write(entries, pairs, after)
        from alexnet_impl.report.bench.page import (  # noqa: PLC0415 - takes a second
            write_bench_pictures,
        )

        write_bench_pictures(folder, pairs)
    return found


def evaluate(run: RunFolder | str | Path) -> Evaluation:
    """Returns the accuracy of a finished run on its test images, from its stored predictions.

    Raises:
        RunError: If it is no run folder, or the run is not finished.

    Example:
        >>> from alexnet_impl import api
        >>> found = api.evaluate("runs/mine")  # of the example of train()
        >>> found.accuracy.low <= found.accuracy.value <= found.accuracy.high
        True
        >>> found.confusion.shape, int(found.confusion.sum()) == len(found.labels)
        ((10, 10), True)
    """
    folder = load_run(run)
    result, predictions = folder.finished_result(), folder.read_predictions()
    names = folder.dataset.class_names
    predicted, labels = predictions.predicted, predictions.labels
    accuracies = per_class_accuracy(predicted, labels, len(names))
    return Evaluation(
        accuracy=top1_accuracy(predicted, labels),
        loss=result.test_loss,
        per_class=dict(zip(names, accuracies, strict=True)),
        confusion=confusion_matrix(predicted, labels, len(names)),
        predicted=predicted,
        labels=labels,
    )


def predict(
    run: RunFolder | str | Path,
    images: str | Path | Sequence[str | Path],
    framework: str | None = None,
) -> list[ImagePrediction]:
    """Classifies image files of any kind and size, each cut to its middle square.

    Args:
        run: A run folder, a weight file, or a published name such as torchvision:IMAGENET1K_V1.
        images: Paths of the files, or the path of one.
        framework: The framework that computes; by default the run's own, and torch for a file.

    Returns:
        The class probabilities of each image, of shape (num_classes,).

    Raises:
        DataError: If an image is missing or does not decode.
        WeightsError: If a weight file is damaged or does not state the preprocessing.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from alexnet_impl import api
        >>> Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("black.png")
        >>> (found,) = api.predict("runs/mine", ["black.png"])  # of the example of train()
        >>> found.probabilities.shape, len(found.top(3))
        ((10,), 3)
    """
    images = [images] if isinstance(images, str | Path) else images
    paths = [_path(image) for image in images]
    if isinstance(run, RunFolder) or not is_weights(Path(run)):
        network = network_of_run(load_run(run), framework)
    else:
        network = network_of_weights(str(run), framework)
    return predict_files(network, paths, "auto")


def convert(
    source: str | Path,
    target: str | Path,
    variant: Network | None = None,
    **numbers: Unpack[NetworkNumbers],
) -> Conversion:
    """Converts a weight file to another format, and compares the outputs of both.

    Args:
        source: .pt, .pth, .safetensors, .keras, .weights.h5 or .h5; or a published name.
        target: The file to write; its folder is made.
        variant: The network, if the file does not state it.
        **numbers: num_classes, input_size and width, if the file does not state them.

    Raises:
        WeightsError: If a format is unknown, the file is damaged, or its network is not known.
        FrameworkError: If a format's framework is not installed.

    Example:
        >>> from alexnet_impl import api
        >>> done = api.convert("runs/mine/weights.safetensors", "files/mine.keras")
        >>> done.spec.name, done.max_relative_difference < 1e-4
        ('cifar', True)
    """
    paths = _path(source), _path(target)
    return convert_file(*paths, _hints(variant, numbers))


def load_run(path: RunFolder | str | Path) -> RunFolder:
    """Opens a run folder: config, history by epoch and step, result, predictions and weights.

    Raises:
        RunError: If it is no run folder.

    Example:
        >>> from alexnet_impl import api
        >>> run = api.load_run("runs/mine")  # of the example of train()
        >>> run.config.variant, run.result.status
        ('cifar', 'finished')
        >>> run.read_weights()["conv1.weight"].shape
        (6, 3, 3, 3)
    """
    return path if isinstance(path, RunFolder) else RunFolder.open(_path(path))


class _Job:
    """The settings of one call, with the steps that all calls share."""

    def __init__(self, settings: RunSettings) -> None:
        if unknown := settings.keys() - RunSettings.__annotations__.keys():
            raise UnknownNameError("setting", min(unknown), RunSettings.__annotations__)
        self.settings = settings
        self.interpreters = dict(settings.get("interpreters") or {})
        self.variant = _variant(settings.get("variant", "cifar"))
        self.console = PlainConsole()
        self.console.quiet = not settings.get("progress", False)

    def say(self, line: str) -> None:
        """Prints a line, if progress is printed."""
        self.console.print(line, soft_wrap=True)

    def folder(self, what: str) -> Path:
        """The folder to write, which is new or empty.

        Raises:
            RunError: If it holds files.
        """
        name = self.variant if isinstance(self.variant, str) else self.variant.name
        folder = _path(self.settings.get("output") or stamped_folder(what, name))
        check_free(folder)
        return folder

    def refuse_library(self) -> None:
        """Refuses a variant with a library's backbone, of which there is no comparison."""
        if isinstance(self.variant, str):
            refuse_library(self.variant)

    def refuse_weights(self, what: str) -> None:
        """Refuses settings that have no effect on a job with weights of its own."""
        for name in ("weights", "cache_features"):
            if self.settings.get(name):
                raise RunError(f"{name} belongs to trainings; {what} draws its own weights.")

    def recipe(self) -> ChosenRecipe:
        """The recipe, and the fields of it that the user stated."""
        recipe = self.settings.get("recipe", "quick")
        if isinstance(recipe, Recipe):
            _, differing = nearest_recipe(recipe)  # an object does not say what was stated
            stated = tuple(name for name in differing if name in PREPROCESSING_FIELDS)
            return ChosenRecipe(recipe=recipe, stated=stated)
        return choose_recipe(str(recipe))

    def settle(
        self, framework: str, recipe: Recipe | None = None, *, dataset: str | None = None
    ) -> tuple[RunConfig, Pretrained | None]:
        """The config of these settings and the weights that they name."""
        given, chosen = self.settings, self.recipe()
        data_dir, weights = given.get("data_dir"), given.get("weights")
        data = DataConfig(
            dataset=given.get("dataset") or (None if data_dir else dataset),
            data_dir=None if data_dir is None else Path(data_dir),
            train_images=given.get("train_images"),
            test_images=given.get("test_images"),
            classes=tuple(given.get("classes", ())),
            image_size=given.get("image_size"),
        )
        request = RunRequest(
            framework=framework,
            variant=self.variant,
            recipe=recipe or chosen.recipe,
            stated=chosen.stated,
            data=data,
            width=given.get("width"),
            seed=given.get("seed"),
            device=given.get("device", "auto"),
            threads=given.get("threads"),
            on_collapse=given.get("on_collapse", "warn"),
            weights=None if weights is None else str(weights),
            cache_features=given.get("cache_features", False),
        )
        with self._progress() as progress:
            return settle_request(request, progress)

    def images(self, config: RunConfig) -> Dataset:
        """The images of a config."""
        with self._progress() as progress:
            return run_images(config.data, config.recipe, progress)

    def case(self, text: str, workload: str) -> Case:
        """The benchmark case of a side."""
        side = parse_side(text)
        chosen = side.workload or workload
        get_workload(chosen)
        recipe = side.recipe(self.recipe().recipe)
        config, _ = self.settle(side.framework, recipe, dataset="synthetic")
        return make_case(chosen, config)

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        if self.console.quiet:
            yield silent
            return
        with terminal_progress() as progress:
            yield progress


def _gate(rounds: KeptRounds) -> Gate | None:
    """The check that two frameworks are equal; None where there is nothing to check.

    Raises:
        RunError: If they differ.
    """
    if not rounds.has_gate:
        return None
    gate = pass_gate(rounds.cases[0], rounds.interpreters)
    if not gate.holds:
        raise RunError(f"gate: {gate.outcome}. The models differ, so that there is no ratio.")
    return gate


def _ignore(_: object) -> None:
    """Takes what there is so far, which nobody waits for."""


def _path(given: str | Path) -> Path:
    """The path, with the home folder in place of '~'.

    Raises:
        DataError: If the home folder is not known.
    """
    with require_home("give an absolute path"):
        return Path(given).expanduser()


def _variant(variant: Network) -> Network:
    return load_own_variant(variant) if isinstance(variant, str) and is_own(variant) else variant


def _spec(variant: Network, numbers: NetworkNumbers) -> Spec:
    found = _variant(variant)
    if isinstance(found, OwnVariant):
        return found.build(**numbers)
    return build_spec(found, **numbers)


def _hints(variant: Network | None, numbers: NetworkNumbers) -> Hints:
    """Facts about a file's network from the caller."""
    found = None if variant is None else _variant(variant)
    if not isinstance(found, OwnVariant):
        return Hints(variant=found, **numbers)
    network = found.network(input_size=numbers.get("input_size"), width=numbers.get("width"))
    return Hints(variant=found.name, network=network, **numbers)


def _read(
    weights: str | Path, variant: Network | None, numbers: NetworkNumbers
) -> tuple[Spec, Weights]:
    """The network and the weights of a file, or of a published name."""
    hints = _hints(variant, numbers)
    name = str(weights)
    usual = PUBLISHED_VARIANT if is_published_name(name) else ""
    found = find_pretrained(name, hints.variant or usual, 0)
    read = read_network(found.path, hints)
    return read.info.spec(), read.weights
