"""Parsing of the command line: the chosen command, its flags, the help and suggestions.

Only the chosen command's flags are given to tyro: parsing all of them took a second.
"""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, field, fields, make_dataclass, replace
from inspect import cleandoc
from itertools import groupby
from typing import Annotated, Any, get_type_hints

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from tyro.conf import HelptextFromCommentsOff, arg

from alexnet_impl.cli.command_table import COMMANDS, Command
from alexnet_impl.errors import AlexNetError, UnknownNameError, nearest
from alexnet_impl.network.own_network import is_own, load_own_variant
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.recipe.recipe_file import choose_recipe

HELP = {"-h", "--help"}
RECIPE = "--recipe."


class UsageError(AlexNetError):
    """A command or a flag that does not exist."""


def parse(arguments: list[str]) -> tuple[Command, Any]:
    """The chosen command with its flags filled in.

    Raises:
        UsageError: If there is no such command or flag; the message suggests the nearest.
        SystemExit: With 0 after --help or --version, with 2 after tyro refused a value.
    """
    if arguments[:1] == ["--version"]:
        from importlib.metadata import version  # noqa: PLC0415 - takes 0.03 s

        Console(highlight=False).print(f"alexnet {version('alexnet_impl')}")
        raise SystemExit(0)
    if not arguments or arguments[0] in HELP:
        print_help(Console(stderr=not arguments, highlight=False))
        raise SystemExit(0 if arguments else 2)
    command = _choose(arguments)
    return command, _fill_in(command, arguments[len(command.name.split()) :])


def print_help(console: Console) -> None:
    """Print every command with one line each, by group."""
    console.print("usage: alexnet COMMAND [FLAGS]; alexnet COMMAND --help shows the flags")
    shown = (command for command in COMMANDS.values() if command.group)
    for group, commands in groupby(shown, key=lambda command: command.group):
        console.print(f"\n{group}", style="bold")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=13)
        for command in commands:
            table.add_row(command.name, str(command.flags.__doc__).partition("\n")[0])
        console.print(Padding(table, (0, 0, 0, 2)))
    console.print("\n--version prints the version.")


def _choose(arguments: list[str]) -> Command:
    for count in (2, 1):
        if found := COMMANDS.get(" ".join(arguments[:count])):
            return found
    error = UnknownNameError(
        "command", arguments[0], [name for name, one in COMMANDS.items() if one.group]
    )
    raise UsageError(str(error))


def _fill_in(command: Command, arguments: list[str]) -> Any:
    """Parse the flags of one command."""
    if not HELP.isdisjoint(arguments):
        return _parse_flags(command, ["--help"])
    _check_flags(command, arguments)
    switched = _switched(command.flags, arguments)
    return _parse_flags(command, arguments) if switched is None else switched


def _parse_flags(command: Command, arguments: list[str]) -> Any:
    """Give the flags of one command to tyro; those with a recipe take its fields as flags."""
    described: dict[str, Any] = {
        "prog": f"alexnet {command.name}",
        "description": cleandoc(str(command.flags.__doc__)),
        "args": arguments,
        "config": (HelptextFromCommentsOff,),  # docstrings say it; comments take 4 ms to read
    }
    if not _takes_recipe(command):
        return tyro.cli(command.flags, **described)
    chosen = choose_recipe(_recipe_name(command, arguments))
    parsed = tyro.cli(_with_recipe(command.flags, chosen.recipe, arguments), **described)
    given: Any = parsed.command
    variant = given.options.variant
    options = replace(
        given.options,
        recipe=getattr(parsed, "recipe", chosen.recipe),
        given=(*chosen.stated, *_given_fields(arguments)),
        own=load_own_variant(variant) if is_own(variant) else None,
    )
    return replace(given, options=options)


def _takes_recipe(command: Command) -> bool:
    return "options" in get_type_hints(command.flags)


def _switched(kind: type, words: list[str]) -> Any:
    """The flags where only switches are given, as in `reproduce --list`; otherwise None.

    tyro would import typeguard to check the other fields' defaults, which takes 0.1 s.
    """
    known: tuple[Field[Any], ...] = fields(kind)
    switches = {f"--{one.name}": one.name for one in known if one.default is False}
    required = [one for one in known if one.default is MISSING is one.default_factory]
    if required or not switches.keys() >= set(words):
        return None
    return kind(**{switches[word]: True for word in words})


def _with_recipe(kind: type, named: Recipe, arguments: list[str]) -> type[Any]:
    """The flags of a command and its recipe: as one line in the help, otherwise field by field.

    Without a --recipe.FIELD there is no recipe among them, which spares tyro 60 flags.
    """
    found: list[Any] = [("command", Annotated[kind, arg(name="")])]
    if any(argument.startswith(RECIPE) for argument in arguments):
        found.append(("recipe", Recipe, field(default=named)))
    elif arguments == ["--help"]:
        text = "Change one field of the recipe; `alexnet recipes --fields` lists them."
        flag = arg(name="recipe.FIELD", metavar="VALUE", help=text, help_behavior_hint="")
        found.append(("recipe", Annotated[str, flag], field(default="")))
    return make_dataclass("_Flags", found)


def _recipe_name(command: Command, arguments: list[str]) -> str:
    """The value of --recipe, which decides the defaults of all --recipe.FIELD flags."""
    name: str = command.flags().options.recipe_name
    for argument, value in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument.startswith("--recipe="):
            name = argument.removeprefix("--recipe=")
        elif argument == "--recipe" and value:
            name = value
    return name


def _given_fields(arguments: list[str]) -> Iterator[str]:
    """The recipe fields that have a flag on the command line."""
    for argument in arguments:
        if argument.startswith(RECIPE):
            yield _bare(argument.removeprefix(RECIPE)).replace("-", "_")


def _bare(flag: str) -> str:
    """A flag's name without its value, and without the 'no-' that switches it off."""
    return flag.partition("=")[0].replace("_", "-").removeprefix("no-")


def _check_flags(command: Command, arguments: list[str]) -> None:
    """Refuse a flag that the command does not have, with a UsageError that suggests the nearest."""
    hints = get_type_hints(command.flags)
    own = _flags_by_name("--", hints)
    of_recipe = dict[str, str]()
    if _takes_recipe(command):
        own |= _flags_by_name("--", get_type_hints(hints["options"]))
        of_recipe = _flags_by_name(RECIPE, get_type_hints(Recipe))
    for argument in arguments:
        prefix = RECIPE if argument.startswith(RECIPE) else "--"
        name = _bare(argument.removeprefix(prefix))
        known = of_recipe if prefix == RECIPE else own
        if argument.startswith("--") and name not in known:
            likely = of_recipe if prefix == RECIPE else of_recipe | own
            near = nearest(name, likely)
            hint = f" Did you mean {likely[near]}?" if near else ""
            flag = argument.partition("=")[0]
            valid = f"`alexnet {command.name} --help` lists the flags."
            raise UsageError(f"Unknown flag {flag}.{hint} {valid}")


def _flags_by_name(prefix: str, names: Iterable[str]) -> dict[str, str]:
    return {name: prefix + name for name in (one.replace("_", "-") for one in names)}
