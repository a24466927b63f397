"""Trainings that are killed at random instants and at file operations end as if they were not."""

import json
import subprocess
import sys

import pytest
from support import killed_runs

pytestmark = pytest.mark.slow


def test_campaign_of_kills_loses_no_epoch_and_changes_no_bit(framework_name, tmp_path, request):
    """How many kills is an option: `pytest -m slow -k campaign --kills 100`."""
    kills = request.config.getoption("--kills")
    command = [sys.executable, killed_runs.__file__, framework_name, str(tmp_path), str(kills), "0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("runs") >= 1
    assert found == {"kills": kills, "stuck": [], "lost_epochs": [], "other_bits": []}
