"""The flags of every command, as dataclasses; the fields' docstrings are the help texts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

from tyro.conf import Positional, Suppress, arg
from tyro.constructors import PrimitiveConstructorSpec

from alexnet_impl.network.own_network import OwnVariant
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.recipe.recipe import OnCollapse, Recipe

DEFAULT_RECIPE = "quick"


def by_rule(metavar: str, rule: str, text: str | None = None) -> Any:
    """Show a flag whose default is a rule rather than a value, such as "(default: all)".

    `text` is the help of a flag that several commands have.
    """
    return arg(metavar=metavar, help_behavior_hint=f"(default: {rule})", help=text)


def value(metavar: str, text: str | None = None) -> Any:
    """Show a flag that does nothing unless it is given, with no default; see by_rule()."""
    return arg(metavar=metavar, help_behavior_hint="", help=text)


# Choices are checked later, by the code that knows them: its message suggests the nearest.
FrameworkFlag = Annotated[str, arg(metavar="{torch,tensorflow}")]
DeviceFlag = Annotated[str, arg(metavar="{auto,cpu,gpu}")]
DATASET_CHOICES = "{digits,cifar10,cifar100,image_folder,parquet,synthetic}"
Interpreters = Annotated[
    tuple[str, ...], by_rule("FRAMEWORK=PYTHON ...", "this interpreter for both")
]
DataDir = Annotated[Path | None, value("PATH", "Folder, zip or archive with the images.")]
TestImages = Annotated[
    int | None,
    by_rule("INT", "all", "Limit the test set to N images, balanced over the classes."),
]
ImageSize = Annotated[
    int | None,
    by_rule(
        "INT",
        "the files' own, or if they differ the smallest side, at most 256",
        "Height and width in pixels to which images of a folder or of noise are decoded.",
    ),
]
_NO_FLAG: Any = PrimitiveConstructorSpec(
    nargs=0,
    metavar="",
    instance_from_str=lambda _: None,
    is_instance=lambda _: True,
    str_from_instance=lambda _: [],
)
"""Keeps tyro from reading the 60 fields of a recipe for a command line that names none."""


@dataclass(frozen=True, kw_only=True)
class Tabled:
    """The flag of every command that prints a table."""

    json: bool = False
    """Print the result as JSON on standard output, and everything else on standard error."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options that training and benchmarks share: network, recipe, images and machine."""

    variant: Annotated[str, arg(metavar="VARIANT|FILE.py:NAME")] = "cifar"
    """Architecture; `alexnet variants` lists them. Or your own: docs/own.md."""
    width: Annotated[
        float | None, by_rule("FLOAT", "1, and 0.25 for the package's variants on digits")
    ] = None
    """Multiplier of the numbers of channels and features."""
    recipe_name: Annotated[str, arg(name="recipe", metavar="NAME|FILE.toml")] = DEFAULT_RECIPE
    """Every hyperparameter of the training; `alexnet recipes` lists the named recipes."""
    dataset: Annotated[str | None, by_rule(DATASET_CHOICES, "what --data-dir holds, or digits")] = (
        None
    )
    """Dataset. The digits come with the package; synthetic is noise."""
    data_dir: DataDir = None
    train_images: Annotated[int | None, by_rule("INT", "all")] = None
    """Limit the training set, with its validation part, to N images, balanced over the classes."""
    test_images: TestImages = None
    classes: Annotated[tuple[str, ...], by_rule("CLASS ...", "all")] = ()
    """Train and test on these classes only."""
    image_size: ImageSize = None
    seed: Annotated[int | None, by_rule("INT", "the recipe's")] = None
    """Random seed, the same as --recipe.seed."""
    device: DeviceFlag = "auto"
    """Device."""
    threads: Annotated[int | None, by_rule("INT", "the framework's choice")] = None
    """CPU threads of the framework."""
    output: Annotated[Path | None, by_rule("PATH", "a new one in runs/")] = None
    """Folder to write; it must be empty or new."""
    recipe: Suppress[Annotated[Recipe, _NO_FLAG]] = field(
        default_factory=lambda: RECIPES[DEFAULT_RECIPE]
    )
    """The named recipe, with the fields changed that --recipe.FIELD names."""
    given: Suppress[tuple[str, ...]] = field(default=(), compare=False)
    """Recipe fields that have a flag on the command line or stand in a file, even with their usual
    value."""
    own: Suppress[Annotated[OwnVariant | None, _NO_FLAG]] = None
    """The user's own network, loaded from the file that `variant` names."""

    @property
    def display_name(self) -> str:
        """The variant's name: NAME for FILE.py:NAME."""
        return self.variant if self.own is None else self.own.name


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(NetworkOptions):
    """Flags of every command that trains."""

    weights: Annotated[str | None, by_rule("NAME|FILE", "random ones")] = None
    """Initial weights: torchvision:IMAGENET1K_V1, keras:imagenet, or a file. They set the
    preprocessing of images too; recipe fields that contradict it are refused."""
    cache_features: bool = False
    """Compute the output of the frozen layers once for each image, and train the head on it."""
    on_collapse: OnCollapse = "warn"
    """What to do when the network's units die in the first epoch."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions(NetworkOptions):
    """Options of `bench`: the default images are noise, and the default threads all cores."""

    dataset: Annotated[
        str | None, by_rule(DATASET_CHOICES, "what --data-dir holds, or synthetic")
    ] = None
    """Dataset. The digits come with the package; synthetic is noise."""
    train_images: Annotated[int | None, by_rule("INT", "all; of noise, what the batches need")] = (
        None
    )
    """Draw batches from N images, balanced over the classes."""
    test_images: Annotated[int | None, by_rule("INT", "all")] = None
    """Read N test images; none is timed."""
    classes: Annotated[tuple[str, ...], by_rule("CLASS ...", "all")] = ()
    """Use images of these classes only."""
    threads: Annotated[int | None, by_rule("INT", "the number of cores")] = None
    """CPU threads of the framework."""


def explain_options() -> TrainingOptions:
    """The defaults of `explain`: a variant that has padding and dropout to switch.

    Its runs are many and short, and a collapse is one of their results.
    """
    return TrainingOptions(
        variant="torchvision",
        recipe_name="explain",
        recipe=RECIPES["explain"],
        on_collapse="ignore",
    )


@dataclass(frozen=True, kw_only=True)
class Variants(Tabled):
    """List the variants: parameters, MACs, published totals, sources."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Tabled):
    """Check what is installed, which devices are seen, what clashes, and what to do about it.

    The exit code is 1 if something does not work. A bug report needs its output.
    """

    interpreter: Interpreters = ()
    """Another environment's Python for a framework."""


@dataclass(frozen=True, kw_only=True)
class Recipes(Tabled):
    """List the named recipes, or all fields of a recipe."""

    fields: bool = False
    """Show every field of a recipe: its flag, type or choices, default and meaning."""


@dataclass(frozen=True, kw_only=True)
class Describe(Tabled):
    """Print the layers of a variant: kernel, output shape, parameters, MACs."""

    variant: Annotated[Positional[str], arg(metavar="VARIANT|FILE.py:NAME")]
    """A name from `alexnet variants`, or a network of your own."""
    num_classes: int = 10
    """Number of logits."""
    # typing.Optional, because tyro imports typeguard for `int | None`, which takes 0.1 s.
    input_size: Annotated[Optional[int], by_rule("INT", "the variant's own")] = None  # noqa: UP045
    """Height and width of the images in pixels."""
    width: float = 1.0
    """Multiplier of the numbers of channels and features."""


@dataclass(frozen=True, kw_only=True)
class Train(Tabled):
    """Train one framework and write a run folder."""

    framework: FrameworkFlag = "torch"
    """Framework to train."""
    resume: Annotated[Path | None, value("RUN")] = None
    """Continue this interrupted run; leave the other flags out, because the run has its own."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Compare(Tabled):
    """Train both frameworks with equal weights and batches, and report.

    With --seeds N it says, with an interval over the seeds, whether the frameworks differ in
    accuracy, and how small a difference it could have seen.
    """

    seeds: int = 1
    """Number of seeds; each trains a pair of runs, from the recipe's seed on."""
    resume: Annotated[Path | None, value("FOLDER")] = None
    """Continue this interrupted comparison. Only --interpreter may be given with it."""
    interpreter: Interpreters = ()
    """Python of another environment for a framework."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Parity(Tabled):
    """Prove that both frameworks compute the same, or find the first mismatch.

    Initial weights are He's and dropout masks are shared, whatever the recipe says; otherwise
    differences could stay hidden. The exit code is 0 only if every check holds.
    """

    steps: int = 20
    """Steps of each form of lockstep."""
    torch: Annotated[str | None, value("MODULE:FUNCTION")] = None
    """Function that returns your own torch.nn.Module."""
    tensorflow: Annotated[str | None, value("M:F")] = None
    """Function that returns its port, a keras.Model."""
    torch_training: Annotated[str | None, value("M:F")] = None
    """Function of the model: its loss and optimizer."""
    tensorflow_training: Annotated[str | None, value("MODULE:FUNCTION")] = None
    """The same; by default what compile() was given."""
    inputs: Annotated[str | None, value("FILE|M:F")] = None
    """Array that both models read. (default: noise)"""
    names: Annotated[str | None, value("T=K,...|FILE")] = None
    """PyTorch's layer names to Keras's; or a JSON file."""
    copy_weights: Literal["auto", "always", "never"] = "auto"
    """Copy PyTorch's weights."""
    torch_preprocess: Annotated[str | None, value("M:F")] = None
    """Preprocessing of an image's path or image."""
    tensorflow_preprocess: Annotated[str | None, value("MODULE:NAME")] = None
    """The same in Keras."""
    images: Annotated[str | None, value("FILE|FOLDER")] = None
    """Images for both, in place of generated ones."""
    interpreter: Interpreters = ()
    """Python of another environment for a framework."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Explain(Tabled):
    """Switch each default that differs between PyTorch and Keras, and rank the effects."""

    framework: FrameworkFlag = "torch"
    """Framework in which the factors are switched."""
    only: Annotated[tuple[str, ...], by_rule("FACTOR,...", "all")] = ()
    """Switch these factors only; an unknown name lists all factors."""
    seeds: int = 3
    """Number of seeds for every training, counted from --seed."""
    steps: Annotated[int | None, by_rule("INT", "the recipe's")] = None
    """Training steps, the same as --recipe.steps."""
    resume: Annotated[Path | None, value("FOLDER")] = None
    """Continue this interrupted study. Only --interpreter may be given with it."""
    interpreter: Interpreters = ()
    """Python of another environment for a framework."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=explain_options)


@dataclass(frozen=True, kw_only=True)
class WeightsFlags:
    """Flags of every command that reads a weight file: what the file does not state itself."""

    variant: Annotated[str | None, by_rule("VARIANT|FILE.py:NAME", "from the file")] = None
    """Architecture; required if the file does not name it and its shapes fit several."""
    num_classes: Annotated[int | None, by_rule("INT", "from the file")] = None
    """Number of logits."""
    input_size: Annotated[int | None, by_rule("INT", "from the file")] = None
    """Height and width of the images in pixels."""
    width: Annotated[float | None, by_rule("FLOAT", "from the file")] = None
    """Multiplier of the numbers of channels and features."""
    key: Annotated[str | None, by_rule("KEY", "the only one")] = None
    """Key of the state_dict in a training checkpoint that has several."""
    input_scaling: Annotated[str | None, by_rule("SCALING", "from the file")] = None
    """Scaling of the images that the weights were trained on, such as imagenet."""
    resize_to: Annotated[int | None, by_rule("INT", "from the file")] = None
    """Height and width in pixels to which images were resized before their middle was cut out."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(WeightsFlags, Tabled):
    """Print a run's accuracy, figures per class and confusion matrix.

    A weight file is evaluated anew, on the test images of --data-dir or --dataset; and so is a run
    if one of them is given.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN|WEIGHTS")]
    """Run folder, or a weight file."""
    dataset: Annotated[str | None, by_rule(DATASET_CHOICES, "what --data-dir holds")] = None
    """Dataset whose test images are classified."""
    data_dir: DataDir = None
    test_images: TestImages = None
    classes: Annotated[tuple[str, ...], by_rule("CLASS ...", "all")] = ()
    """Classify images of these classes only."""
    image_size: ImageSize = None
    framework: Annotated[
        str | None, by_rule("{torch,tensorflow}", "the run's own, and torch for a file")
    ] = None
    """Framework that computes the predictions."""
    device: DeviceFlag = "auto"
    """Device."""


@dataclass(frozen=True, kw_only=True)
class Predict(WeightsFlags, Tabled):
    """Predict the classes of image files."""

    run: Annotated[Positional[Path], arg(metavar="RUN|WEIGHTS")]
    """Run folder; a weight file; or torchvision:IMAGENET1K_V1, for the classes of ImageNet."""
    images: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="IMAGE ...", help_behavior_hint="(required)")
    ]
    """Image files of any kind and size."""
    framework: Annotated[
        str | None, by_rule("{torch,tensorflow}", "the run's own, and torch for a file")
    ] = None
    """Framework that computes the predictions."""
    top: int = 3
    """Number of classes to show."""
    device: DeviceFlag = "auto"
    """Device."""


@dataclass(frozen=True, kw_only=True)
class Convert(WeightsFlags, Tabled):
    """Convert a weight file to another format, and compare the outputs.

    Formats: .pt, .pth, .safetensors, .keras and .weights.h5; .h5, .ckpt, .bin and .tar can be read.
    Files of other programs are read too: the network is found from the shapes of its weights.
    """

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """File to read; or torchvision:IMAGENET1K_V1, which is downloaded once."""
    target: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write."""


@dataclass(frozen=True, kw_only=True)
class Report(Tabled):
    """Write report.html again from run folders."""

    runs: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RUN ...", help_behavior_hint="(required)")
    ]
    """Run folders, or the folder of a comparison."""
    output: Path = Path("report.html")
    """File to write."""


@dataclass(frozen=True, kw_only=True)
class Bench(Tabled):
    """Time one side, or two sides in turns.

    SIDE = FRAMEWORK[,workload=WORKLOAD][,FIELD=VALUE...], with fields of the recipe, as in
    torch,workload=tutorial-loop or torch,compile_mode=compiled. Images are noise unless --dataset
    or --data-dir is given. A speed ratio of two frameworks is shown only if their models were found
    equal first, in the precision that is timed. `alexnet bench compare OLD NEW` reports regressions
    between two files of this command.
    """

    sides: Annotated[Positional[tuple[str, ...]], arg(metavar="[SIDE [SIDE]]")] = (
        "torch",
        "tensorflow",
    )
    """One side or two; the same side twice measures the harness itself."""
    workload: Annotated[str, arg(metavar="WORKLOAD")] = "training"
    """What to time. Parts of a step: training, training-from-pipeline (with drawing its batches),
    inference, forward, backward, update, transfer, preprocessing. Input: batching, augmentation,
    decoding. Models: building, conversion. The loop of the framework's tutorials: tutorial-loop."""
    batch_size: Annotated[int | None, by_rule("INT", "the recipe's")] = None
    """Images per step, the same as --recipe.global-batch-size."""
    rounds: int = 40
    """Measurement rounds; with two sides, the maximum number of ABBA rounds."""
    budget: float = 120.0
    """Time limit of everything in seconds, the gate and the warm-up included; a round is always
    measured."""
    margin: float = 0.02
    """Smallest relative difference of speed that counts as faster or slower."""
    width_of_interval: float = 0.01
    """Stop when the 95 % interval's half-width is below this fraction of the ratio."""
    warm_up: float = 20.0
    """Time limit of the warm-up in seconds."""
    interpreter: Interpreters = ()
    """Python of another environment for a framework."""
    options: Annotated[BenchOptions, arg(name="")] = field(default_factory=BenchOptions)


@dataclass(frozen=True, kw_only=True)
class BenchCompare(Tabled):
    """Report regressions between two benchmark files, of `alexnet bench` or of pytest-benchmark.

    Cases are matched by what was measured, not by the names of tests. The exit code is 1 if a case
    became slower beyond its threshold, or now runs out of memory.
    """

    old: Annotated[Positional[Path], arg(metavar="OLD")]
    """The file to compare against."""
    new: Annotated[Positional[Path], arg(metavar="NEW")]
    """The file to judge."""
    threshold: float = 0.05
    """Largest relative increase of the time in NEW."""
    threshold_for: Annotated[tuple[str, ...], by_rule("GROUP=FRACTION ...", "none")] = ()
    """Threshold of a workload (training=0.1) or of a workload and variant (training/cifar=0.1)."""
    confidence: float = 0.95
    """Confidence level of the interval of each ratio."""
    normalise: bool = False
    """Compare times in machine units, by each file's own calibration; machines may differ."""
    other_machine: bool = False
    """Compare seconds of different machines nevertheless."""
    strict: bool = False
    """Exit code 1 also if a case is undecided, or if a case of OLD is missing in NEW."""


@dataclass(frozen=True, kw_only=True)
class Versions(Tabled):
    """Show parity and speed over releases: one table, an HTML page and a figure.

    `tox run -m versions` measures in all of its environments and then runs this. The exit code is 1
    if a set of releases was not shown equal.
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder with one folder for each environment, which holds the outputs of `alexnet parity`
    (`parity`) and `alexnet bench` (`bench`)."""
    output: Path = Path("versions.html")
    """The page to write; the figure is written beside it."""


@dataclass(frozen=True, kw_only=True)
class Reproduce(Tabled):
    """Run experiments of the five reports, each framework in a process of its own.

    The reports, R0 to R4, are course reports of 2025 that train AlexNet on CIFAR-10. A run that has
    ended is not run again, and one that was interrupted is resumed.
    """

    ids: Annotated[Positional[tuple[str, ...]], value("[ID ...]")] = ()
    """Names from --list, or 'all'."""
    list: bool = False
    """List the experiments and run nothing; with IDs, also what each trains and assumes."""
    all: bool = False
    """With --list: what every experiment trains, and what its report leaves out."""
    budget: Annotated[str, arg(metavar="{full,hours,minutes}")] = "minutes"
    """How much of an experiment to run; --list explains the budgets."""
    both: bool = False
    """Train each in the other framework too, except networks with a backbone."""
    data_dir: Annotated[Path | None, by_rule("PATH", "the official archive, downloaded")] = None
    """Folder, zip or archive with CIFAR-10."""
    weights: Annotated[tuple[Path, ...], value("PATH ...")] = ()
    """Files to use instead of downloads; one without a published name serves every experiment."""
    output: Path = Path("runs/reports")
    """Directory of the runs, as BUDGET/ID/seed-N/FRAMEWORK."""
    seed: int = 0
    """Seed of weights, batches, augmentation and dropout."""
    threads: Annotated[int | None, by_rule("INT", "the framework's choice")] = None
    """CPU threads of the framework."""
    device: DeviceFlag = "auto"
    """Device to train on."""
    interpreter: Interpreters = ()
    """Python of another environment for a framework."""


@dataclass(frozen=True, kw_only=True)
class Ledger(Tabled):
    """Judge every figure of the five reports: by arithmetic, and by the runs of `reproduce`."""

    runs: Annotated[Positional[Path | None], value("[DIR]")] = None
    """The folder that `alexnet reproduce --output` wrote; without one, no claim was run."""
    all: bool = False
    """Print every claim, pair and finding, not only counts and contradictions."""
    html: Annotated[Path | None, value("PATH")] = None
    """Write the page with every claim, the curves and the tables."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Answer a job's requests on standard input; jobs start their worker processes with it."""

    kind: Annotated[Positional[str], arg(metavar="KIND")]
    """Kind of the requests."""
