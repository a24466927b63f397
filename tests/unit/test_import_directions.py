"""Imports point down only, in short chains, and the tree stays small: read from every module."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support import package_sources
from support.package_sources import PACKAGE, TREES

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
    ("testing",),
    ("api", "cli"),
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

MIRRORS = (
    {"frameworks", "frameworks.torch", "frameworks.tensorflow", "network"},
    {"report.run", "report.bench", "report.explain", "report.ledger", "report.parity"},
    {"measurement", "report.bench"},
    {"report", "cli"},
)
"""Folders that mirror each other on purpose: modules in them may share a name."""

MOST_MODULES, MOST_FOLDERS, LONGEST_CHAIN = 10, 17, 16

RANKS = {unit: rank for rank, tier in enumerate(TIERS) for unit in tier}


def unit_of(module):
    """The longest unit that contains a dotted name below the package, or None."""
    parts = module.split(".") if module else []
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if name in RANKS:
            return name
    return "" if not module else None


def module_name(path):
    """The dotted name below the package: 'data.batches', and '' for its __init__."""
    parts = Path(path).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_names(tree):
    """Every dotted name that is imported anywhere in the module, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


SOURCES = {module_name(path): source for path, source in package_sources.SOURCES.items()}
IMPORTS = {module_name(path): list(imported_names(tree)) for path, tree in TREES.items()}


def own_imports(names):
    """Those of the imported names that are modules of this package, as names below it."""
    for name in names:
        root, _, below = name.partition(".")
        if root != "alexnet_impl":
            continue
        # `from alexnet_impl.network.spec import trace` names a function or a module.
        yield below if below in SOURCES else below.rpartition(".")[0]


def complaints(module, names):
    """What is wrong with the imports of one module, as sentences; none if all is well."""
    unit = unit_of(module)
    for target in own_imports(names):
        other = unit_of(target)
        if other != unit and RANKS[other] >= RANKS[unit]:
            yield f"{module} imports {target}, which is not below it"
    for name in names:
        if name.startswith("."):
            yield f"{module} imports relatively: {name}"
        root = name.partition(".")[0]
        if root in HOMES and unit != HOMES[root]:
            yield f"{module} imports {root}, which is at home in {HOMES[root]}"


@pytest.mark.fast
def test_every_module_has_a_place_and_every_place_a_module():
    assert [name for name in SOURCES if unit_of(name) is None] == []
    assert [unit for unit in RANKS if unit not in SOURCES] == []


@pytest.mark.fast
def test_modules_import_only_from_below():
    found = [line for module, names in IMPORTS.items() for line in complaints(module, names)]
    assert found == []


@pytest.mark.fast
def test_imports_that_point_up_are_reported():
    wrong = (
        ("network.spec", "from alexnet_impl.recipe.recipe import Recipe", "recipe"),
        ("network.spec", "import alexnet_impl.recipe.recipe", "recipe"),
        ("network.spec", "from alexnet_impl import recipe", "recipe"),
        ("network.spec", "def f():\n    from alexnet_impl.cli import main", "cli"),
        ("data.batches", "from alexnet_impl.weights.canonical import Weights", "weights"),
        ("runs.folder", "from alexnet_impl import __version__", ""),
        (
            "frameworks.torch.model",
            "from alexnet_impl.frameworks.tensorflow.model import build_model",
            "frameworks.tensorflow.model",
        ),
        ("frameworks", "from alexnet_impl.frameworks.torch import build_model", "frameworks.torch"),
        ("training", "import torch", "torch"),
        ("training", "from torch import nn", "torch"),
        ("frameworks.torch.model", "import keras.ops", "keras"),
        ("frameworks.tensorflow.model", "import jax", "jax"),
        ("cli", "from .flags import Train", "relatively"),
    )
    for module, source, target in wrong:
        (complaint,) = complaints(module, list(imported_names(ast.parse(source))))
        assert complaint.startswith(f"{module} imports {target}")


@pytest.mark.fast
def test_imports_that_point_down_are_not_reported():
    right = (
        ("cli", "from alexnet_impl.network.spec import trace"),
        ("data.batches", "from alexnet_impl.data.dataset import Split"),
        ("frameworks.torch.model", "import torch\nfrom alexnet_impl.network import spec as s"),
        ("frameworks.torch.model", "from alexnet_impl.frameworks import StepValues"),
        ("training", "import numpy\nimport torchmetrics"),
    )
    for module, source in right:
        assert list(complaints(module, list(imported_names(ast.parse(source))))) == []


def longest_chain(edges):
    """The longest chain of modules that import each other.

    Raises:
        CycleError: If they do so in a circle.
    """
    chains = {}
    for name in TopologicalSorter(edges).static_order():
        below = max((chains[target] for target in edges.get(name, ())), key=len, default=[])
        chains[name] = [name, *below]
    return max(chains.values(), key=len)


EDGES = {name: set(own_imports(names)) - {name} for name, names in IMPORTS.items()}


@pytest.mark.fast
def test_modules_do_not_import_each_other_in_a_circle():
    longest_chain(EDGES)  # raises CycleError, which names them


@pytest.mark.fast
def test_circles_and_chains_of_imports_are_found():
    with pytest.raises(CycleError, match="'b'"):
        longest_chain({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}, "d": {"c"}}) == ["a", "b", "c"]


@pytest.mark.fast
def test_chains_of_imports_are_short():
    chain = longest_chain(EDGES)
    assert len(chain) <= LONGEST_CHAIN, chain


@pytest.mark.fast
def test_the_top_level_is_small():
    inside = [path for path in PACKAGE.iterdir() if not path.name.startswith("__pycache__")]
    modules = sorted(path.stem for path in inside if path.suffix == ".py")
    folders = sorted(path.name for path in inside if path.is_dir())
    assert len(modules) <= MOST_MODULES, modules
    assert len(folders) <= MOST_FOLDERS, folders


@pytest.mark.fast
def test_modules_share_a_name_only_where_their_folders_mirror_each_other():
    folders = defaultdict(set)
    for path in PACKAGE.rglob("[!_]*.py"):
        folders[path.stem].add(module_name(path.relative_to(PACKAGE).parent / "__init__.py"))
    shared = {stem: sorted(places) for stem, places in folders.items() if len(places) > 1}
    assert {
        stem: places
        for stem, places in shared.items()
        if not any(mirror.issuperset(places) for mirror in MIRRORS)
    } == {}


@pytest.mark.fast
def test_keras_part_does_not_import_tensorflow():
    for module in KERAS_ALONE:
        names = IMPORTS[f"frameworks.tensorflow.{module}"]
        roots = {name.partition(".")[0] for name in names}
        assert "keras" in roots, module
        assert "tensorflow" not in roots, module


@pytest.mark.fast
def test_both_frameworks_have_the_same_files():
    folders = [PACKAGE / "frameworks" / name for name in ("torch", "tensorflow")]
    torch, tensorflow = ({path.name for path in folder.glob("*.py")} for folder in folders)
    # A user's calls are repeated with other functions in PyTorch alone.
    assert torch - tensorflow == {"user_functions.py"}
    # What Keras lacks and PyTorch has: layers, and updates in one pass.
    assert tensorflow - torch == {"layers.py", "fused.py"}


@pytest.mark.fast
def test_modules_are_imported_by_name_in_four_places():
    """No reader of the source can see such an import: those of the package's public names, that of
    a command's handler, the frameworks' lazy one, and that of a user's own module, whose name is
    known only when it is given."""
    hidden = [
        module
        for module, source in SOURCES.items()
        if "import_module" in source or "__import__" in source
    ]
    assert hidden == ["", "cli.command_table", "frameworks", "network.user_code"]


CORE = [
    f"alexnet_impl.{module}".rstrip(".")
    for module in SOURCES
    if unit_of(module) not in {"__main__", "frameworks.torch", "frameworks.tensorflow"}
]


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(["alexnet_impl.cli", "alexnet_impl.training.start"], marks=pytest.mark.fast),
        pytest.param(CORE, marks=pytest.mark.slow),
    ],
    ids=["main", "all"],
)
def test_the_core_loads_no_framework(modules):
    """And the package itself loads no library that takes long."""
    code = (
        "import importlib, json, sys\n"
        "import alexnet_impl\n"
        "heavy = {'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "loaded = {'torch', 'tensorflow', 'keras', 'jax', 'triton'} & set(sys.modules)\n"
        "print(json.dumps([sorted(heavy), sorted(loaded)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
