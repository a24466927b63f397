"""The pages of a benchmark and of a parity comparison, from their files."""

from dataclasses import replace

import pytest
from support.measured import DIFFERS, EQUAL, MACHINE_FACTS, pair

from alexnet_impl.measurement.recording import (
    Interference,
    entry_of,
    read_recording,
    write_recording,
)
from alexnet_impl.parity.record import (
    Cause,
    CheckResult,
    LargestDifference,
    LayerDifference,
    MinimalPair,
    ParityRecord,
)
from alexnet_impl.report.bench.page import write_bench_page
from alexnet_impl.report.parity.page import write_parity_page
from alexnet_impl.stats.speed_ratios import paired_ratio

pytestmark = pytest.mark.fast


@pytest.fixture
def bench_page(tmp_path):
    """The page of two sides with this gate, ratio and verdict, as text."""

    def bench_page(gate=EQUAL, warnings=(), **changes):
        done = pair(**changes)
        entries = [entry_of(one, gate) for one in (done.first, done.second)]
        write_recording(
            tmp_path, MACHINE_FACTS, entries, [(done, gate)], Interference(warnings=warnings)
        )
        write_bench_page(tmp_path / "bench.html", read_recording(tmp_path), None)
        return (tmp_path / "bench.html").read_text(encoding="utf-8")

    return bench_page


def test_bench_page_has_speeds_ratio_and_verdict(bench_page):
    page = bench_page()
    assert "PyTorch is faster than TensorFlow by more than 2.00%</h1>" in page
    for text in ("1,280", "640", "2.000x", "3 rounds", "torch 2.14.1", "a processor, 2 cores"):
        assert text in page
    assert "doubtful" not in page


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"verdict": "slower"}, "PyTorch is slower than TensorFlow by more than 2.00%"),
        ({"verdict": "undecided"}, "No speed difference above 2.00% was shown between"),
        ({"ratio": paired_ratio([1, 1], [2, 2])}, "PyTorch / TensorFlow: too few rounds"),
        ({"gate": DIFFERS}, "No ratio: the models of PyTorch and TensorFlow differ"),
    ],
)
def test_bench_page_says_when_there_is_no_faster_side(bench_page, changes, headline):
    assert headline in bench_page(**changes)


def test_bench_page_shows_no_ratio_of_models_that_differ(bench_page):
    page = bench_page(gate=DIFFERS)
    assert "2.000x" not in page
    assert "differs: logits" in page


def test_bench_page_marks_a_busy_machine_on_its_first_screen(bench_page):
    page = bench_page(warnings=("Other processes used 45% of all cores.",))
    assert "The times are doubtful: 1 warning" in page
    assert page.index("Other processes used 45%") < page.index("</header>")


def test_bench_page_says_that_a_bench_was_stopped(tmp_path):
    done = pair()
    entries = [entry_of(one, EQUAL) for one in (done.first, done.second)]
    write_recording(tmp_path, MACHINE_FACTS, entries, [(done, EQUAL)], complete=False)
    write_bench_page(tmp_path / "bench.html", read_recording(tmp_path), None)
    assert "was stopped after 2 rounds." in (tmp_path / "bench.html").read_text(encoding="utf-8")


def parity_page(path, *checks, **changes):
    record = ParityRecord(
        request={"variant": "cifar", "recipe": {"steps": 20}},
        environment={"cpu": "a processor"},
        checks=checks,
        **changes,
    )
    write_parity_page(path, record, None)
    return path.read_text(encoding="utf-8")


CHECK = CheckResult(
    name="logits", precision="float64", measured=2.5e-13, tolerance=1e-12, reason="sums <of>"
)


def test_parity_page_says_that_all_checks_hold(tmp_path):
    page = parity_page(tmp_path / "parity.html", CHECK, replace(CHECK, measured=0.0))
    assert "PyTorch and TensorFlow compute the same: all 2 checks hold</h1>" in page
    for text in ("2 of 2", "25%", "of its tolerance", "recipe.steps", "sums &lt;of&gt;"):
        assert text in page


def test_parity_page_lists_the_image_files_of_a_preprocessing(tmp_path):
    check = replace(CHECK, name="preprocessing", tolerance=1e-5)
    files = {"equal.png": 1e-6, "other.jpg": 0.25}
    page = parity_page(tmp_path / "parity.html", check, files=files)
    assert "2.5e-01" in page
    assert page.index("other.jpg") < page.index("equal.png")


@pytest.mark.parametrize("measured", [0.5, float("nan")])
def test_parity_page_names_the_first_mismatch_and_its_causes(tmp_path, measured):
    cause = Cause(side="tensorflow", what="conv1 leant", remedy="straighten it")
    failed = replace(CHECK, measured=measured, where="conv1", causes=(cause,))
    page = parity_page(tmp_path / "parity.html", CHECK, failed)
    assert "First mismatch: logits (float64), conv1</h1>" in page
    assert "likely cause: tensorflow computes as if conv1 leant" in page
    assert "1 of 2" in page


def layer(name, *distances, before=(), largest=None):
    return LayerDifference(
        names={"torch": name, "tensorflow": f"keras_{name}"},
        before={"torch": before, "tensorflow": before},
        input=distances[0] if len(distances) > 1 else None,
        output=distances[-1],
        largest=largest,
    )


def test_parity_page_opens_the_first_layer_that_differs_between_equal_and_later_ones(tmp_path):
    cause = Cause(side="tensorflow", what="fc1 leant", remedy="straighten it")
    failed = replace(CHECK, name="layers", measured=0.5, where="fc1", causes=(cause,))
    place = LargestDifference(index=(0, 3), values={"torch": 1.5, "tensorflow": -2.5})
    layers = (
        layer("conv1", 0.0, 1e-13),
        layer("conv2", 0.0, 0.0),
        layer("fc1", 0.0, 0.5, before=("relu", "flatten"), largest=place),
        layer("fc2", 0.5, float("nan")),
        layer("output", float("inf")),
    )
    page = parity_page(tmp_path / "parity.html", failed, layers=layers)
    parts = ("2 layers equal", "First layer that differs", "keras_fc1", "fc1 leant", "[0, 3]")
    places = [page.index(part) for part in (*parts, "2 layers after it", "keras_output")]
    assert places == sorted(places)
    assert "torch 1.5, tensorflow -2.5" in page
    assert "relu · flatten" in page
    assert page.count('class="layer apart"') == 3
    assert page.index("likely cause: tensorflow") > places[1]


def test_parity_page_links_the_files_that_reproduce_the_mismatch(tmp_path):
    pair = MinimalPair(
        where="conv1", difference=0.5, reproduced=0.5, files=("one.py",), command="python one.py"
    )
    page = parity_page(tmp_path / "parity.html", CHECK, minimal_pair=pair)
    for text in ("reproduces 0.5 of 0.5", '<a href="one.py">', "<pre>python one.py</pre>"):
        assert text in page
    none = replace(pair, files=(), command="", reason="a lambda cannot be written")
    page = parity_page(tmp_path / "parity.html", CHECK, minimal_pair=none)
    assert "a lambda cannot be written." in page
    assert "<pre>" not in page


def test_parity_page_of_equal_models_has_no_layer_that_differs(tmp_path):
    check = replace(CHECK, name="layers")
    page = parity_page(tmp_path / "parity.html", check, layers=(layer("conv1", 0.0, 0.0),))
    assert "1 layer equal" in page
    assert "apart" not in page.partition("<body>")[2]
    assert "differs" not in page.partition("<body>")[2]
