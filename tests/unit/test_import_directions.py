"""Arrows point one way: what may import what, read from the source of every module."""

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_impl

pytestmark = pytest.mark.fast

PACKAGE = Path(alexnet_impl.__file__).parent

TIERS = (
    ("errors",),
    ("files",),
    ("typed_json",),
    ("network",),
    ("data",),
    ("stats",),
    ("machine",),
    ("recipe",),
    ("weights",),
    ("frameworks",),
    ("frameworks.torch", "frameworks.tensorflow"),
    ("runs",),
    ("training",),
    ("processes",),
    ("parity",),
    ("ports",),
    ("explain",),
    ("compare", "convert", "predict"),
    ("measurement",),
    ("reproduction",),
    ("report",),
    ("cli",),
    ("", "__main__"),
)
"""Lowest first; '' is the package's own __init__. A unit is a module, or a folder with all that is
in it, and may import from tiers below its own and from itself: not from its neighbours."""

HOMES = {
    "torch": "frameworks.torch",
    "torchvision": "frameworks.torch",
    "triton": "frameworks.torch",
    "tensorflow": "frameworks.tensorflow",
    "keras": "frameworks.tensorflow",
    "jax": None,
}
"""Where a framework may be imported; nowhere else."""

KERAS_ALONE = ("model", "layers", "weights", "optimizers", "backbones")
"""Modules of frameworks.tensorflow that Keras on another backend shares."""

RANKS = {unit: rank for rank, tier in enumerate(TIERS) for unit in tier}


def unit_of(module):
    """The longest unit that a dotted name below the package lies in; None if there is none."""
    parts = module.split(".") if module else []
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if name in RANKS:
            return name
    return "" if not module else None


def module_name(path):
    """The dotted name below the package: 'data.batches', and '' for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def imported_names(source):
    """Every dotted name that is imported anywhere in the source, functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(source, modules):
    """The modules of this package that the source imports, as names below the package."""
    for name in imported_names(source):
        root, _, below = name.partition(".")
        if root != "alexnet_impl":
            continue
        # `from alexnet_impl.spec import trace` names something in spec, or a module below it.
        yield below if below in modules else below.rpartition(".")[0]


def upward_imports(module, source, modules=SOURCES):
    """What is wrong with the imports of one module, as sentences; none if all is well."""
    unit = unit_of(module)
    for target in own_imports(source, modules):
        other = unit_of(target)
        if other != unit and RANKS[other] >= RANKS[unit]:
            yield f"{module} imports {target}, which is not below it"
    for name in imported_names(source):
        if name.startswith("."):
            yield f"{module} imports relatively: {name}"
        root = name.partition(".")[0]
        if root in HOMES and unit != HOMES[root]:
            yield f"{module} imports {root}, which is at home in {HOMES[root]}"


def test_every_module_has_a_place():
    assert [name for name in SOURCES if unit_of(name) is None] == []


def test_every_place_has_a_module():
    assert [unit for unit in RANKS if unit not in SOURCES] == []


@pytest.mark.parametrize("module", SOURCES, ids=lambda name: name or "__init__")
def test_module_imports_only_from_below(module):
    assert list(upward_imports(module, SOURCES[module])) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        (
            "network.spec",
            "from alexnet_impl.recipe.recipe import Recipe",
            "network.spec imports recipe",
        ),
        ("network.spec", "import alexnet_impl.recipe.recipe", "network.spec imports recipe"),
        ("network.spec", "from alexnet_impl import recipe", "network.spec imports recipe"),
        (
            "network.spec",
            "def f():\n    from alexnet_impl.cli import main",
            "network.spec imports cli",
        ),
        (
            "data.batches",
            "from alexnet_impl.weights.canonical import Weights",
            "data.batches imports weights",
        ),
        (
            "data.batches",
            "from alexnet_impl.recipe.recipe import Recipe",
            "data.batches imports recipe",
        ),
        ("runs.folder", "from alexnet_impl import __version__", "runs.folder imports "),
        ("report.page", "from alexnet_impl.cli import main", "report.page imports cli"),
        (
            "frameworks.torch.model",
            "from alexnet_impl.frameworks.tensorflow.model import build_model",
            "frameworks.torch.model imports frameworks.tensorflow.model",
        ),
        (
            "frameworks",
            "from alexnet_impl.frameworks.torch import build_model",
            "frameworks imports frameworks.torch",
        ),
        ("training", "import torch", "training imports torch"),
        ("training", "from torch import nn", "training imports torch"),
        ("frameworks.torch.model", "import keras.ops", "frameworks.torch.model imports keras"),
        ("frameworks.tensorflow.model", "import jax", "frameworks.tensorflow.model imports jax"),
        ("cli", "from .flags import Train", "cli imports relatively"),
    ],
)
def test_import_that_points_up_is_reported(module, source, complaint):
    complaints = list(upward_imports(module, source))
    assert len(complaints) == 1
    assert complaints[0].startswith(complaint)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli", "from alexnet_impl.network.spec import trace"),
        ("data.batches", "from alexnet_impl.data.dataset import Split"),
        ("frameworks.torch.model", "import torch\nfrom alexnet_impl.network import spec as s"),
        ("frameworks.torch.model", "from alexnet_impl.frameworks import StepValues"),
        ("training", "import numpy\nimport torchmetrics"),
    ],
)
def test_import_that_points_down_is_not_reported(module, source):
    assert list(upward_imports(module, source)) == []


@pytest.mark.parametrize("module", KERAS_ALONE)
def test_keras_part_does_not_import_tensorflow(module):
    roots = {
        name.partition(".")[0]
        for name in imported_names(SOURCES[f"frameworks.tensorflow.{module}"])
    }
    assert "keras" in roots
    assert "tensorflow" not in roots


def test_both_frameworks_have_the_same_files():
    folders = [PACKAGE / "frameworks" / name for name in ("torch", "tensorflow")]
    torch, tensorflow = ({path.name for path in folder.glob("*.py")} for folder in folders)
    assert torch <= tensorflow
    # What Keras lacks and PyTorch has: layers, and updates in one pass.
    assert tensorflow - torch == {"layers.py", "fused.py"}


def test_modules_are_imported_by_name_in_two_places():
    """An import that no reader of the source can see, but for the frameworks' lazy one, and that
    of a user's own module, whose name is known only when it is given."""
    hidden = [
        module
        for module, source in SOURCES.items()
        if "import_module" in source or "__import__" in source
    ]
    assert hidden == ["frameworks", "frameworks.user_model"]


def in_circles(edges):
    """The names that lead back to themselves."""
    reach = {name: set(targets) for name, targets in edges.items()}
    for middle, start in itertools.product(edges, edges):
        if middle in reach[start]:
            reach[start] |= reach[middle]
    return sorted(name for name, targets in reach.items() if name in targets)


def test_modules_do_not_import_each_other_in_a_circle():
    edges = {name: set(own_imports(source, SOURCES)) - {name} for name, source in SOURCES.items()}
    assert in_circles(edges) == []


def test_circle_of_imports_is_reported():
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


@pytest.mark.parametrize(
    "module",
    [
        "alexnet_impl",
        "alexnet_impl.cli",
        "alexnet_impl.cli.commands",
        "alexnet_impl.training.start",
    ],
)
def test_import_loads_no_framework(module):
    code = (
        f"import sys, {module}; "
        "print(sorted({'torch', 'tensorflow', 'keras', 'jax', 'triton'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
