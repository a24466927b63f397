"""Loads a function of the user's own: 'package.module:function' or 'path/to/file.py:function'.

Its folder is importable only while its module is loaded and while the function runs.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, cast

from alexnet_impl.errors import UserCodeError, nearest, require_home

FUNCTION = cast("type", Callable)
"""What isinstance() takes for anything that can be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserObject:
    """A function, or another object, of a module of the user's own.

    Attributes:
        place: As the user gave it.
        value: The object.
        folders: Folders that are importable while it is called.
    """

    place: str
    value: Any
    folders: tuple[Path, ...]

    def call(self, **arguments: Any) -> Any:
        """Calls the object.

        Raises:
            UserCodeError: If it raises; with the file and line.
        """
        with self.importable():
            try:
                return self.value(**arguments)
            except (Exception, SystemExit) as error:
                given = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
                how = f"with {given}" if given else "without arguments"
                raise UserCodeError(
                    f"{self.place}: {self.said(error)}; the function is called {how}."
                ) from error

    def importable(self) -> AbstractContextManager[None]:
        """A block in which its folders are importable."""
        return _importable(self.folders)

    def said(self, error: BaseException) -> str:
        """An error as the end of a sentence: what was raised, with the file and line."""
        return _said(error, self.folders)


def _short(value: Any) -> str:
    """A value in a message; a model prints itself in many lines."""
    said = str(value)
    return said if said.isprintable() else f"a {type(value).__name__}"


def load_user_object(place: str, folder: Path, kinds: tuple[type, ...] = (FUNCTION,)) -> UserObject:
    """Loads what 'module:name' or 'file.py:name' names.

    Args:
        place: The module or file, a colon and a name in it.
        folder: The user's folder, where files and modules are looked for.
        kinds: What the object may be; a function by default.

    Raises:
        UserCodeError: If there is no such module or name, or the module raises.
    """
    source, colon, name = place.rpartition(":")
    if not colon or not source or not name:
        raise UserCodeError(
            f"'{place}': must have the form module:function, such as my_port.nets:build_model."
        )
    with require_home("give the absolute path of the file"):
        path = folder / Path(source).expanduser()
    folders = (path.parent, folder) if source.endswith(".py") else (folder,)
    with _importable(folders):
        try:
            module = (
                _import_file(path) if source.endswith(".py") else importlib.import_module(source)
            )
        except FileNotFoundError:
            raise UserCodeError(f"{place}: no such file: {path}.") from None
        except ModuleNotFoundError as error:
            raise _missing(place, source, folder, error) from error
        except (Exception, SystemExit) as error:
            said = _said(error, folders)
            raise UserCodeError(f"{place}: importing it failed: {said}.") from error
    if isinstance(value := getattr(module, name, None), kinds):
        return UserObject(place=place, value=value, folders=folders)
    public = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and _is_own(value, module, kinds)
    ]
    near = nearest(name, public)
    raise UserCodeError(
        f"{place}: {source} has no function {name}; it has {', '.join(public) or 'none'}."
        + (f" Did you mean {near}?" if near else "")
    )


def _is_own(value: object, module: ModuleType, kinds: tuple[type, ...]) -> bool:
    """Whether it is a function or class of this module, or of the other kinds."""
    if isinstance(value, FunctionType | type):
        return value.__module__ == module.__name__
    return isinstance(value, tuple(kind for kind in kinds if kind is not FUNCTION))


def _import_file(path: Path) -> ModuleType:
    """Imports a file, whatever its name: 'types.py' is not the module of that name."""
    if not path.is_file():
        raise FileNotFoundError(path)
    name = path.stem if path.stem not in sys.modules else f"_user_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget_modules_of(folders: tuple[Path, ...], known: frozenset[str]) -> None:
    """Forgets modules that were loaded from these folders, so that an edited file is read anew.

    `known` are the names of modules that stay.
    """
    for name in sys.modules.keys() - known:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and any(Path(file).parent == folder for folder in folders):
            del sys.modules[name]


@contextmanager
def _importable(folders: tuple[Path, ...]) -> Iterator[None]:
    """Puts the folders first on sys.path while the block runs."""
    names = [str(folder) for folder in folders]
    sys.path[:0] = names
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for name in names:
            if name in sys.path:
                sys.path.remove(name)


def _missing(place: str, source: str, folder: Path, error: ModuleNotFoundError) -> UserCodeError:
    """The error for a module that is not installed: the one named, or one that it imports."""
    missing = error.name or ""
    if source != missing and not source.startswith(f"{missing}."):
        said = _said(error, (folder,))
        return UserCodeError(f"{place}: {said}; install it or correct the import.")
    return UserCodeError(
        f"{place}: no module {missing} is installed or in {folder}; start from its folder, or "
        "give the file: path/to/module.py:function."
    )


def _said(error: BaseException, folders: tuple[Path, ...]) -> str:
    """Kind, first line and place of an error: the last line of it in the user's own folders."""
    text = str(error).strip().splitlines()
    said = f": {text[0]}" if text else ""
    if isinstance(error, SyntaxError):
        said, file, line = f": {error.msg}", error.filename or "", error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).parent in folders]
        file, line = (own or frames)[-1].filename, (own or frames)[-1].lineno
    return f"it raised {type(error).__name__}{said} ({Path(file).name}, line {line})"
