"""What `alexnet variants`, `describe` and `recipes` show is what the package holds."""

from dataclasses import fields

import pytest
from support.tables import row_of, shown

from alexnet_impl.network.variants import BACKBONE_VARIANTS, VARIANTS, build_spec
from alexnet_impl.recipe.named import PURPOSES, RECIPES, TRANSFER_RECIPES
from alexnet_impl.recipe.recipe import Recipe
from alexnet_impl.report.listings import (
    describe_table,
    markdown_variants,
    recipe_fields,
    recipes_table,
    sources_table,
    variants_table,
)

pytestmark = pytest.mark.fast


def test_every_variant_has_its_totals_and_its_source():
    for name, variant in (VARIANTS | BACKBONE_VARIANTS).items():
        cells = row_of(variants_table(), name)
        published = [f"{total:,} ({n})" for n, total in variant.published_num_params.items()]
        assert cells[2] == ("\n".join(published) or "—")
        assert row_of(sources_table(), name) == [name, variant.about, variant.source]
    assert row_of(variants_table(), "cifar")[1] == "29,585,290"


def test_markdown_variants_has_one_row_per_variant_of_equal_width():
    lines = markdown_variants().splitlines()
    assert len(lines) == 2 + len(VARIANTS)
    assert {line.count("|") for line in lines} == {8}
    assert "| `cifar` | 29,585,290 | 29,585,290 (10) | 32x32 | 230 M |" in markdown_variants()


def test_describe_table_gives_kernels_shapes_and_totals():
    table = describe_table(build_spec("cifar"))
    assert row_of(table, "conv2") == [
        "conv2",
        "conv",
        "3x3 s1 p1",
        "256 x 15 x 15",
        "221,440",
        "49,766,400",
    ]
    assert row_of(table, "total")[-2:] == ["29,585,290", "230,408,192"]


def test_recipes_table_has_the_purpose_and_only_what_differs():
    assert PURPOSES.keys() == (RECIPES | TRANSFER_RECIPES).keys()
    assert row_of(recipes_table(), "report") == [
        "report",
        PURPOSES["report"],
        "learning_rate 0.001, epochs 20, global_batch_size 30",
    ]
    for name, recipe in (RECIPES | TRANSFER_RECIPES).items():
        changes = row_of(recipes_table(), name)[-1]
        named = {part.split(" ")[0] for part in changes.split(", ")}
        differing = {f.name for f in fields(Recipe) if getattr(recipe, f.name) != f.default}
        assert differing <= named


def test_recipe_fields_are_all_listed_with_choices_default_and_meaning():
    text = shown(*recipe_fields())
    for field in fields(Recipe):
        assert f"--recipe.{field.name.replace('_', '-')} " in text
    assert "--recipe.optimizer {sgd,sgdw,adam,adamw,muon} (default: sgd)\n    sgd: b = " in text
    assert "--recipe.steps int | None (default: none)\n" in text
    assert "--recipe.step-at tuple[float, ...] (default: 0.5, 0.75)\n" in text
