"""Worker processes for models that are given by name, shared between comparisons."""

import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from alexnet_impl.frameworks import FrameworkName
from alexnet_impl.ports.worker import RemoteModel
from alexnet_impl.processes.channel import Channel, open_channel

# The tolerances were measured with the CPU's rounding.
ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": "-1"}


class ModelWorkers:
    """A worker process for each framework, for one comparison at a time.

    A worker starts when it is first needed and runs until the block ends, so that comparisons
    import a framework once between them. One that has died is replaced.
    """

    def __init__(self, interpreters: Mapping[str, str] | None = None) -> None:
        """Take the Python that runs each framework, by default this one; it needs this package."""
        self.interpreters = dict(interpreters or {})
        self._running: dict[str, tuple[Channel, ExitStack]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def start(self, framework: FrameworkName) -> Channel:
        """The channel to a framework's worker, which is started if it does not run.

        Raises:
            RunError: If it cannot be started.
        """
        if framework in self._running:
            channel, stack = self._running[framework]
            if channel.worker.process.poll() is None:
                return channel
            del self._running[framework]
            stack.close()
        interpreter = self.interpreters.get(framework, sys.executable)
        stack = ExitStack()
        channel = stack.enter_context(
            open_channel(framework, "model", interpreter=interpreter, variables=ON_THE_CPU)
        )
        self._running[framework] = channel, stack
        return channel

    def open(
        self, framework: FrameworkName, place: str, folder: Path, path: Sequence[str] = ()
    ) -> RemoteModel:
        """Build the model that a function returns; see RemoteModel.open().

        Raises:
            RunError: If the worker cannot be started, or the model cannot be built.
        """
        model = RemoteModel(self.start(framework))
        model.open(framework, place, folder, path)
        return model

    def close(self) -> None:
        """End all workers."""
        while self._running:
            _, (_, stack) = self._running.popitem()
            stack.close()


def project_path() -> tuple[str, ...]:
    """Folders that this process imports from beside its installation, as pytest adds them."""
    installed = {*sysconfig.get_paths().values(), *site.getsitepackages()}
    installed.add(site.getusersitepackages())
    library = Path(sysconfig.get_path("stdlib"))
    folders = [Path(entry).absolute() for entry in sys.path]
    return tuple(
        str(folder)
        for folder in folders
        if folder.is_dir() and str(folder) not in installed and library not in folder.parents
    )
