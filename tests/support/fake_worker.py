"""Run as a script: `alexnet worker` with the NumPy framework in the place of the real ones."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from alexnet_impl.processes.training_worker import serve
from support import fake_framework

if __name__ == "__main__":
    fake_framework.install(pytest.MonkeyPatch())
    sys.exit(serve())
