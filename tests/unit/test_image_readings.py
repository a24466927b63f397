"""Every framing and every resampling of the tables is recognised from its results."""

import numpy as np
import pytest
from support.preprocessed import SIZE, noise_files, results

from alexnet_impl.ports.image_readings import FRAMINGS, RESAMPLINGS
from alexnet_impl.ports.preprocessing_search import read_both

pytestmark = pytest.mark.slow
FILES = noise_files()


@pytest.mark.parametrize("resampling", RESAMPLINGS, ids=lambda one: one.name)
def test_resampling_is_recognised(resampling):
    made = results(FILES, resampling=resampling)
    one, other = read_both(FILES, made, made)
    again = results(FILES, resampling=one.resampling)
    assert one.resampling is other.resampling
    assert all(np.array_equal(made[name], again[name]) for name in FILES), one.resampling.name


@pytest.mark.parametrize(
    "framing",
    [one for one in FRAMINGS[1:] if one.short(SIZE[0])],
    ids=lambda one: f"{one.name} {one.short(224)}",
)
def test_framing_is_recognised(framing):
    made = results(FILES, framing)
    one, _ = read_both(FILES, made, made)
    again = results(FILES, one.framing)
    assert all(np.array_equal(made[name], again[name]) for name in FILES), one.framing.name
