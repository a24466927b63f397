import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from alexnet_impl.report.figure_style import to_svg
from alexnet_impl.report.formatting import COLOURS
from alexnet_impl.report.run import plots
from alexnet_impl.report.run.groups import accuracy_difference, group_runs
from alexnet_impl.report.run.views import view_runs

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def svgs(pair_html):
    """The figures on the page of the pair."""
    return re.findall(r"<svg .*?</svg>", pair_html, re.DOTALL)


def grouped(runs):
    return group_runs(view_runs(runs))


def ids_of(svg):
    return set(re.findall(r'\bid="([^"]+)"', svg))


@pytest.mark.slow
def test_figure_becomes_the_same_svg_every_time(pair):
    groups = grouped(pair[:1])
    svg = to_svg(plots.loss_figure(groups))
    assert svg == to_svg(plots.loss_figure(groups))
    assert svg.startswith("<svg ")


def test_svgs_have_no_date_and_no_style_of_their_own(svgs):
    assert len(svgs) == 7
    for svg in svgs:
        assert "<dc:date>" not in svg
        assert "<style" not in svg


def test_svgs_of_different_figures_share_no_id(svgs):
    ids = [ids_of(svg) for svg in svgs]
    assert all(ids)
    assert len(set.union(*ids)) == sum(len(names) for names in ids)


def test_svg_refers_only_to_ids_that_it_has(svgs):
    for svg in svgs:
        assert set(re.findall(r'href="#([^"]+)"', svg)) <= ids_of(svg)
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= ids_of(svg)


def test_each_framework_has_its_colour_in_either_order(pair):
    for runs in (pair, pair[::-1]):
        colours = {view.config.framework: view.colour for view in view_runs(runs)}
        assert colours == {"torch": "#ee4c2c", "tensorflow": "#1f77b4"}


def test_runs_of_one_framework_have_colours_and_labels_of_their_own(make_run):
    views = view_runs([make_run("before"), make_run("after")])
    assert [view.label for view in views] == ["PyTorch (before)", "PyTorch (after)"]
    assert tuple(view.colour for view in views) == COLOURS["torch"][:2]


def test_loss_figure_draws_the_losses_of_the_folders(pair):
    axes = plots.loss_figure(grouped(pair)).axes[0]
    raw = [line for line in axes.lines if line.get_alpha() is not None]
    for line, folder, colour in zip(raw, pair, ("#ee4c2c", "#1f77b4"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), folder.history.step_loss)
        assert to_hex(line.get_color()) == colour


def test_loss_figure_leaves_out_a_loss_that_is_no_number(make_run):
    folder = make_run("diverged", status="diverged")
    line = plots.loss_figure(grouped([folder])).axes[0].lines[0]
    assert len(line.get_ydata()) == len(folder.history.step_loss) - 1


def test_long_curve_is_thinned_but_keeps_its_extremes(make_run):
    folder = make_run("long", num_train=100_000)
    line = plots.loss_figure(grouped([folder])).axes[0].lines[0]
    losses = folder.history.step_loss
    assert len(line.get_ydata()) < 1300 < len(losses)
    assert (line.get_ydata().min(), line.get_ydata().max()) == (min(losses), max(losses))


def test_difference_figure_has_a_logarithmic_axis_and_counts_equal_steps(pair, make_run):
    runs = [make_run("a", noise=0.0), make_run("b", framework="tensorflow", noise=0.0)]
    figure = plots.difference_figure(view_runs(runs))
    assert "40 of 40 steps" in figure.axes[0].texts[0].get_text()
    assert plots.difference_figure(view_runs(pair)).axes[0].get_yscale() == "log"


def test_confusion_figure_writes_the_counts(pair):
    for group in grouped(pair):
        (axes,) = plots.confusion_figure(group).axes
        counts = [int(text.get_text()) for text in axes.texts]
        assert sum(counts) == len(group.views[0].predictions.labels)


def test_class_names_are_text_and_not_mathematics(make_run):
    folder = make_run("odd", classes=("$a$", "b<c", r"\frac"))
    svg = to_svg(plots.confusion_figure(*grouped([folder])))
    assert "$a$" in svg
    assert "b&lt;c" in svg


def test_figure_of_many_classes_shows_the_lowest_and_writes_no_counts(make_run):
    classes = tuple(f"c{number}" for number in range(40))
    groups = grouped([make_run("many", classes=classes, num_test=80, num_train=80)])
    assert not plots.confusion_figure(*groups).axes[0].texts
    axes = plots.per_class_figure(groups).axes[0]
    assert len(axes.get_yticks()) == plots.MAX_SHOWN_CLASSES
    assert "20 lowest of 40" in axes.get_title(loc="left")


def test_figures_leave_the_callers_matplotlib_settings_alone(pair):
    before = dict(mpl.rcParams)
    to_svg(plots.interval_figure(grouped(pair[:1]), None))
    assert dict(mpl.rcParams) == before


def test_accuracies_stand_on_a_scale_that_shows_their_difference(pair):
    groups = grouped(pair)
    accuracies, difference = plots.interval_figure(groups, accuracy_difference(groups)).axes
    low, high = accuracies.get_xlim()
    assert low > 0.55
    assert high < 0.95
    assert "interval" in accuracies.get_title(loc="left")
    assert difference.get_xlim()[0] < 0 < difference.get_xlim()[1]


def test_curves_are_named_beside_their_ends_and_names_do_not_overlap(pair):
    """Both runs end at nearly one loss, so that their names must be moved apart."""
    axes = plots.loss_figure(grouped(pair)).axes[0]
    names = {text.get_text(): text.xy for text in axes.texts}
    assert set(names) == {"PyTorch", "TensorFlow"}
    assert all(x > 1 and 0 <= y <= 1 for x, y in names.values())
    (_, one), (_, other) = names.values()
    assert abs(one - other) >= 0.09 - 1e-9


def test_several_seeds_are_a_mean_with_a_band_from_the_lowest_to_the_highest(make_seeds):
    groups = grouped(make_seeds())
    for figure in (plots.loss_figure(groups), plots.accuracy_figure(groups)):
        axes = figure.axes[0]
        assert len(axes.collections) == 2
        assert {to_hex(band.get_facecolor()) for band in axes.collections} == {
            "#ee4c2c",
            "#1f77b4",
        }
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    reached = [
        epoch.eval_top1_accuracy for view in groups[0].views for epoch in view.history.epochs
    ]
    assert (band.min(), band.max()) == (min(reached), max(reached))
