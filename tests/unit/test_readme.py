"""What README.md states is so: its commands parse, its variants and totals are the package's."""

import re
import shlex
from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.cli import _parse
from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import VARIANTS, build_spec
from alexnet_impl.report.listings import markdown_variants

README = Path(alexnet_impl.__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")

pytestmark = pytest.mark.fast

PLACEHOLDERS = re.compile(r"\b[A-Z]{3,}\b|\.\.\.|[\[\]<>]")
"""A line with RUN, IMAGE... or [--flag] shows a form, and is no command to copy."""


def shell_lines(text):
    """The command lines of all fenced blocks, without prompts, comments and continuations."""
    for block in re.findall(r"```(?:sh|bash|shell|console)\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part.strip() for part in line.removeprefix("$ ").split("&&"))


def alexnet_commands(text):
    """The arguments of every `alexnet` command that can be copied."""
    for line in shell_lines(text):
        words = shlex.split(line, comments=True)
        if words[:1] == ["alexnet"] and not PLACEHOLDERS.search(line.partition("#")[0]):
            yield words[1:]


def totals_beside(text, name):
    """Numbers of at least a million in the table rows of a variant."""
    rows = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
    return {int(n.replace(",", "")) for row in rows for n in re.findall(r"\d+(?:,\d{3}){2,}", row)}


def wrong_totals(text):
    """(variant, number) for each number beside a variant that is none of its totals."""
    for name, variant in VARIANTS.items():
        classes = {10, 1000, *variant.published_num_params}
        known = {trace(build_spec(name, num_classes=n)).num_params for n in classes}
        known |= {trace(build_spec(name, num_classes=n)).num_macs for n in classes}
        yield from ((name, number) for number in totals_beside(text, name) - known)


FABRICATED = """
```sh
$ pip install -e ".[all]" && alexnet compare  # under two minutes
alexnet train --variant slim \\
    --seed 1
alexnet evaluate RUN
pytest -m fast
```
| `cifar` | 29,585,290 | 230,408,192 MACs |
| `slim`  | 56,278,667 |
"""


def test_commands_are_found_in_shell_blocks():
    assert list(alexnet_commands(FABRICATED)) == [
        ["compare"],
        ["train", "--variant", "slim", "--seed", "1"],
    ]


def test_wrong_total_is_reported():
    assert list(wrong_totals(FABRICATED)) == [("slim", 56_278_667)]


def test_readme_has_the_two_commands_that_do_all():
    lines = " && ".join(shell_lines(TEXT))
    assert 'pip install -e ".[all]"' in lines
    assert ["compare"] in list(alexnet_commands(TEXT))
    assert "pytest -m fast" in lines


def test_readme_commands_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = list(alexnet_commands(TEXT))
    assert commands
    for arguments in commands:
        _parse(arguments)


def test_readme_names_every_variant_with_its_total():
    for name, variant in VARIANTS.items():
        expected = set(variant.published_num_params.values())
        assert expected <= totals_beside(TEXT, name), name
        assert f"`{name}`" in TEXT
    assert list(wrong_totals(TEXT)) == []


def test_readme_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", TEXT)
    assert [link for link in links if not (README.parent / link).exists()] == []
    assert re.search(r"!\[[^\]]*\]\([^)]+\)", TEXT), "no picture of the report"


def test_readme_has_the_generated_table_of_variants():
    assert markdown_variants() in TEXT
