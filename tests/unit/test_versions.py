"""One table over releases, from the records of each environment."""

import json
from dataclasses import replace

import pytest
from support.measured import DIFFERS, EQUAL, pair, side

from alexnet_impl.cli import bench, main
from alexnet_impl.errors import RunError
from alexnet_impl.measurement.recording import entry_of, write_recording
from alexnet_impl.measurement.releases import read_environments
from alexnet_impl.network.own_network import OwnNetwork
from alexnet_impl.network.spec import Dense
from alexnet_impl.parity.record import CheckResult, ParityRecord, write_record
from alexnet_impl.report.bench.releases import (
    HEADER,
    trend_figure,
    version_rows,
    write_versions_page,
)
from alexnet_impl.stats.speed_ratios import paired_ratio

pytestmark = pytest.mark.fast

LOCKSTEP = CheckResult(
    name="lockstep", precision="float64", measured=3e-15, tolerance=1e-12, reason="rounding"
)
MACHINE = {"cpu": "a processor", "cores": 2}


def write_environment(
    folder,
    name,
    torch,
    tensorflow,
    *,
    check=LOCKSTEP,
    gate=EQUAL,
    request=None,
    complete=True,
    **changes,
):
    """What `alexnet parity` and `alexnet bench` leave behind in one environment."""
    facts = {"torch": {"torch": torch}, "tensorflow": {"tensorflow": tensorflow, "keras": "3.9.0"}}
    packages = {"numpy": "2.1.0"}
    record = ParityRecord(
        request=request or {},
        environment={"packages": packages, "frameworks": facts},
        checks=(check,),
    )
    done = replace(pair(), **changes)
    done = replace(
        done,
        first=replace(done.first, framework={"torch": torch}),
        second=replace(done.second, framework={"tensorflow": tensorflow}),
    )
    for part in ("parity", "bench"):
        (folder / name / part).mkdir(parents=True)
    write_record(folder / name / "parity", record)
    entries = [entry_of(one, gate) for one in (done.first, done.second)]
    write_recording(folder / name / "bench", MACHINE, entries, [(done, gate)], complete=complete)


@pytest.fixture
def folder(tmp_path):
    """Three environments, whose names do not sort as their releases do."""
    write_environment(tmp_path / "versions", "a", "2.14.1", "2.21.0")
    write_environment(tmp_path / "versions", "b", "2.9.1", "2.21.0")
    write_environment(tmp_path / "versions", "c", "2.9.1", "2.19.1")
    return tmp_path / "versions"


@pytest.fixture
def page(monkeypatch):
    """The environments of each page that the command would write: drawing takes seconds."""
    written = []
    monkeypatch.setattr(bench, "write_versions_page", lambda _, shown: written.append(shown))
    return written


def test_environments_come_in_the_order_of_their_releases(folder):
    assert [one.name for one in read_environments(folder)[0]] == ["c", "b", "a"]


def test_row_has_releases_parity_speeds_and_the_ratio(folder):
    row = dict(zip(HEADER, version_rows(read_environments(folder)[0])[0], strict=True))
    assert (row["torch"], row["tensorflow"], row["keras"]) == ("2.9.1", "2.19.1", "3.9.0")
    assert (row["parity"], row["float64 lockstep"]) == ("1 checks hold", "3.0e-15")
    assert (row["torch images/s"], row["tensorflow images/s"]) == ("1,280", "640")
    assert row["torch / tensorflow"].startswith("2.000 [")
    assert row["verdict of torch"] == "faster"


def test_two_own_networks_of_one_name_are_told_apart(tmp_path):
    networks = [
        OwnNetwork(input_size=8, layers=(Dense(name="logits", out_features=n),)) for n in (3, 4)
    ]
    for name, network in zip("ab", networks, strict=True):
        write_environment(tmp_path, name, "2.9.1", "2.21.0", request={"network": network.to_json()})
    first, second = (network.digest for network in networks)
    with pytest.raises(RunError, match=rf"parity requests \(network: {second}; {first}\)"):
        read_environments(tmp_path)
    for name, digest in zip("ab", (first, second), strict=True):
        path = tmp_path / name / "bench" / "bench.json"
        content = json.loads(path.read_text())
        for entry in content["measured"]:
            entry["key"]["network"] = digest
        path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=f"different cases in torch .*, network: {second}; {first}"):
        read_environments(tmp_path)


def test_share_of_a_peak_that_was_the_best_of_three_says_so(folder):
    path = folder / "a" / "bench" / "bench.json"
    content = json.loads(path.read_text())
    for one in content["measured"]:
        del one["peak_rounds"]
        one["fraction_of_peak"] = 0.5
    path.write_text(json.dumps(content))
    found = read_environments(folder)[0]
    assert ["best of 3" in " ".join(row) for row in version_rows(found)] == [False, False, True]


def test_a_ratio_of_two_rounds_has_no_interval(tmp_path):
    write_environment(tmp_path, "a", "2.9.1", "2.21.0", ratio=paired_ratio([1, 1], [2, 2]))
    found = read_environments(tmp_path)[0]
    row = dict(zip(HEADER, version_rows(found)[0], strict=True))
    assert row["torch / tensorflow"] == "2.000 [no interval]"
    trend_figure(found)


def test_row_of_a_bench_that_was_stopped_says_so(tmp_path):
    for name, torch, complete in (("a", "2.9.1", True), ("b", "2.14.1", False)):
        write_environment(tmp_path, name, torch, "2.21.0", complete=complete)
    ended, stopped = (row[-1] for row in version_rows(read_environments(tmp_path)[0]))
    assert "stopped" not in ended
    assert stopped.endswith(", stopped after 2 rounds")


def test_a_gate_that_failed_blanks_the_ratio_and_the_exit_code_says_so(
    folder, capsys, page, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    assert main(["versions", str(folder)]) == 0
    assert "Shown equal with 3 of 3 sets of releases." in capsys.readouterr().out
    write_environment(folder, "d", "2.15.0", "2.21.0", gate=DIFFERS)
    *_, last = version_rows(read_environments(folder)[0])
    assert last[-3] == "—"
    assert last[-2].startswith("gate: differs: logits")
    assert main(["versions", str(folder)]) == 1
    assert "Shown equal with 3 of 4 sets of releases." in capsys.readouterr().out
    assert [len(shown) for shown in page] == [3, 4]


def test_a_ladder_that_failed_is_named(folder):
    write_environment(folder, "d", "2.15.0", "2.21.0", check=replace(LOCKSTEP, measured=0.5))
    (*_, last), _ = read_environments(folder)
    assert not last.holds
    assert version_rows([last])[0][3] == "fails: lockstep"


@pytest.mark.slow
def test_page_and_picture_show_every_environment(folder, tmp_path):
    environments, _ = read_environments(folder)
    write_versions_page(tmp_path / "versions.html", environments)
    page = (tmp_path / "versions.html").read_text()
    assert all(one.releases["torch"] in page for one in environments)
    assert (tmp_path / "versions.png").read_bytes().startswith(b"\x89PNG")
    shares, ratios, losses = trend_figure(environments).axes
    assert [line.get_label() for line in shares.get_lines()] == ["PyTorch", "TensorFlow"]
    assert len(ratios.get_lines()) == 2 * 3 + 1
    assert losses.get_yscale() == "log"


def test_what_cannot_be_compared_is_refused(folder, tmp_path):
    with pytest.raises(RunError, match="nowhere: no such folder"):
        read_environments(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "foreign").mkdir()
    with pytest.raises(RunError, match=r"empty: holds no environment .* writes them\. $"):
        read_environments(tmp_path / "empty")
    (tmp_path / "empty" / "started" / "parity").mkdir(parents=True)
    with pytest.raises(RunError, match=r"writes them\. .*started/parity.* no such file"):
        read_environments(tmp_path / "empty")
    other = side("torch", 0.1, 0.1)
    config = replace(other.case.config, variant="torchvision")
    other = replace(other, case=replace(other.case, config=config))
    write_environment(folder, "d", "2.15.0", "2.21.0", first=other)
    with pytest.raises(RunError, match="d and a timed different cases in torch"):
        read_environments(folder)


def test_a_record_of_another_machine_or_parity_request_is_refused(folder):
    path = folder / "b" / "bench" / "bench.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"machine": {"cpu": "another", "cores": 2}}))
    with pytest.raises(RunError, match="b and a were measured on different machines"):
        read_environments(folder)
    path.write_text(json.dumps(content))
    write_environment(folder, "d", "2.15.0", "2.21.0", request={"steps": 50})
    with pytest.raises(RunError, match=r"have different parity requests \(steps: 50; None\)"):
        read_environments(folder)


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        (lambda parity, _: parity.update(environment={}), "has no version of torch"),
        (lambda _, timed: timed["measured"].reverse(), "compares tensorflow and torch"),
        (lambda _, timed: timed.update(compared=[]), "compares torch and tensorflow"),
        (
            lambda _, timed: timed["measured"][0]["framework"].update(torch="2.8.0"),
            "timed torch 2.8.0, but the parity record beside it is of torch 2.9.1",
        ),
    ],
    ids=["no releases", "other order", "no turns", "other release"],
)
def test_an_environment_with_a_damaged_record_is_told_and_hides_no_other(
    folder, break_, words, capsys, page
):
    paths = [folder / "b" / "parity" / "parity.json", folder / "b" / "bench" / "bench.json"]
    contents = [json.loads(path.read_text()) for path in paths]
    break_(*contents)
    for path, text in zip(paths, contents, strict=True):
        path.write_text(json.dumps(text))
    found, (problem,) = read_environments(folder)
    assert [one.name for one in found] == ["c", "a"]
    assert words in problem
    assert main(["versions", str(folder), "--output", str(folder / "versions.html")]) == 1
    assert "left out: " in capsys.readouterr().out
    assert [[one.name for one in shown] for shown in page] == [["c", "a"]]


def test_an_environment_whose_ladder_broke_off_is_told(folder):
    (folder / "b" / "parity" / "parity.json").unlink()
    _, (problem,) = read_environments(folder)
    assert "parity.json" in problem
