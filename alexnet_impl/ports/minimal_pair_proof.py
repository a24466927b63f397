"""Proof of a minimal pair: its files are written and run, and kept only if they reproduce it."""

import io
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_impl.errors import RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.parity.record import MinimalPair
from alexnet_impl.ports.minimal_pair import ARRAYS, FILES, OUTPUT, PairDraft
from alexnet_impl.ports.model_workers import ON_THE_CPU
from alexnet_impl.processes.launch import run_script

REPRODUCED = 0.01
"""Files reproduce a difference if theirs differs from it by at most this fraction."""
ANSWER = "largest difference: "


def prove_draft(
    draft: PairDraft, folder: Path, interpreters: Mapping[str, str] | None = None
) -> MinimalPair:
    """Write the files of a minimal pair, run them and keep them if they reproduce the mismatch.

    Args:
        draft: The files.
        folder: Where they are written.
        interpreters: Framework to the Python that runs its file; this one by default.

    Raises:
        RunError: If a file cannot be written.
    """
    found, reason = math.nan, draft.reason
    pythons = dict.fromkeys(FILES, sys.executable) | dict(interpreters or {})
    if not reason:
        _write(draft, folder)
        try:
            found, said = _run(draft, folder, pythons)
            if not _reproduces(found, draft.difference):
                apart = draft.answer or f"{ANSWER}{draft.difference:.3g}"
                reason = f"the files gave '{said}', and the models '{apart}'"
        except RunError as error:
            reason = str(error).rstrip(".")
    if reason:
        for name in (ARRAYS, OUTPUT, *FILES.values()):
            (folder / name).unlink(missing_ok=True)
        return MinimalPair(
            where=draft.where, difference=draft.difference, reproduced=found, reason=reason
        )
    run = [f"{shlex.quote(pythons[name])} {file}" for name, file in FILES.items()]
    return MinimalPair(
        where=draft.where,
        difference=draft.difference,
        reproduced=found,
        files=(*FILES.values(), ARRAYS),
        command=" && ".join(run),
    )


def _write(draft: PairDraft, folder: Path) -> None:
    arrays = io.BytesIO()
    named: dict[str, Any] = draft.arrays  # for mypy, to which a keyword might be allow_pickle
    np.savez(arrays, **named)
    write_bytes(folder / ARRAYS, arrays.getvalue())
    for framework, name in FILES.items():
        write_bytes(folder / name, draft.texts[framework].encode())


def _run(draft: PairDraft, folder: Path, pythons: Mapping[str, str]) -> tuple[float, str]:
    """The difference that the two files give, and the line that says it."""
    lines = [""]
    for framework, name in FILES.items():
        printed = run_script(
            framework, folder / name, interpreter=pythons[framework], variables=ON_THE_CPU
        )
        lines = printed.splitlines() or [""]
    said = lines[-1]
    if draft.answer and said == draft.answer:
        return math.inf, said
    try:
        return float(said.removeprefix(ANSWER)), said
    except ValueError:
        return math.nan, said


def _reproduces(found: float, difference: float) -> bool:
    if math.isinf(difference):
        return found == difference
    return abs(found - difference) <= REPRODUCED * difference
