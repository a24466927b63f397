"""README.md is short, its commands parse, and its table of variants is the generated one."""

import re
import shlex
from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.cli.command_table import COMMANDS
from alexnet_impl.cli.parsing import parse
from alexnet_impl.report.listings import markdown_variants

README = Path(alexnet_impl.__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")

pytestmark = pytest.mark.fast

PLACEHOLDERS = re.compile(r"\b[A-Z]{3,}\b|\.\.\.|[\[\]<>]")
"""A line with RUN, IMAGE... or [--flag] shows a form; it is not a command to copy."""
MAX_LINES = 120


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


FABRICATED = """
```sh
$ pip install -e ".[all]" && alexnet compare  # under two minutes
alexnet train --variant slim \\
    --seed 1
alexnet evaluate RUN
pytest -m fast
```
"""


def test_commands_are_found_in_shell_blocks():
    assert list(alexnet_commands(FABRICATED)) == [
        ["compare"],
        ["train", "--variant", "slim", "--seed", "1"],
    ]


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
        parse(arguments)


def test_readme_lists_every_command_in_the_order_of_the_help():
    table = TEXT.partition("| command | purpose |")[2].partition("\n\n")[0]
    shown = [name for name, command in COMMANDS.items() if command.group]
    assert re.findall(r"^\| `alexnet ([a-z ]+)` \|", table, re.MULTILINE) == shown


def test_readme_shows_the_report():
    assert "](docs/report.png)" in TEXT


def test_readme_has_the_generated_table_of_variants():
    assert markdown_variants() in TEXT


def test_readme_is_short():
    assert len(TEXT.splitlines()) <= MAX_LINES
