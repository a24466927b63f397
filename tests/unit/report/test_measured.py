"""Benchmarks in the terminal and as a picture."""

from dataclasses import replace

import pytest
from support.measured import DIFFERS, EQUAL, pair, side

from alexnet_impl.measurement.case import Case
from alexnet_impl.measurement.recording import EXTRA, EXTRA_SECOND, entry_of
from alexnet_impl.report.bench.rounds_figure import rounds_figure
from alexnet_impl.report.bench.speeds import (
    columns,
    measured_lines,
    pair_columns,
    pair_lines,
    table_lines,
)
from alexnet_impl.report.figure_style import write_figure
from alexnet_impl.stats.speed_ratios import paired_ratio

pytestmark = pytest.mark.fast


def test_side_is_a_line_with_its_warnings_below():
    first, *rest = measured_lines(side("torch", 0.1, 0.1, warnings=("it shook.",)))
    assert first.startswith("training torch cifar b128 float32: 1,280.0 images/s, 0.100 s per call")
    # 230 M multiply-accumulates an image, 3 passes, 2 FLOP each, of 1e12 FLOP/s.
    assert "176" in first
    assert rest == ["    warning: it shook."]


@pytest.mark.parametrize(
    ("workload", "variant", "trainable", "known"),
    [
        ("training", "cifar", "all", True),
        ("training", "cifar", "head", False),
        ("training", "cifar", "last-99", True),
        ("inference", "cifar", "head", True),
        ("tutorial-loop", "cifar", "head", True),
        ("training", "resnet50", "all", False),
        ("inference", "resnet50", "all", False),
        ("update", "cifar", "all", False),
    ],
)
def test_share_of_the_peak_is_said_only_where_the_work_is_known(
    workload, variant, trainable, known
):
    """Frozen layers have no gradients, but for the tutorials' loop, which freezes none."""
    plain = side("torch", 0.1, 0.1)
    config = plain.case.config
    recipe = replace(config.recipe, trainable=trainable)
    config = replace(config, variant=variant, recipe=recipe)
    found = replace(plain, case=Case(workload=workload, config=config))
    assert (found.fraction_of_peak is not None) is known
    assert ("peak FLOP/s" in measured_lines(found)[0]) is known


def test_ratio_stands_after_the_gate():
    lines = pair_lines(pair(), EQUAL)
    assert lines[0] == "gate: equal"
    assert "2.000 x" in lines[1]
    assert "is faster by more than 2.00%" in lines[1]


def test_too_few_rounds_have_no_interval_and_say_what_gives_one(tmp_path):
    few = pair(ratio=paired_ratio([0.2, 0.21], [0.4, 0.41]), verdict="undecided")
    (line,) = pair_lines(few, None)
    assert line.endswith(
        "1.976 x, no interval: 2 rounds, and at least 3 are needed; increase --rounds or --budget."
    )
    extra = columns(few.first, None) | pair_columns(few, None) | {EXTRA: entry_of(few.first)}
    assert "1.976 x [no interval]" in table_lines([extra])[1]
    write_figure(tmp_path / "rounds.png", rounds_figure(few))
    assert (tmp_path / "rounds.png").is_file()


def test_failed_gate_blanks_the_ratio():
    lines = pair_lines(pair(), DIFFERS)
    assert lines[0] == "gate: differs: logits 5.0e-01 > 1.0e-05 at fc3"
    assert not any(" x [" in line for line in lines)


@pytest.mark.parametrize(("gate", "shown"), [(EQUAL, True), (DIFFERS, False), (None, True)])
def test_table_has_a_pairs_ratio_only_where_no_gate_failed(gate, shown):
    """Two sides of one framework have no gate."""
    done = pair()
    extra = columns(done.first, gate) | pair_columns(done, gate)
    extra |= {EXTRA: entry_of(done.first, gate), EXTRA_SECOND: entry_of(done.second, gate)}
    lines = table_lines([extra])
    assert len(lines) == 3
    assert ("2.000 x [" in lines[1]) is shown
    assert " x [" not in lines[2]
    assert lines[1].startswith("training torch")
    assert lines[2].startswith("training tensorflow")
    assert lines[1].endswith("-" if gate is None else gate.outcome)


def test_table_has_no_ratio_of_two_that_took_no_turns():
    extras = [
        columns(s, EQUAL) | {EXTRA: entry_of(s, EQUAL)} for s in (pair().first, pair().second)
    ]
    assert not any(" x [" in line for line in table_lines(extras))


def test_table_says_what_did_not_fit():
    short = {"title": "training torch", "out_of_memory": {"asked": 8192, "fits": 1500}}
    line = table_lines([{EXTRA: short}])[1]
    assert "out of memory at batch 8192; 1500 fits" in line


@pytest.mark.slow
def test_picture_is_written(tmp_path):
    write_figure(tmp_path / "rounds.png", rounds_figure(pair()))
    assert (tmp_path / "rounds.png").read_bytes().startswith(b"\x89PNG")
    times, ratios = rounds_figure(pair()).axes
    assert "torch" in times.get_legend().texts[0].get_text()
    assert "2.000 x" in ratios.get_title(loc="left")
