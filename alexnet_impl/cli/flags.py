"""The subcommands and their flags: dataclasses, whose fields' docstrings are the help texts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from alexnet_impl.recipe.named import RECIPES, get_recipe
from alexnet_impl.recipe.recipe import OnCollapse, Recipe

DEFAULT_RECIPE = "quick"
EXPLAIN_RECIPE = "explain"
"""The default of `explain`."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What a training and a benchmark share: a network, a recipe and images, on a machine."""

    variant: str = "cifar"
    """The architecture; `alexnet variants` lists them."""
    width: float | None = None
    """Multiplies channels and features. Default: 1, and 0.25 on the embedded digits."""
    recipe_name: Annotated[str, arg(name="recipe", metavar="NAME")] = DEFAULT_RECIPE
    """Every number of the training; `alexnet recipes` lists them, --recipe.FIELD changes one."""
    dataset: str | None = None
    """digits, cifar10, image_folder or synthetic. Default: what --data-dir holds, else digits."""
    data_dir: Path | None = None
    """A folder, zip or archive with the images."""
    train_images: int | None = None
    """Train on so many images only, evenly from every class."""
    test_images: int | None = None
    """Test on so many images only, evenly from every class."""
    classes: tuple[str, ...] = ()
    """Train and test on these classes alone."""
    image_size: int | None = None
    """Store images of a folder in this size, where they differ in size."""
    seed: int | None = None
    """The same as --recipe.seed."""
    device: str = "auto"
    """auto, cpu or gpu."""
    threads: int | None = None
    """CPU threads of the framework; its own choice by default."""
    output: Path | None = None
    """The folder to write, which must not hold anything yet. Default: one under runs/."""
    recipe: Recipe = field(default_factory=lambda: RECIPES[DEFAULT_RECIPE])


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(NetworkOptions):
    """What `train` and `compare` share."""

    weights: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Begin with these weights: torchvision:IMAGENET1K_V1, keras:imagenet, or a file. Images are
    then preprocessed as those weights need it, unless you say otherwise, which is refused."""
    cache_features: bool = False
    """Compute what frozen layers make of each image once, and train the head on that."""
    on_collapse: OnCollapse = "warn"
    """What to do when the network's units die in the first epoch: stop, warn, or ignore it."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions(NetworkOptions):
    """What `bench` has of these: its default is noise, and as many threads as there are cores."""

    dataset: str | None = None
    """digits, cifar10, image_folder or synthetic. Default: what --data-dir holds, else synthetic,
    which is noise."""
    train_images: int | None = None
    """Take batches from so many images only, evenly from every class; of noise there are as many as
    the batches need."""
    test_images: int | None = None
    """Read so many test images only; none is timed."""
    classes: tuple[str, ...] = ()
    """Take images of these classes alone."""
    threads: int | None = None
    """CPU threads of the framework; as many as there are cores by default."""


def explain_options(recipe_name: str) -> TrainingOptions:
    """The defaults of `explain`: a variant that has padding and dropout to switch.

    Its runs are short and many, and a collapse is one of their results.
    """
    return TrainingOptions(
        variant="torchvision",
        recipe_name=recipe_name,
        recipe=get_recipe(recipe_name),
        on_collapse="ignore",
    )


@dataclass(frozen=True, kw_only=True)
class Variants:
    """List the AlexNets: parameters, MACs, published totals, sources."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """List the named recipes: purpose, and fields that differ from the defaults."""

    fields: bool = False
    """Show every field of a recipe instead: its flag, type or choices, default and meaning."""


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Print a variant layer by layer: kernel, output shape, parameters, MACs."""

    variant: Positional[str]
    """A name from `alexnet variants`."""
    num_classes: int = 10
    """Number of logits."""
    input_size: int | None = None
    """Height and width of the images in pixels; the variant's own by default."""
    width: float = 1.0
    """Multiplies channels and features."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one framework and write a run folder."""

    framework: str = "torch"
    """torch or tensorflow."""
    resume: Path | None = None
    """Go on with this interrupted run instead; every other flag is the run's own."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Train both frameworks on the same bytes from the same weights, and report."""

    resume: Path | None = None
    """Go on with this comparison, which was interrupted; its other flags are its own."""
    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Prove that both frameworks compute the same, check by check, or say where they part and why.

    The initial weights are He's and dropout masks are shared, whatever the recipe says: else a
    comparison would not see much. Exit code 0 only if every check holds.
    """

    steps: int = 20
    """Training steps of each form of lockstep."""
    torch: str | None = None
    """MODULE:FUNCTION that returns your own torch.nn.Module, instead of a variant."""
    tensorflow: str | None = None
    """MODULE:FUNCTION that returns your own keras.Model, its port."""
    names: str | None = None
    """Of your own pair: TORCH_LAYER=KERAS_LAYER,... or a JSON file, where the names differ."""
    copy_weights: Literal["auto", "always", "never"] = "auto"
    """Of your own pair: copy PyTorch's weights into the port; auto: if they have nothing in
    common."""
    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""
    options: Annotated[TrainingOptions, arg(name="")] = field(default_factory=TrainingOptions)


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Switch every default that separates PyTorch and Keras, one at a time, and rank them."""

    framework: str = "torch"
    """Where the factors are switched: torch or tensorflow."""
    only: tuple[str, ...] = ()
    """FACTOR,...: switch these alone; an unknown one lists all there are."""
    seeds: int = 3
    """Train everything with so many seeds, counted up from --seed."""
    steps: int | None = None
    """The same as --recipe.steps."""
    resume: Path | None = None
    """Go on with this explanation, which was interrupted; its other flags are its own."""
    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""
    options: Annotated[TrainingOptions, arg(name="")] = field(
        default_factory=lambda: explain_options(EXPLAIN_RECIPE)
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Print a run's accuracy, per-class figures and confusion matrix."""

    run: Positional[Path]
    """The run folder."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Name the class of image files."""

    run: Annotated[Positional[Path], arg(metavar="RUN|WEIGHTS")]
    """The run folder; or a .safetensors, .keras or published file of weights; or
    torchvision:IMAGENET1K_V1, which names the classes of ImageNet."""
    images: Positional[tuple[Path, ...]]
    """Image files of any kind and size."""
    framework: str | None = None
    """Run the weights in this framework; by default the run's own, and PyTorch for a file."""
    top: int = 3
    """How many classes to show."""
    device: str = "auto"
    """auto, cpu or gpu."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert weights between .pt/.pth, .safetensors, .keras and .weights.h5, and check it.

    Keras 2's .h5 files are read as well.
    """

    source: Annotated[Positional[Path], arg(metavar="IN")]
    """The file to read, or torchvision:IMAGENET1K_V1, which is downloaded once."""
    target: Annotated[Positional[Path], arg(metavar="OUT")]
    """The file to write."""
    variant: str | None = None
    """The network, where the file does not say it."""
    num_classes: int | None = None
    """Number of logits, where the file does not say it."""
    input_size: int | None = None
    """Height and width in pixels, where the file does not say it."""
    width: float | None = None
    """Width multiplier, where the file does not say it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html again from run folders."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, or the folder of a comparison."""
    output: Path = Path("report.html")
    """The file to write."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Answer requests on standard input for one framework; `alexnet parity` starts it."""


@dataclass(frozen=True, kw_only=True)
class PairWorker:
    """Answer requests for one of your own models; `alexnet parity --torch` starts it."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time one side, or two against each other in interleaved rounds.

    `alexnet bench compare OLD NEW` compares two files of this command.

    A SIDE is FRAMEWORK, and behind commas what is its own: work=WORK and fields of the recipe, as
    in torch,work=plain-training or torch,compile_mode=compiled. Images are noise unless --dataset
    or --data-dir says otherwise. A ratio between the frameworks is shown only if their models were
    found equal first, in the precision that is timed.
    """

    sides: Annotated[Positional[tuple[str, ...]], arg(metavar="[SIDE [SIDE]]")] = (
        "torch",
        "tensorflow",
    )
    """One or two; twice the same measures the harness itself."""
    work: str = "training"
    """What to time. Of a step: training, training-from-pipeline (its batches drawn beside it),
    inference, forward, backward, update, transfer, preprocessing. Of the input: batching,
    augmentation, decoding. Of a model: building, conversion. As the framework's tutorials do it:
    plain-training."""
    batch_size: int | None = None
    """The same as --recipe.global-batch-size."""
    rounds: int = 40
    """Groups of calls of one side; of two sides at most so many rounds A B B A."""
    budget: float = 120.0
    """No round, or group of one side, begins after so many seconds."""
    margin: float = 0.02
    """A side counts as faster or slower only beyond this share."""
    width_of_interval: float = 0.01
    """Rounds end once the ratio's interval reaches only this share to either side."""
    warm_up: float = 20.0
    """Warm-up ends after so many seconds even if the times still fall."""
    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""
    options: Annotated[BenchOptions, arg(name="")] = field(default_factory=BenchOptions)


@dataclass(frozen=True, kw_only=True)
class BenchCompare:
    """Compare two files of benchmarks, of `alexnet bench` or of pytest-benchmark.

    Cases are matched by what was measured, whatever the tests are called. Exit code 1 if one has
    become slower beyond its threshold, or does not fit into memory any more.
    """

    old: Annotated[Positional[Path], arg(metavar="OLD")]
    """The file to compare against."""
    new: Annotated[Positional[Path], arg(metavar="NEW")]
    """The file to judge."""
    threshold: float = 0.05
    """NEW may take so much more time, as a share."""
    threshold_for: Annotated[tuple[str, ...], arg(metavar="GROUP=SHARE")] = ()
    """A threshold of its own for a work (training=0.1) or for a work of a variant
    (training/cifar=0.1)."""
    confidence: float = 0.95
    """Of the interval of each ratio."""
    normalise: bool = False
    """Compare times in machine units, by each file's own calibration; machines may differ."""
    other_machine: bool = False
    """Compare seconds of different machines all the same."""
    strict: bool = False
    """Exit code 1 also if the times cannot tell of a case, or if a case of OLD is not in NEW."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """One table over releases, with a page and a picture, from what each environment measured.

    `tox run -m versions` measures in all of its environments and then runs this. Exit code 1 if a
    set of releases was not shown equal.
    """

    folder: Positional[Path]
    """Holds a folder for each environment, with what `alexnet parity` wrote under `parity` and
    `alexnet bench` under `bench`."""
    output: Path = Path("versions.html")
    """The page to write; the picture lies beside it."""


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run experiments of the five reports, each framework in a process of its own.

    A run that has ended is not run again, and one that was interrupted goes on.
    """

    ids: Annotated[Positional[tuple[str, ...]], arg(metavar="ID")] = ()
    """Names from --list, or 'all'."""
    list: bool = False
    """Show what there is, with what each report leaves out, and run nothing."""
    budget: str = "minutes"
    """full: as long as the report, meant for a GPU. hours: all images, at most 3 epochs. minutes:
    5,000 training and 1,000 test images, at most 2 epochs."""
    both: bool = False
    """Train each in the other framework too, by the same recipe; not those with a backbone, for
    the two libraries' are different networks."""
    data_dir: Path | None = None
    """A folder, zip or archive with CIFAR-10; by default the official archive is downloaded."""
    weights: tuple[Path, ...] = ()
    """Files in place of downloads. One with a published name serves the experiments that begin with
    those weights, one of another name all that begin with weights."""
    output: Path = Path("runs/reports")
    """Where runs lie, as BUDGET/ID/seed-N/FRAMEWORK."""
    seed: int = 0
    """Of weights, batches, augmentation and dropout; several seeds make intervals wider and
    honest."""
    threads: int | None = None
    """CPU threads of the framework; its own choice by default."""
    device: str = "auto"
    """auto, cpu or gpu."""
    interpreter: tuple[str, ...] = ()
    """FRAMEWORK=PYTHON: run that framework in another environment."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Judge every figure of the five reports: by arithmetic, and by the runs of `reproduce`."""

    runs: Positional[Path | None] = None
    """The folder that `alexnet reproduce --output` wrote; without one, no claim was run."""
    html: Path | None = None
    """Write the page with every claim, the curves and the tables."""
    json: Path | None = None
    """Write every claim with its verdict and evidence."""


@dataclass(frozen=True, kw_only=True)
class BenchWorker:
    """Time what requests on standard input say; `alexnet bench` starts it."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Train what a request on standard input says; `alexnet compare` starts it."""
