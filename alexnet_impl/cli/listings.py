"""Handlers of `alexnet variants`, `recipes` and `describe`; they import no statistics."""

from functools import partial

from rich.console import Console

from alexnet_impl.cli.flags import Describe, Recipes, Variants
from alexnet_impl.cli.output import keep_result
from alexnet_impl.network.own_network import is_own, load_own_variant
from alexnet_impl.network.variants import build_spec
from alexnet_impl.report.listings import (
    describe_json,
    describe_table,
    fields_json,
    recipe_fields,
    recipes_json,
    recipes_table,
    sources_table,
    variants_json,
    variants_table,
)


def variants_command(_: Variants, console: Console) -> int:
    """List the variants."""
    keep_result(console, variants_json)
    console.print(variants_table())
    console.print(sources_table())
    return 0


def recipes_command(command: Recipes, console: Console) -> int:
    """List the named recipes, or every field of a recipe."""
    keep_result(console, fields_json if command.fields else recipes_json)
    if command.fields:
        for renderable in recipe_fields():
            console.print(renderable)
        return 0
    console.print(recipes_table())
    console.print("Defaults, choices and meanings of all fields: alexnet recipes --fields")
    return 0


def describe_command(command: Describe, console: Console) -> int:
    """Print a variant's layers."""
    name = command.variant
    build = load_own_variant(name).build if is_own(name) else partial(build_spec, name)
    spec = build(
        num_classes=command.num_classes, input_size=command.input_size, width=command.width
    )
    keep_result(console, lambda: describe_json(spec))
    console.print(describe_table(spec))
    return 0
