"""Terminal tables of what can be chosen: variants with their layers, and named recipes.

Kept apart from tables of runs, so that `alexnet variants` imports no statistics.
"""

import ast
from collections.abc import Iterator
from dataclasses import fields
from inspect import getsource
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from alexnet_impl.network.spec import (
    Backbone,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LocalResponseNorm,
    MaxPool,
    Relu,
    Spec,
    backbone_of,
    kernel_text,
    trace,
)
from alexnet_impl.network.variants import BACKBONE_VARIANTS, VARIANTS, Variant, build_spec
from alexnet_impl.recipe.named import PURPOSES, RECIPES, TRANSFER_RECIPES
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report import formatting as numbers
from alexnet_impl.report.fitted_table import FittedTable


def variants_table() -> Table:
    """Every variant with its parameter and MAC totals, one a row."""
    table = _table(title="Variants", narrow=True)
    table.add_column("variant", style="bold", no_wrap=True)
    for header in ("parameters\n(10 classes)", "published\n(classes)", "input", "MACs"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, variant in (VARIANTS | BACKBONE_VARIANTS).items():
        table.add_row(name, *_variant_numbers(name, variant, "\n"))
    return table


def variants_json() -> list[dict[str, Any]]:
    """Every variant with its totals and its source, for --json."""
    found = []
    for name, variant in (VARIANTS | BACKBONE_VARIANTS).items():
        spec = build_spec(name)
        totals = trace(spec)
        found.append(
            {
                "variant": name,
                "num_params": totals.num_params,
                "published_num_params": variant.published_num_params,
                "input_size": variant.input_size,
                "num_macs": None if backbone_of(spec) else totals.num_macs,
                "about": variant.about,
                "source": variant.source,
            }
        )
    return found


def sources_table() -> Table:
    """Every variant with what sets it apart and its source, one a row."""
    table = _table(title="Sources", narrow=True)
    table.add_column("variant", style="bold", no_wrap=True)
    table.add_column("what it is")
    table.add_column("source")
    for name, variant in (VARIANTS | BACKBONE_VARIANTS).items():
        table.add_row(name, variant.about, variant.source)
    return table


def markdown_variants() -> str:
    """The README's table of variants."""
    headers = (
        *("variant", "parameters (10 classes)", "published (classes)"),
        *("input", "MACs", "what it is", "source"),
    )
    lines = [f"| {' | '.join(headers)} |", "|---|--:|--:|--:|--:|---|---|"]
    for name, variant in VARIANTS.items():
        cells = (f"`{name}`", *_variant_numbers(name, variant, ", "), variant.about, variant.source)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _variant_numbers(name: str, variant: Variant, separator: str) -> tuple[str, str, str, str]:
    spec = build_spec(name)
    totals = trace(spec)
    published = [
        f"{numbers.count(total)} ({classes})"
        for classes, total in variant.published_num_params.items()
    ]
    return (
        numbers.count(totals.num_params),
        separator.join(published) or numbers.MISSING,
        f"{variant.input_size}x{variant.input_size}",
        numbers.MISSING if backbone_of(spec) else f"{totals.num_macs / 1e6:,.0f} M",
    )


def describe_table(spec: Spec) -> Table:
    """The layers of a network, one a row, with the totals below."""
    totals = trace(spec)
    table = _table(title=f"{spec.name}, input {numbers.shape(spec.input_shape)}")
    table.add_column("layer", style="bold", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("kernel", overflow="fold")
    for header in ("output shape", "parameters", "MACs"):
        table.add_column(header, justify="right", no_wrap=True)
    uncounted = backbone_of(spec)
    for step in totals.layers:
        macs = numbers.count(step.num_macs) if step.num_macs else ""
        table.add_row(
            step.layer.name,
            _KINDS[type(step.layer)],
            kernel_text(step.layer),
            numbers.shape(step.output_shape),
            numbers.count(step.num_params) if step.num_params else "",
            numbers.MISSING if step.layer is uncounted else macs,
        )
    table.add_section()
    macs = numbers.count(totals.num_macs) if uncounted is None else numbers.MISSING
    table.add_row("total", "", "", "", numbers.count(totals.num_params), macs, style="bold")
    return table


def describe_json(spec: Spec) -> dict[str, Any]:
    """The layers of a network with its totals, for --json."""
    totals, uncounted = trace(spec), backbone_of(spec)
    return {
        "name": spec.name,
        "input_shape": spec.input_shape,
        "num_params": totals.num_params,
        "num_macs": None if uncounted else totals.num_macs,
        "layers": [
            {
                "layer": step.layer.name,
                "kind": _KINDS[type(step.layer)],
                "kernel": kernel_text(step.layer),
                "output_shape": step.output_shape,
                "num_params": step.num_params,
                "num_macs": None if step.layer is uncounted else step.num_macs,
            }
            for step in totals.layers
        ],
    }


_KINDS: dict[type, str] = {
    Conv: "conv",
    Relu: "ReLU",
    MaxPool: "max-pool",
    LocalResponseNorm: "LRN",
    Flatten: "flatten",
    Dropout: "dropout",
    Dense: "dense",
    Backbone: "backbone",
    GlobalAveragePool: "average-pool",
}


def recipes_table() -> Table:
    """Every named recipe with its purpose and the fields that differ from the defaults."""
    table = _table(title="Recipes", narrow=True)
    table.add_column("recipe", style="bold", no_wrap=True)
    table.add_column("purpose", ratio=2)
    table.add_column("differs from the defaults in", ratio=3)
    usual = Recipe().to_dict()
    for name, recipe in (RECIPES | TRANSFER_RECIPES).items():
        changes = (
            f"{field} {numbers.value_text(value)}"
            for field, value in recipe.to_dict().items()
            if value != usual[field]
        )
        table.add_row(name, PURPOSES[name], ", ".join(changes))
    return table


def recipes_json() -> dict[str, Any]:
    """Every named recipe with its purpose and all of its fields, for --json."""
    return {
        name: {"purpose": PURPOSES[name], **recipe.to_dict()}
        for name, recipe in (RECIPES | TRANSFER_RECIPES).items()
    }


def fields_json() -> list[dict[str, Any]]:
    """Every field of a recipe with its values, default and meaning, for --json."""
    hints, meanings = get_type_hints(Recipe), _field_docstrings(Recipe)
    return [
        {
            "field": field.name,
            "values": _values(hints[field.name]),
            "default": field.default,
            "meaning": meanings[field.name],
        }
        for field in fields(Recipe)
    ]


def recipe_fields() -> Iterator[RenderableType]:
    """Every field of a recipe as its flag: type or choices, default, meaning."""
    hints = get_type_hints(Recipe)
    meanings = _field_docstrings(Recipe)
    for field in fields(Recipe):
        flag = field.name.replace("_", "-")
        default = numbers.value_text(field.default)
        yield Text.assemble(
            (f"--recipe.{flag}", "bold"), f" {_values(hints[field.name])} (default: {default})"
        )
        yield Padding(Text(meanings[field.name]), (0, 0, 0, 4))


def _values(hint: Any) -> str:
    """The choices of a field, or its type."""
    if get_origin(hint) is Literal:
        return f"{{{','.join(get_args(hint))}}}"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _field_docstrings(kind: type) -> dict[str, str]:
    """The string below each field in the source of a dataclass, on one line."""
    (body,) = (node for node in ast.parse(getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(str(below.value.value).split())
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


def _table(title: str, *, narrow: bool = False) -> Table:
    table = FittedTable(title=title, title_justify="left")
    if narrow:  # whole on 80 columns
        table.box, table.pad_edge, table.collapse_padding = box.SIMPLE_HEAD, False, True
    return table
