import dataclasses
import re
import subprocess
import sys
from importlib.resources import files

import pytest
from markupsafe import Markup

from alexnet_impl.errors import RunError
from alexnet_impl.network.spec import trace
from alexnet_impl.network.variants import build_spec
from alexnet_impl.recipe.named import RECIPES
from alexnet_impl.report.run import page
from alexnet_impl.report.run.command_lines import commands
from alexnet_impl.report.run.first_screen import SPEED_NOTE
from alexnet_impl.report.run.verdict import verdict
from alexnet_impl.report.run.views import view_runs
from alexnet_impl.report.templates import code
from alexnet_impl.runs.records import ActivationStatistics, CollapseReport

pytestmark = pytest.mark.fast


@pytest.fixture
def report(tmp_path, monkeypatch):
    """The page of runs as text; its figures are made, but not drawn."""
    monkeypatch.setattr(page, "inline_svg", lambda _: Markup("<svg >"))

    def write(runs, path=tmp_path / "report.html", **options):
        page.write_report(path, runs, **options)
        return path.read_text(encoding="utf-8")

    return write


def test_page_has_the_numbers_of_the_folders(pair, pair_html):
    for folder in pair:
        assert f"{folder.result.test_loss:.4f}" in pair_html
        assert folder.dataset.fingerprint in pair_html
    assert "80.00% [68.22%, 88.17%]" in pair_html
    assert "+5.00 points [-2.13, +11.80]" in pair_html
    assert "Equality checks: 6 of 6 hold" in pair_html
    spec = build_spec("cifar", num_classes=4, width=0.125)
    assert f"{trace(spec).num_params:,} parameters" in pair_html
    assert "Seeded noise &amp; nothing else." in pair_html


def test_page_refers_to_nothing_outside(pair_html):
    html = pair_html
    assert not re.findall(r"https?://[^\s\"']*", html)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", html)
    assert "<script" not in html
    assert "<link" not in html
    assert "@import" not in html


def test_every_page_forbids_scripts_and_connections(pair_html):
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', pair_html)
    rules = [rule.strip() for rule in policy.group(1).split(";")]
    assert {"default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"} <= set(rules)
    assert policy.start() < pair_html.index("<title>") < pair_html.index("<style>")
    for template in files("alexnet_impl.report").rglob("*.html.jinja"):
        if template.name not in ("base.html.jinja", "macros.html.jinja"):
            assert '{% extends "base.html.jinja" %}' in template.read_text(), template


def test_page_has_all_figures_and_samples_of_a_pair(pair_html):
    assert pair_html.count("<svg ") == 7
    # The 24 samples contain all images that either run classified wrongly, 3 of them only one.
    assert pair_html.count('src="data:image/png;base64,') == 24 + 3
    assert pair_html.count('class="sample wrong"') == 15 + 3


def test_page_escapes_hostile_names(make_run, report):
    hostile = ("<script>alert(1)</script>", '"><img src=x>', "'&", "\x1b[31mred")
    html = report([make_run("torch", classes=hostile)], title="<b>title")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html
    assert "[31mred" in html
    assert "\x1b" not in html
    assert "<title>&lt;b&gt;title</title>" in html


def test_page_of_one_run_compares_nothing(pair, report):
    html = report(pair[:1])
    assert "Test images classified correctly: PyTorch 80.00%" in html
    assert "TensorFlow" not in html
    assert "Equality checks" not in html
    assert html.count("<svg ") == 4
    assert "disagree" not in html


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "PyTorch has not finished"),
        ("interrupted", "PyTorch was interrupted"),
        ("diverged", "PyTorch diverged"),
        ("collapsed", "PyTorch collapsed"),
    ],
)
def test_verdict_of_an_unfinished_run_says_how_it_ended(make_run, status, words):
    found = verdict(view_runs([make_run("torch", status=status)]))
    assert found.headline == words
    assert "23 of 40 steps" in found.sentences[0]
    assert not found.is_settled


@pytest.mark.slow
def test_page_of_an_unfinished_run_shows_its_curves(make_run, report):
    html = report([make_run("torch", status="interrupted")])
    assert "PyTorch was interrupted" in html
    assert html.count("<svg ") == 2


def test_page_of_a_run_before_its_first_epoch_has_no_figures(make_run, report):
    folder = make_run("torch", status=None)
    (folder.path / "history.json").unlink()
    (folder.path / "environment.json").unlink()
    html = report([folder])
    assert "0 of 40 steps recorded so far" in html
    assert "<svg " not in html


@pytest.mark.slow
def test_page_labels_two_runs_of_one_framework_by_their_folders(make_run, report):
    html = report([make_run("before"), make_run("after", num_correct=30)])
    assert "PyTorch (before) is more accurate by 30.00 points" in html


@pytest.mark.slow
def test_page_of_runs_on_different_images_does_not_compare_them(make_run, report):
    other = make_run("b", framework="tensorflow", data_seed=1, classes=("x", "y"))
    html = report([make_run("a"), other])
    assert "the accuracies cannot be compared" in html
    assert "Not shown to be equal in all runs: images (fingerprint)" in html


def test_verdict_tells_a_difference_from_none(pair, make_run):
    assert "No measurable difference" in verdict(view_runs(pair)).headline
    worse = make_run("worse", framework="tensorflow", num_correct=20)
    found = verdict(view_runs([pair[0], worse]))
    assert "PyTorch is more accurate by 46.67 points" in found.headline


def test_verdict_is_not_settled_when_a_check_fails(make_run):
    runs = [make_run("a"), make_run("b", framework="tensorflow", weights="99" * 32)]
    found = verdict(view_runs(runs))
    assert not found.is_settled
    assert "Not shown to be equal in all runs: initial weights (sha256)." in found.sentences


SEEN = CollapseReport(
    shift={"conv1": 7.5},
    seen=ActivationStatistics(
        step=24,
        dead_share={f"relu{n}": float(n == 5) for n in range(1, 8)},
        logits_std=1e-9,
    ),
)


@pytest.mark.parametrize(("num_correct", "headline"), [(10, "PyTorch collapsed"), (30, "50.00%")])
def test_verdict_says_that_a_network_collapsed(make_run, num_correct, headline):
    """The headline says so unless the network recovered; 10 of 60 correct is guessing."""
    run = make_run("lost", num_correct=num_correct)
    run.write_result(dataclasses.replace(run.result, collapse=SEEN))
    found = verdict(view_runs([run]))
    assert headline in found.headline
    assert found.is_settled is (num_correct == 30)
    assert found.sentences[0].startswith(
        "PyTorch: the network has collapsed by step 24: 100.0% of relu5's units are dead"
    )
    assert "try --recipe.learning-rate 0.002 instead of 0.02" in found.sentences[0]


def test_page_says_that_speed_is_an_observation(pair_html):
    assert "PyTorch <b>195</b> images/s" in pair_html
    assert "ratio <b>1.25x</b>" in pair_html
    assert code(SPEED_NOTE) in pair_html


def test_page_marks_the_recipe_fields_that_are_not_the_default(pair_html):
    rows = re.findall(r'<tr class="(.*?)"><td><code>(\w+)</code>', pair_html)
    marked = {name for kind, name in rows if "changed" in kind}
    assert {"learning_rate", "nesterov", "initializer", "seed"} <= marked
    assert "momentum" not in marked


def test_commands_give_one_compare_with_the_fields_that_differ(make_run):
    settled = {"precision": "bfloat16", "eval_flip": False}
    recipe = dataclasses.replace(RECIPES["speedrun"], seed=5, steps=40, **settled)
    runs = [make_run("a", recipe=recipe), make_run("b", framework="tensorflow", recipe=recipe)]
    expected = (
        "alexnet compare --variant cifar --width 0.125 --dataset digits --recipe speedrun "
        "--seed 5 --recipe.steps 40 --recipe.no-eval-flip --recipe.precision bfloat16 --device cpu"
    )
    assert commands(view_runs(runs)) == [expected]
    assert commands(view_runs(runs[:1]))[0].startswith("alexnet train --framework torch ")


def test_page_is_left_as_it_was_when_rendering_fails(pair, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    monkeypatch.setattr(page, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.write_report(path, pair)
    assert not path.exists()
    path.write_text("before")
    with pytest.raises(ZeroDivisionError):
        page.write_report(path, pair)
    assert path.read_text() == "before"


def test_report_without_runs_or_into_no_folder_is_refused(pair, report, tmp_path):
    with pytest.raises(RunError, match="needs at least one run"):
        report([])
    with pytest.raises(RunError, match=r"nowhere.*cannot be written"):
        report(pair[:1], path=tmp_path / "nowhere" / "report.html")


@pytest.mark.slow
def test_tables_import_neither_matplotlib_nor_jinja_nor_scikit_learn():
    heavy = "{'matplotlib', 'jinja2', 'sklearn', 'torch', 'tensorflow'}"
    code = f"import sys, alexnet_impl.report.run.tables; sys.exit(str({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stderr.strip() == "set()"


def test_words_between_backticks_are_code_and_the_rest_is_escaped():
    assert code("see `a <b>` & `c") == "see <code>a &lt;b&gt;</code> &amp; `c"
