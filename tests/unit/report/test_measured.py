"""Benchmarks in the terminal and as a picture."""

from dataclasses import replace

import pytest

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.gate import Gate
from alexnet_impl.measurement.paired import Compared, Measured, Plan
from alexnet_impl.measurement.record import EXTRA, entry_of
from alexnet_impl.measurement.statistics import paired_ratio
from alexnet_impl.measurement.works import synthetic_data
from alexnet_impl.parity.record import RungResult
from alexnet_impl.recipe import Recipe
from alexnet_impl.report.measured import columns, compared_lines, measured_lines, table_lines
from alexnet_impl.report.rounds import rounds_figure, write_rounds_figure
from alexnet_impl.results import RunConfig

pytestmark = pytest.mark.fast

HELD = RungResult(rung="logits", precision="float32", measured=1e-6, tolerance=1e-5, reason="sums")
EQUAL, DIFFERS = Gate(rungs=(HELD,)), Gate(rungs=(replace(HELD, measured=0.5, where="fc3"),))


def side(framework, *times_s, **changes):
    config = RunConfig(
        framework=framework,
        variant="cifar",
        width=1.0,
        recipe=Recipe(global_batch_size=128),
        data=synthetic_data(128),
    )
    values = {
        "case": Case(work="training", config=config),
        "times_s": times_s,
        "calls_per_group": 3,
        "amount": 128,
        "unit": "images",
        "preparation_s": 1.0,
        "first_call_s": 0.5,
        "warm_up_calls": 10,
        "steady": True,
        "memory": {"process": 2**30, "device": None},
        "peaks": {"matmul float32": 1e12},
        "round_trip_s": 1e-4,
        "framework": {},
        "warnings": (),
    }
    return Measured(**values | changes)


def pair(**changes):
    first, second = side("torch", 0.1, 0.1, 0.11, 0.1), side("tensorflow", 0.2, 0.21, 0.2, 0.2)
    ratio = paired_ratio([0.2, 0.21, 0.2], [0.4, 0.41, 0.4])
    values = {"ratio": ratio, "verdict": "faster", "plan": Plan()}
    return Compared(first=first, second=second, **values | changes)


def test_side_is_a_line_with_its_warnings_below():
    first, *rest = measured_lines(side("torch", 0.1, 0.1, warnings=("it shook.",)))
    assert first.startswith("training torch cifar b128 float32: 1,280.0 images/s, 0.100 s a call")
    # 230 M multiply-accumulates an image, 3 passes, 2 FLOP each, of 1e12 FLOP/s.
    assert "176" in first
    assert rest == ["    warning: it shook."]


def test_ratio_stands_behind_an_open_gate():
    lines = compared_lines(pair(), EQUAL)
    assert lines[0] == "gate: equal"
    assert "2.000 x" in lines[1]
    assert "is faster by more than 2.00%" in lines[1]


def test_failed_gate_blanks_the_ratio():
    lines = compared_lines(pair(), DIFFERS)
    assert lines[0] == "gate: differs: logits 5.0e-01 > 1.0e-05 at fc3"
    assert not any(" x [" in line for line in lines)


@pytest.mark.parametrize(("gate", "shown"), [(EQUAL, True), (DIFFERS, False), (None, False)])
def test_table_has_a_ratio_only_where_the_gate_held(gate, shown):
    rows = []
    for one in (pair().first, pair().second):
        extra = columns(one, gate) | {EXTRA: entry_of(one, gate)}
        rows.append(("group", extra))
    lines = table_lines(rows)
    assert len(lines) == 3
    assert (" x [" in lines[1]) is shown
    assert " x [" not in lines[2]
    assert lines[1].endswith("-" if gate is None else gate.outcome)


def test_table_says_what_did_not_fit():
    short = {"title": "training torch", "out_of_memory": {"asked": 8192, "fits": 1500}}
    line = table_lines([("group", {EXTRA: short})])[1]
    assert "out of memory at batch 8192; 1500 fits" in line


def test_picture_is_written(tmp_path):
    write_rounds_figure(tmp_path / "rounds.png", pair())
    assert (tmp_path / "rounds.png").read_bytes().startswith(b"\x89PNG")
    times, ratios = rounds_figure(pair()).axes
    assert "torch" in times.get_legend().texts[0].get_text()
    assert "2.000 x" in ratios.get_title(loc="left")
