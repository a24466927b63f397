"""Run as a script: `alexnet worker` with the NumPy framework in the place of the real ones."""

import sys

import fake_framework
import pytest

from alexnet_impl.processes.training_worker import serve

if __name__ == "__main__":
    fake_framework.install(pytest.MonkeyPatch())
    sys.exit(serve())
