"""Contents of experiment.json: which experiment a run folder belongs to, and where it lies.

DIR/BUDGET/ID/seed-N holds experiment.json and, named after its framework, the run folder.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from alexnet_impl.errors import RecordError, RunError
from alexnet_impl.files import write_bytes
from alexnet_impl.typed_json import parse_json, read

RECORD = "experiment.json"
SCHEMA_VERSION = 1
AGAIN = "remove the folder, and run the experiment again"
_FORMER_KEYS = {"departures": "mismatches"}
_FORMER_START, _START = "begins with ", "starts from "
"""Keys, and the start of a mismatch, in files written before they were renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """Content of experiment.json, which describes the run folder beside it.

    Attributes:
        label: What the budget cut; empty for a full run.
        mismatches: How the run differs from the report's words beyond the budget.
    """

    experiment: str
    budget: str
    seed: int
    label: str
    mismatches: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
            RunError: If it is missing, damaged or of another release.
        """
        try:
            values = parse_json(path.read_bytes())
            version = values.pop("schema_version", None) if isinstance(values, dict) else None
            if version == SCHEMA_VERSION:
                record = read(cls, {_FORMER_KEYS.get(k, k): v for k, v in values.items()})
                return replace(record, mismatches=tuple(map(_current, record.mismatches)))
            problem = f"has schema_version={version!r}, not {SCHEMA_VERSION}"
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        except RecordError as error:
            problem = f"is not the record of an experiment ({error})"
        except ValueError:
            problem = "is not JSON"
        raise RunError(f"{path}: {problem}; {AGAIN}.")

    def write(self, path: Path) -> None:
        """Writes the file whole."""
        values = {"schema_version": SCHEMA_VERSION} | asdict(self)
        write_bytes(path, json.dumps(values, indent=1).encode())


def _current(mismatch: str) -> str:
    """A mismatch as it is worded today."""
    former = mismatch.startswith(_FORMER_START)
    return _START + mismatch.removeprefix(_FORMER_START) if former else mismatch
