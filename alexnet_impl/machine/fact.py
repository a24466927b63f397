"""One machine fact: a value ready for JSON, with its reader and its comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import pynvml

Facts = Mapping[str, Any]
Category = Literal["machine", "software", "state"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about a machine: how it is read, and what a difference in it means.

    Attributes:
        name: Its key in JSON.
        kind: Type of its value where it is known; float stands for any number.
        category: 'machine': times of machines that differ in it cannot be compared. 'software':
            an update or a setting changes it, and a difference is named beside the figures.
            'state': it belongs to one moment and is never compared.
        reader: Gives its value now; a GPU's fact is read with NVML's handle of the GPU.
        unit: Unit of a number; differences in 'B' are shown in GiB.
        label: Its name in differences; by default the key with spaces.
        tolerance: Relative difference of two numbers that counts as none.
        absent: Word for None where somebody has looked.
    """

    name: str
    kind: type
    category: Category
    reader: Callable[..., Any]
    unit: str = ""
    label: str = ""
    tolerance: float = 0.0
    absent: str = "unknown"

    def read(self, *gpu: Any) -> Any:
        """The value now; None where the system has no such call or file, or nothing to say."""
        try:
            return self.reader(*gpu)
        except (AttributeError, TypeError, LookupError, RuntimeError, OSError):
            return None
        except (psutil.Error, pynvml.NVMLError):
            return None
