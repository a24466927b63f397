"""Reads published claims from a CSV file: one row a claim; comment lines start with #."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from alexnet_impl.errors import RecordError
from alexnet_impl.reproduction.claims.claim import FILES, SCALES, Claim, Quantity, read_number

COLUMNS = tuple(entry.name for entry in fields(Claim))
_PARSERS: dict[str, Callable[[str], Any]] = {
    "line": int,
    "epoch": int,
    "steps": int,
    "about": float,
    "from_bar": bool,
}
"""Columns that are not text."""
_ALLOWED = {"quantity": get_args(Quantity), "unit": tuple(SCALES), "from_bar": ("", "yes")}


def read_claims(path: Path) -> tuple[Claim, ...]:
    """The claims of a file in its order: report by report, each in the order of its text.

    Raises:
        RecordError: If it is no CSV, a column is missing or unknown, a cell is not valid, or two
            rows have one id.
    """
    try:
        return _read(path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: is not a CSV file of claims ({error}).") from error


def _read(path: Path) -> tuple[Claim, ...]:
    claims: dict[str, Claim] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader((line for line in lines if not line.startswith("#")), strict=True)
        if set(reader.fieldnames or ()) != set(COLUMNS):
            raise RecordError(f"{path}: has columns {reader.fieldnames}; valid are {COLUMNS}.")
        for row in reader:
            try:
                claim = Claim(**dict(_cells(row)))
                _check_number("printed", claim.printed)
                _check_number("upto", claim.upto)
            except (TypeError, ValueError) as error:
                raise RecordError(f"{path}: {row} is not a claim: {error}.") from error
            if claim.id in claims:
                raise RecordError(f"{path}: two rows have the id {claim.id}; ids must be unique.")
            claims[claim.id] = claim
    return tuple(claims.values())


def _cells(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field and value of each cell that is not empty."""
    if row.get("experiment", "").partition("-")[0] not in FILES:
        raise ValueError(f"experiment={row.get('experiment')!r} belongs to none of {list(FILES)}")
    for name in COLUMNS:
        text = row[name]
        if name in _ALLOWED and text not in _ALLOWED[name]:
            raise ValueError(f"{name}={text!r} is none of {_ALLOWED[name]}")
        if text:
            yield name, _PARSERS.get(name, str)(text)


def _check_number(name: str, text: str) -> None:
    """Refuse a figure that is not a number."""
    try:
        read_number(text or "0")
    except ArithmeticError as error:
        raise ValueError(f"{name}={text!r} is not a number") from error
