"""Docstrings start with a sentence or a noun phrase, and name the shapes of arrays."""

import ast
import re

import pytest
from support.package_sources import TREES

pytestmark = pytest.mark.fast

FRAGMENT = re.compile(
    r"\W*(\Z|(above|after|also|although|and|as|at|because|before|behind|below|beside|between|but|by"
    r"|else|except|for|from|if|in|into|like|likewise|not|of|on|or|over|per|since|so|than|through|to"
    r"|under|unless|until|what|when|while|with|within|without)\b)",
    re.IGNORECASE,
)
"""Prepositions, conjunctions and 'what': a first line that starts with one leaves a word out."""

ARRAYS = re.compile(
    r"\b(Activations|Array|Labels|Logits|NDArray|Pixels|(Keras)?Tensor|Weights|ndarray)\b"
)
"""Names that stand for arrays in annotations."""

SHAPE = re.compile(r"[Ss]hape|[Ss]calar|canonical layout|\(\w+,")


def is_fragment(docstring):
    """Whether a docstring's first line starts with a word that no sentence starts with."""
    return FRAGMENT.match(docstring.splitlines()[0]) is not None


def documented(tree):
    """(name, docstring) of the module and of every class and function in it that has one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                yield getattr(node, "name", "module"), docstring


def annotations(function):
    """The source of a function's annotations."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    nodes = [argument.annotation for argument in every] + [function.returns]
    return [ast.unparse(node) for node in nodes if node is not None]


def public_functions(body):
    """The public functions in a module's body, and the public methods of its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def shapeless(tree):
    """The public functions that take or give arrays and whose docstring names no shape."""
    for function in public_functions(tree.body):
        if ARRAYS.search(" ".join(annotations(function))):
            docstring = ast.get_docstring(function) or ""
            if not SHAPE.search(docstring):
                yield function.name


def test_docstrings_start_with_a_sentence_or_a_noun_phrase():
    found = {
        f"{module}: {name}: {docstring.splitlines()[0]}"
        for module, tree in TREES.items()
        for name, docstring in documented(tree)
        if is_fragment(docstring)
    }
    assert found == set()


def test_functions_of_arrays_name_their_shapes():
    found = {f"{module}: {name}" for module, tree in TREES.items() for name in shapeless(tree)}
    assert found == set()


def test_fragments_are_found():
    bad = ("Of the latest steps.", "If any accuracy is.", "As JSON has it.", "What is to do.", ".")
    good = ("Indices of the batches.", "Returns the loss.", "Whether all layers learn.", "`a`: b.")
    assert [line for line in (*bad, *good) if is_fragment(line)] == list(bad)


def test_functions_without_shapes_are_found():
    source = '''
def silent(images: "Pixels") -> None:
    """Takes images."""
def told(images: NDArray[np.uint8]) -> Weights:
    """Takes images of shape (batch, height, width, 3)."""
class Kept:
    def method(self) -> NDArray[Any] | None:
        pass
def _private(images: Pixels) -> None:
    pass
def other(count: int) -> str:
    """Counts."""
'''
    assert list(shapeless(ast.parse(source))) == ["silent", "method"]
