"""Parity records: as data, as a file, of earlier releases, and in words; needs no framework."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_impl.errors import RunError
from alexnet_impl.parity.record import (
    Cause,
    CheckResult,
    MinimalPair,
    ParityRecord,
    Series,
    read_record,
    write_record,
)
from alexnet_impl.report.figure_style import write_figure
from alexnet_impl.report.parity.lockstep_figure import lockstep_figure
from alexnet_impl.report.parity.terminal import check_lines, failure_line, minimal_pair_lines
from alexnet_impl.report.parity.time_line import time_line

pytestmark = pytest.mark.fast

CAUSE = Cause(side="tensorflow", what="conv1 leant", remedy="straighten it", distance=1e-13)


def check(measured, **rest):
    values = {"name": "layers", "precision": "float64", "tolerance": 1e-12, "reason": "sums"}
    return CheckResult(measured=measured, **(values | rest))


def record(*checks):
    curves = {"torch": [2.0, 1.0, 0.5], "tensorflow": [2.0, 1.0, 0.5 + 1e-7]}
    series = Series(
        name="free float32",
        losses=curves,
        controls={"torch": [0.0, 0.0, 1e-6]},
        allowed=[1e-6, 1e-6, 3e-6],
    )
    return ParityRecord(
        request={"variant": "cifar"}, environment={}, checks=checks, series=(series,)
    )


@pytest.mark.parametrize(
    ("measured", "holds"), [(0.0, True), (1e-12, True), (2e-12, False), (math.nan, False)]
)
def test_check_holds_up_to_its_tolerance(measured, holds):
    assert check(measured).holds is holds
    assert record(check(0.0), check(measured)).holds is holds


def test_record_without_a_check_or_an_end_proves_nothing():
    assert not record().holds
    stopped = replace(record(check(0.0)), complete=False)
    assert not stopped.holds
    assert "incomplete" in failure_line(stopped)


def test_curves_and_causes_that_are_no_numbers_are_read_back(tmp_path):
    nan = Series(name="x", losses={"torch": [math.nan]}, controls={"torch": [math.inf]})
    cause = replace(CAUSE, distance=math.inf)
    given = replace(record(check(math.nan, causes=(cause,))), series=(nan,))
    write_record(tmp_path, given)
    assert repr(read_record(tmp_path)) == repr(given)


@pytest.mark.parametrize("measured", [1e-13, math.nan, math.inf])
def test_record_is_read_as_it_was_written(tmp_path, measured):
    given = replace(
        record(check(measured, where="conv1", causes=(CAUSE,))),
        minimal_pair=MinimalPair(where="conv1", difference=measured, reproduced=math.nan),
    )
    write_record(tmp_path, given)
    found = read_record(tmp_path)
    assert repr(found) == repr(given)
    assert json.loads((tmp_path / "parity.json").read_text())["holds"] is given.holds


def test_record_of_before_with_rungs_is_read(tmp_path):
    """Files written before 2026-11-29 call a check a rung."""
    given = record(check(0.5, where="conv1", causes=(CAUSE,)))
    path = write_record(tmp_path, given)
    values = json.loads(path.read_text())
    values["rungs"] = [
        {"rung" if key == "name" else key: value for key, value in entry.items()}
        for entry in values.pop("checks")
    ]
    path.write_text(json.dumps(values))
    assert read_record(tmp_path) == given


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        ("{", "damaged"),
        ("[]", "not a parity record of this release"),
        ('{"schema_version": 99}', "not a parity record of this release"),
        ('{"schema_version": 1}', "damaged parity record"),
    ],
)
def test_file_that_is_no_record_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "parity.json").write_text(content)
    with pytest.raises(RunError, match=words):
        read_record(tmp_path)


def test_failure_is_told_with_place_and_causes():
    failed = check(1.0, where="conv1", causes=(CAUSE,))
    assert failure_line(record(check(0.0), failed)) == "First mismatch: layers (float64), conv1"
    assert check_lines(failed)[1] == (
        "    likely cause: tensorflow computes as if conv1 leant (explains it to 1.0e-13); "
        "straighten it"
    )
    assert "no cause" in failure_line(record(check(1.0, sought=True)))
    assert "no cause" not in failure_line(record(check(1.0)))
    assert "no cause" not in failure_line(record(failed))
    assert len(check_lines(check(0.0))) == 1


def test_line_of_a_check_shows_figure_bound_and_place():
    assert check_lines(check(0.5, where="fc1"))[0].split() == [
        *("layers", "float64", "5.0e-01", "1.0e-12", "FAILS", "at", "fc1")
    ]
    assert check_lines(check(0.0))[0].endswith("holds")


def test_minimal_pair_is_told_with_what_it_reproduces_and_its_command():
    pair = MinimalPair(
        where="conv1", difference=0.4301, reproduced=0.43, files=("a.py",), command="python a.py"
    )
    told, command = minimal_pair_lines(pair, Path("a folder"))
    assert "reproduces 0.43 of 0.43 " in told
    assert told.endswith("at conv1")
    assert command == "    cd 'a folder' && python a.py"
    shapes = replace(pair, difference=math.inf, reproduced=math.inf)
    assert "reproduces the different shapes" in minimal_pair_lines(shapes, Path())[0]
    none = MinimalPair(where="conv1", difference=0.4, reproduced=math.nan, reason="a lambda")
    assert minimal_pair_lines(none, Path()) == ["No minimal pair was written: a lambda."]


def timed(**facts):
    fresh = record(check(0.0))
    return time_line(replace(fresh, environment=facts), 9.26)


def test_time_line_says_what_the_imports_took():
    facts = {
        "torch": {"import_s": 2.04, "uncompiled": ""},
        "tensorflow": {"import_s": 6.12, "uncompiled": ""},
    }
    expected = (
        "Time: 9.3 s, of which importing tensorflow took 6.1 s (torch at the same time 2.0 s)."
    )
    assert timed(**facts) == timed(machine="m", frameworks=facts) == expected
    assert timed(torch={"import_s": 2.04}) == "Time: 9.3 s, of which importing torch took 2.0 s."
    assert timed() == "Time: 9.3 s."


def test_time_line_says_how_to_keep_bytecode():
    facts = {
        "torch": {"import_s": 2.0, "uncompiled": "/site"},
        "tensorflow": {"import_s": 6.0, "uncompiled": "/site"},
    }
    said = timed(**facts)
    assert "Python compiles tensorflow anew in every process" in said
    assert said.endswith(" compile it once: python -m compileall -q /site.")
    assert said.count("compileall") == 1


@pytest.mark.slow
def test_picture_is_written(tmp_path):
    write_figure(tmp_path / "lockstep.png", lockstep_figure(record(check(0.0))))
    assert (tmp_path / "lockstep.png").read_bytes().startswith(b"\x89PNG")
