"""Refuses what is no weight file although its name says so: pointers, web pages, programs."""

import re
import zipfile
from pathlib import Path

from alexnet_impl.errors import WeightsError
from alexnet_impl.files import is_web_page

_HEAD_BYTES = 1024
_LFS = b"version https://git-lfs.github.com/spec/"
_TITLE = re.compile(rb"(?is)<title[^>]*>\s*(.*?)\s*</title>")


def refuse_wrong_file(path: Path) -> None:
    """Refuses a path that is no file of weights, with what it is instead.

    Raises:
        WeightsError: If there is no such file, or it is a folder, a Git LFS pointer, an HTML page
            or a TorchScript program.
    """
    if path.is_dir():
        _refuse_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_LFS):
        raise WeightsError(
            f"{path}: is a Git LFS pointer of {len(head)} bytes, not the file that it stands for; "
            "run `git lfs pull` in its repository, or download the file itself."
        )
    if is_web_page(head):
        title = _TITLE.search(head)
        named = f" ('{title[1].decode(errors='replace'):.80}')" if title else ""
        raise WeightsError(
            f"{path}: is an HTML page{named}, which a server sent instead of the file; open the "
            "address in a browser and download the file from there."
        )
    if _is_torchscript(path):
        raise WeightsError(
            f"{path}: is a TorchScript program, not a state_dict. Save its weights with: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pt')"
        )


def _refuse_folder(path: Path) -> None:
    if (path / "saved_model.pb").is_file():
        raise WeightsError(
            f"{path}: is a SavedModel folder, a program whose layers cannot be told apart; save "
            "the Keras model that it was made from with: model.save('model.keras')"
        )
    raise WeightsError(f"{path}: is a folder; give the weight file in it.")


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except Exception:  # noqa: BLE001 - no zip, or damaged: its own reader says so
        return False
