"""With --json a command prints its result on standard output, and nothing else."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.measured import EQUAL, MACHINE_FACTS, pair, side

from alexnet_impl.cli import main, output
from alexnet_impl.cli.command_table import COMMANDS
from alexnet_impl.cli.flags import Tabled
from alexnet_impl.machine import watch
from alexnet_impl.measurement import kept_rounds
from alexnet_impl.measurement.recording import entry_of, write_recording
from alexnet_impl.network.variants import VARIANTS
from alexnet_impl.recipe.named import RECIPES

pytestmark = pytest.mark.fast

WITHOUT_A_TABLE = {"worker"}


@pytest.fixture
def result(capsys):
    """Run a command with --json: (exit code, the result), and with it the text on stderr."""

    def result(*arguments):
        code = main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        result.err = printed.err
        return code, json.loads(printed.out)

    return result


def test_every_command_that_prints_a_table_takes_json():
    without = {name for name, one in COMMANDS.items() if not issubclass(one.flags, Tabled)}
    assert without == WITHOUT_A_TABLE


def test_variants_are_numbers(result):
    code, found = result("variants")
    assert code == 0
    by_name = {one["variant"]: one for one in found}
    assert by_name.keys() >= VARIANTS.keys()
    assert by_name["torchvision"]["published_num_params"] == {"1000": 61100840, "10": 57044810}
    assert by_name["vgg16"]["num_macs"] is None
    assert "torchvision" in result.err


def test_describe_gives_layers_and_totals(result):
    _, found = result("describe", "cifar")
    assert found["num_params"] == 29585290
    assert found["layers"][0]["output_shape"] == [96, 32, 32]


def test_recipes_and_their_fields_are_values(result):
    _, found = result("recipes")
    assert found["quick"]["learning_rate"] == RECIPES["quick"].learning_rate
    _, fields = result("recipes", "--fields")
    assert {one["field"] for one in fields} >= {"learning_rate", "precision"}


def test_experiments_are_listed(result):
    _, found = result("reproduce", "--list")
    assert "R3-torch" in {one["id"] for one in found}


def test_ledger_gives_every_claim(result):
    _, found = result("ledger")
    assert len(found["entries"]) == 467


def test_regressions_are_numbers_with_their_outcome(result, tmp_path):
    done = pair()
    entries = [entry_of(one, EQUAL) for one in (done.first, done.second)]
    write_recording(tmp_path, MACHINE_FACTS, entries, [(done, EQUAL)])
    code, found = result("bench", "compare", tmp_path, tmp_path)
    assert code == 0
    assert [case["regression"] for case in found["cases"]] == [False, False]
    assert found["cases"][0]["new_per_second"] == pytest.approx(1280)


def test_bench_gives_what_its_file_holds_and_writes_a_page(result, monkeypatch, tmp_path):
    monkeypatch.setattr(
        kept_rounds, "measure", lambda case, *_: side(case.config.framework, 0.1, 0.1)
    )
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    folder = tmp_path / "bench"
    code, found = result("bench", "torch", "--output", folder)
    assert code == 0
    assert found == json.loads((folder / "bench.json").read_text())
    assert "PyTorch: 1,280 images/s" in (folder / "bench.html").read_text()


def test_an_error_leaves_standard_output_empty(capsys):
    assert main(["describe", "cifer", "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("alexnet: error: Unknown variant 'cifer'.")


def test_result_is_not_computed_without_the_flag(capsys, monkeypatch):
    monkeypatch.setattr("alexnet_impl.cli.listings.variants_json", lambda: pytest.fail("computed"))
    assert main(["variants"]) == 0
    assert "torchvision" in capsys.readouterr().out


def test_json_has_no_number_that_is_not_finite_and_no_objects():
    @dataclasses.dataclass
    class Found:
        path: Path
        values: tuple

    values = (np.float32(0.5), np.int64(3), math.nan, math.inf, None, True, "\x1b[31m")
    text = output.json_text({1: Found(path=Path("a") / "b", values=values)})
    assert json.loads(text) == {
        "1": {"path": str(Path("a/b")), "values": [0.5, 3, None, None, None, True, "\x1b[31m"]}
    }
    assert "\x1b" not in text
