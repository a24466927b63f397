"""JSON to dataclasses: what comes back, and what each refusal names."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from alexnet_impl.errors import RecordError, RunError, WeightsError
from alexnet_impl.typed_json import MOST_NESTED, parse_json, read, to_json

pytestmark = pytest.mark.fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int
    mode: Literal["fast", "slow"] = "fast"

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"count={self.count} must be at least 0")
        if self.count == 100:
            raise RunError("count=100 is refused")
        if self.count == 200:
            raise WeightsError("count=200 is refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner
    share: float = 0.5
    place: Path | None = None
    size: tuple[int, int] = (1, 2)
    rates: tuple[float, ...] = ()
    many: list[Inner] = field(default_factory=list)
    table: dict[str, float] = field(default_factory=dict)
    by_name: dict[str, Inner] = field(default_factory=dict)
    maybe: Inner | None = None


VALUES = {"inner": {"count": 1}}


def test_value_comes_back_from_json_as_it_was():
    value = Outer(
        inner=Inner(count=3, mode="slow"),
        share=1 / 3,
        place=Path("/data/ü"),
        size=(3, 4),
        rates=(0.1, math.inf),
        many=[Inner(count=1), Inner(count=2)],
        table={"a": 1e-300},
        by_name={"x": Inner(count=5)},
        maybe=Inner(count=0),
    )
    assert read(Outer, json.loads(json.dumps(to_json(value)))) == value


def test_missing_fields_take_their_defaults():
    assert read(Outer, VALUES) == Outer(inner=Inner(count=1))


def test_whole_numbers_are_taken_for_floats():
    assert read(Outer, VALUES | {"share": 1}).share == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": "0.5"}, "share='0.5': expected float, got str"),
        ({"share": True}, "share=True: expected float, got bool"),
        ({"place": 3}, "place=3: expected path, got int"),
        ({"size": [1, 2, 3]}, "size=[1, 2, 3]: expected array of length 2, got 3"),
        ({"rates": [0.5, "x"]}, "rates[1]='x': expected float, got str"),
        ({"inner": {"count": 1.5}}, "inner.count=1.5: expected int, got float"),
        ({"inner": {"count": 1, "mode": "slo"}}, "inner.mode='slo': expected fast, slow"),
        ({"inner": {"count": -1}}, "inner={'count': -1}: count=-1 must be at least 0"),
        ({"inner": {}}, "inner: object missing required field count"),
        ({"inner": None}, "inner=None: expected object, got null"),
        ({"many": [{"count": 1}, {"count": "2"}]}, "many[1].count='2': expected int, got str"),
        ({"maybe": {"count": 1, "mode": 3}}, "maybe.mode=3: expected fast, slow"),
        ({"table": {"a": "b"}}, "table[...]: expected float, got str"),
        ({"by_name": {"a": {"count": "2"}}}, "by_name[...].count: expected int, got str"),
        ({"color": 1}, "Unknown field of Outer 'color'. Known: inner, share"),
        ({"plac": 1}, "Unknown field of Outer 'plac'. Did you mean 'place'?"),
        ({"maybe": {"count": 1, "x": 1}}, "Unknown field of Inner 'x'. Known: count, mode"),
        ({"many": [{"count": 1, "x": 1}]}, "Unknown field of Inner 'x'. Known: count, mode"),
        ({"by_name": {"a": {"count": 1, "x": 1}}}, "Unknown field of Inner 'x'."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusal_names_field_value_and_what_is_valid(changes, message):
    with pytest.raises(RecordError) as caught:
        read(Outer, VALUES | changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [3, None, [], "text"], ids=str)
def test_what_is_no_object_is_refused_with_its_place(value):
    with pytest.raises(RecordError, match=r"^run\.json: .*: expected object, got \w+\.$"):
        read(Outer, value, "run.json")


@pytest.mark.parametrize(("count", "error"), [(100, RunError), (200, WeightsError)])
def test_errors_of_this_package_pass(count, error):
    with pytest.raises(error, match=rf"^count={count} is refused$"):
        read(Outer, {"inner": {"count": count}})


@pytest.mark.parametrize("brackets", ["[]", ('{"a":', "}")], ids=["list", "object"])
@pytest.mark.parametrize("depth", [MOST_NESTED + 1, 990, 200_000])
def test_json_nested_too_deeply_is_refused(brackets, depth):
    opening, closing = brackets
    with pytest.raises(ValueError, match="it is nested deeper than 64 levels"):
        parse_json(opening * depth + "1" + closing * depth)


def test_json_is_read_with_names_of_files_and_without_other_letters():
    assert parse_json('{"a\\udcff": [1, null, "é"]}') == {"a\udcff": [1, None, "é"]}
    for text in ('["\\ud800"]', '{"\\ud800": 1}', "[1", b"\xff"):
        with pytest.raises(ValueError, match=r"surrogates|Expecting|decode"):
            parse_json(text)


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(RecordError, match=r"^run: '.udcff' is not Unicode\.$"):
        read(Outer, VALUES | {"inner": {"count": 1, "mode": "\udcff"}}, "run")


def test_library_is_imported_quickly():
    """Every command imports it."""
    script = "import time; t = time.process_time(); import msgspec; print(time.process_time() - t)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 0.2
