"""The line that says where the time of a parity comparison went."""

from typing import Any

from alexnet_impl.frameworks import FRAMEWORKS
from alexnet_impl.parity.record import ParityRecord


def time_line(record: ParityRecord, seconds: float) -> str:
    """A sentence with a comparison's time and the imports, which are most of a short one.

    If Python keeps no bytecode of a framework, a second sentence says how to change that.
    """
    environment: dict[str, Any] = record.environment.get("frameworks", record.environment)
    facts = {name: environment.get(name, {}) for name in FRAMEWORKS}
    imports = {name: known["import_s"] for name, known in facts.items() if "import_s" in known}
    said = f"Time: {seconds:.1f} s"
    if imports:
        slow, *others = sorted(imports, key=lambda name: -imports[name])
        said += f", of which importing {slow} took {imports[slow]:.1f} s"
        said += "".join(f" ({name} at the same time {imports[name]:.1f} s)" for name in others)
    folders = {known.get("uncompiled"): name for name, known in facts.items()}
    said += "".join(
        f". Python compiles {name} anew in every process, since it keeps no bytecode of it; "
        f"compile it once: python -m compileall -q {folder}"
        for folder, name in folders.items()
        if folder
    )
    return f"{said}."
