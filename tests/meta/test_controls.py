"""The free bound can fail: a drift that no control shows is not excused by drawing them again."""

from types import SimpleNamespace

import numpy as np
import pytest

from alexnet_impl.data.batches import Batch
from alexnet_impl.network.variants import build_spec
from alexnet_impl.parity.lockstep import ParityCase, divergence, parity_recipe
from alexnet_impl.parity.stages import MOST_DRAWS, train_beside_controls
from alexnet_impl.recipe.recipe import Recipe

pytestmark = pytest.mark.fast

STEPS = 20


class ScriptedSide:
    """Its losses are 2 plus a drift; each further run, a control, lies so far from the first."""

    def __init__(self, name, drift, controls):
        self.name, self.drift, self.controls = name, drift, controls
        self.runs = 0

    def make(self, *_):
        offset = self.controls[self.runs - 1] if self.runs else 0.0
        self.runs += 1
        losses = iter(2 + self.drift * np.arange(STEPS) + offset * (np.arange(STEPS) > STEPS // 2))
        return SimpleNamespace(
            train_step=lambda *_: next(losses),
            read=lambda handles: [SimpleNamespace(loss=float(loss)) for loss in handles],
        )


def case():
    spec = build_spec("cifar", width=1 / 64)
    batch = Batch(images=np.zeros((1, 32, 32, 3), np.uint8), labels=np.zeros(1, np.int64))
    return ParityCase(spec=spec, recipe=parity_recipe(Recipe(), spec), batches=(batch,) * STEPS)


def trained(drift, controls):
    sides = [ScriptedSide("torch", 0.0, controls), ScriptedSide("tensorflow", drift, controls)]
    series = train_beside_controls(sides, case())
    within = np.less_equal(divergence(*series.losses.values()), series.allowed).all()
    return within, series.draws


def test_drift_beyond_every_control_fails_after_all_draws():
    assert trained(0.01, [1e-3] * MOST_DRAWS) == (False, MOST_DRAWS)


def test_equal_frameworks_need_one_draw():
    assert trained(0.0, [1e-3] * MOST_DRAWS) == (True, 1)


def test_a_control_that_met_no_flip_is_drawn_again():
    assert trained(9e-4, [1e-6, 1e-6, 0.05, 1e-6, 1e-6, 1e-6]) == (True, 3)
