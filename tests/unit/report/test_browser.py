"""Every page in a real browser: on a desk and on a phone, light and dark, and printed."""

import os
import re
import shutil
from pathlib import Path

import pytest
from markupsafe import Markup
from support.measured import EQUAL, MACHINE_FACTS, pair

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.measurement.recording import (
    Interference,
    entry_of,
    read_recording,
    write_recording,
)
from alexnet_impl.parity.record import CheckResult, LayerDifference, ParityRecord
from alexnet_impl.report.bench.page import write_bench_page
from alexnet_impl.report.bench.releases import HEADER
from alexnet_impl.report.bench.rounds_figure import rounds_figure
from alexnet_impl.report.explain.tables import METRIC_LABELS
from alexnet_impl.report.figure_style import inline_svg
from alexnet_impl.report.ledger.page import write_ledger_page
from alexnet_impl.report.parity.page import write_parity_page
from alexnet_impl.report.run.page import write_report
from alexnet_impl.report.templates import render_page
from alexnet_impl.reproduction.verdicts.ledger import make_ledger

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 420, "height": 900}
PAGES = ("run", "explain", "ledger", "versions", "parity", "bench")


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium; ALEXNET_REQUIRE=browser makes its absence an error."""
    promised = "browser" in os.environ.get("ALEXNET_REQUIRE", "").split(",")
    say = pytest.fail if promised else pytest.skip
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        say("needs Chromium (apt install chromium); ALEXNET_REQUIRE=browser makes this an error")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        say(
            "needs playwright (pip install playwright); ALEXNET_REQUIRE=browser makes this an error"
        )
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(pair_html, tmp_path_factory):
    """A file of every kind of page, by its name."""
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in PAGES}
    found["run"].write_text(pair_html, encoding="utf-8")
    done = pair()
    doubts = Interference(warnings=("Other processes used 45% of all cores.",))
    entries = [entry_of(side, EQUAL) for side in (done.first, done.second)]
    write_recording(folder, MACHINE_FACTS, entries, [(done, EQUAL)], doubts)
    write_bench_page(found["bench"], read_recording(folder), rounds_figure(done))
    write_parity_page(found["parity"], parity_record(), rounds_figure(done))
    write_ledger_page(found["ledger"], make_ledger(None))
    figure = inline_svg(rounds_figure(done))
    rows = [tuple(f"{name} of a release" for name in HEADER)] * 3
    found["versions"].write_text(
        render_page("bench/releases.html.jinja", frame(image=figure, header=HEADER, rows=rows))
    )
    found["explain"].write_text(
        render_page("explain/explain.html.jinja", frame(image=figure, **explain_context()))
    )
    return found


def frame(**values):
    return {"title": "A page", "headline": "Its headline", "notes": ["A sentence."]} | values


def explain_context():
    row = {
        "name": "learning-rate-of-the-defaults",
        "kind": "mistake",
        "in_torch": "0.001, the default",
        "in_keras": "0.01, the default",
        "source": "a document",
        "cells": ["-3.10 [-4.20, -2.00]*"] * len(METRIC_LABELS),
        "measurable": [True] * len(METRIC_LABELS),
        "says": "changes accuracy and test loss",
    }
    run = ("PyTorch", "aligned", "0", "finished", "91.00%", "0.3100", "torch/aligned/seed-0")
    metrics = list(METRIC_LABELS.values())
    return {"metrics": metrics, "factors": [row] * 3, "summaries": [row], "runs": [run] * 3}


def parity_record():
    values = {"precision": "float64", "tolerance": 1e-12, "reason": "sums of 1,000 products"}
    held = CheckResult(name="logits", measured=1e-14, **values)
    failed = CheckResult(name="layers", measured=0.5, where="conv1", **values)
    layers = [
        LayerDifference(
            names=dict.fromkeys(FRAMEWORKS, f"features.{number}.a_layer_of_a_long_name"),
            before=dict.fromkeys(FRAMEWORKS, ("relu", "local_response_norm", "max_pool2d")),
            input=0.0,
            output=0.0 if number < 4 else 0.5,
        )
        for number in range(9)
    ]
    return ParityRecord(
        request={"variant": "cifar", "recipe": {"steps": 20}},
        environment={"cpu": "a processor"},
        checks=(held, failed),
        layers=tuple(layers),
        files={f"{'a_folder_of_a_long_name/' * 4}image.jpg": 0.25},
        complete=False,
    )


@pytest.fixture
def visit(browser):
    """Opens a page: (page, requests that left it, errors of its console)."""
    contexts = []

    def visit(path, viewport=DESK, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(Path(path).as_uri())
        outside = [url for url in requests if not url.startswith(("data:", Path(path).as_uri()))]
        return page, outside, errors

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_page_needs_no_network_and_never_scrolls_sideways(visit, pages, name, viewport):
    page, outside, errors = visit(pages[name], viewport)
    assert outside == []
    assert errors == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]


@pytest.mark.parametrize("name", PAGES)
def test_table_of_contents_leads_to_every_section(visit, pages, name):
    page, *_ = visit(pages[name])
    links = page.eval_on_selector_all("nav.contents a", "all => all.map(a => a.hash.slice(1))")
    assert len(links) >= 2
    assert len(set(links)) == len(links)
    for target in links:
        assert page.locator(f"[id='{target}']").count() == 1
    assert page.locator("h2:not([id])").count() == 0


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_first_screen_has_verdict_accuracies_difference_and_speed(visit, pages, viewport):
    page, *_ = visit(pages["run"], viewport)

    def boxes(selector):
        return [one.bounding_box() for one in page.locator(selector).all()]

    first, second = boxes(".big .side .value")
    shown = [first, second, *boxes("h1"), *boxes(".big .gap"), *boxes(".speed")]
    assert len(shown) == 5
    assert max(box["y"] + box["height"] for box in shown) <= viewport["height"]
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]
    assert min(first["height"], second["height"]) >= 30
    text = page.locator("header").inner_text()
    assert "80.00%" in text
    assert "75.00%" in text
    assert "+5.00" in text
    assert "Fast Processor 9000, 8 cores" in text
    assert "torch 2.14.1, tensorflow 2.21.0, keras 3.15.1" in text


def test_comparison_is_read_on_a_phone_without_scrolling(visit, pages):
    page, *_ = visit(pages["run"], PHONE)
    wider = page.eval_on_selector_all(
        "table.fold", "all => all.filter(t => t.scrollWidth > t.parentElement.clientWidth).length"
    )
    assert page.locator("table.fold").count() >= 1
    assert wider == 0
    heads = page.evaluate(
        "getComputedStyle(document.querySelector('table.fold td'), '::before').content"
    )
    assert heads == '"PyTorch"'


@pytest.mark.parametrize("name", PAGES)
def test_tables_fit_a_desk_and_a_phone(visit, pages, name):
    """Tables with a dozen columns or with paragraphs in them may scroll in their card on a desk."""
    for viewport in (PHONE,) if name in ("versions", "ledger") else (DESK, PHONE):
        page, *_ = visit(pages[name], viewport)
        wider = page.eval_on_selector_all(
            ".scroll", "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
        )
        assert wider == 0


LOW_CONTRAST = """() => {
  const channel = c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4
  const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b)
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number)
  const background = element => {
    for (let one = element; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor)
      if (found.length == 3 || found[3] > 0) return found
    }
    return [255, 255, 255]
  }
  const poor = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue
    const style = getComputedStyle(element)
    const ink = numbers(element.closest('svg') ? style.fill : style.color)
    const pair = [luminance(ink), luminance(background(element))].sort((a, b) => b - a)
    const ratio = (pair[0] + .05) / (pair[1] + .05)
    if (ratio < 4.5) poor.push(`${walker.currentNode.textContent.trim()}: ${ratio.toFixed(2)}`)
  }
  return poor
}"""
"""Texts with less contrast to what is behind them than WCAG 2 asks for (4.5)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_stands_out_in_light_and_dark(visit, pages, name, scheme):
    page, *_ = visit(pages[name], scheme=scheme)
    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", body)[:3])) < 150) == (scheme == "dark")
    assert page.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_counts_stand_out_in_every_cell_of_a_confusion_matrix(visit, pages, scheme):
    """A cell is at most 52 % of a run's colour over the card."""
    page, *_ = visit(pages["run"], scheme=scheme)
    shades = set(re.findall(r"--(shade-[0-9a-f]{6}):", pages["run"].read_text(encoding="utf-8")))
    assert len(shades) == 6
    page.evaluate(
        """shades => document.querySelector('main').replaceChildren(...shades.map(name => {
          const cell = document.createElement('p'), canvas = document.createElement('canvas')
          cell.style.background = `color-mix(in srgb, var(--${name}) 52%, var(--card))`
          cell.textContent = name
          document.querySelector('main').append(cell)
          const pen = canvas.getContext('2d')
          pen.fillStyle = getComputedStyle(cell).backgroundColor
          pen.fillRect(0, 0, 1, 1)
          cell.style.background = `rgb(${[...pen.getImageData(0, 0, 1, 1).data].slice(0, 3)})`
          return cell
        }))""",
        sorted(shades),
    )
    assert page.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("name", PAGES)
def test_printed_page_is_light_open_and_without_links(visit, pages, name):
    page, *_ = visit(pages[name], scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(36, 41, 47)"
    assert not page.locator("nav.contents").is_visible()
    folded = page.locator("details > :nth-child(2)").all()
    assert all(one.is_visible() for one in folded)
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_page_of_seeds_and_of_a_busy_machine_fits_a_phone(visit, make_seeds, tmp_path):
    path = tmp_path / "seeds.html"
    write_report(path, make_seeds())
    page, *_ = visit(path, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert "over 3 seeds" in page.locator("h1").inner_text()


def test_hostile_names_start_nothing(visit, make_run, tmp_path):
    path = tmp_path / "hostile.html"
    hostile = ("<script>document.title='run'</script>", "<img src=x onerror=alert(1)>", "a", "b")
    write_report(path, [make_run("torch", classes=hostile)], title=str(Markup("<b>title")))
    page, outside, errors = visit(path)
    assert page.title() == "<b>title"
    assert (outside, errors) == ([], [])
