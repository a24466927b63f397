"""The package's own source: text and syntax tree of every module, read and parsed once."""

import ast
from pathlib import Path

import alexnet_impl

PACKAGE = Path(alexnet_impl.__file__).parent
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))
}
"""Path below the package, such as 'data/batches.py', to the module's text."""
TREES = {path: ast.parse(source) for path, source in SOURCES.items()}
