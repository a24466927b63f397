"""Markdown tables of a folder that gpu_quarter_hour.sh wrote: python gpu_table.py FOLDER."""

import json
import sys
from pathlib import Path

TARGET = 0.8076
"""R3-tf: the best accuracy from scratch in the reports."""


def read(path):
    """A JSON file's content; None if it is missing or was cut off."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def machine_lines(folder):
    """The card, the processor and the releases of the first benchmark."""
    for path in sorted(folder.glob("*/bench.json")):
        if found := read(path):
            machine = found["machine"]
            gpus = [f"{gpu['name']} (driver {gpu['driver']})" for gpu in machine.get("gpus") or []]
            releases = {}
            for entry in found["measured"]:
                names = ("torch", "tensorflow", "keras", "cuda", "cudnn")
                releases |= {k: v for k, v in entry.get("framework", {}).items() if k in names}
            versions = ", ".join(f"{name} {version}" for name, version in releases.items())
            yield f"{', '.join(gpus) or 'No GPU'}; {machine.get('cpu')}; {versions}."
            return


def bench_rows(folder):
    """A row for each side of each benchmark; a pair's ratio stands in its first row."""
    for path in sorted(folder.glob("*/bench.json")):
        found = read(path)
        pairs = {pair["first"]: pair for pair in (found or {}).get("compared", ())}
        for entry in (found or {}).get("measured", ()):
            yield (
                f"{entry['title']}{stopped(found, entry)}",
                *figures(entry),
                ratio(pairs.get(entry["title"])),
            )


def stopped(found, entry):
    """How many rounds a side has if its benchmark was stopped; otherwise nothing."""
    if found.get("complete", True):
        return ""
    rounds = len(entry["times_s"]) // (2 if found.get("compared") else 1)
    return f" (stopped after {rounds} round{'s' * (rounds != 1)})"


def figures(entry):
    """Images per second, % of peak FLOP/s and memory of one side."""
    if "out_of_memory" in entry:
        return f"out of memory; {entry['out_of_memory']['fits']} fits", "-", "-"
    share, memory = entry["fraction_of_peak"], entry["memory"]
    held = memory["device"] or memory["process"] or 0
    return (
        f"{entry['per_second']:,.0f}",
        "-" if share is None else f"{share:.1%}",
        f"{held / 2**20:,.0f} MiB",
    )


def ratio(pair):
    """The ratio with its interval and verdict, or why there is none."""
    if pair is None:
        return ""
    if not (pair["gate"] or {}).get("holds", True):
        return f"none: {pair['gate']['outcome']}"
    found, bounds = (
        pair["ratio"],
        ["?" if pair["ratio"][k] is None else f"{pair['ratio'][k]:.2f}" for k in ("low", "high")],
    )
    return f"{found['ratio']:.2f} [{', '.join(bounds)}], {pair['verdict']}"


def run_rows(folder):
    """A row for each training: its end, accuracy, seconds and epochs."""
    for path in sorted(folder.glob("*/run.json")):
        result, history = read(path.parent / "result.json"), read(path.parent / "history.json")
        if result is None:
            yield path.parent.name, "did not end", "-", "-", "-"
            continue
        accuracy, timing = result["test_top1_accuracy"], result["timing"]
        reached = "" if accuracy is None or accuracy < TARGET else f", {TARGET:.2%} reached"
        yield (
            path.parent.name,
            result["status"],
            "-" if accuracy is None else f"{accuracy:.2%}{reached}",
            f"{timing['training_time_s'] + timing['first_step_time_s']:.1f} s",
            str(len((history or {}).get("epochs", ()))),
        )


def step_rows(folder):
    """A row for each step of the script."""
    path = folder / "steps.tsv"
    for line in path.read_text().splitlines() if path.is_file() else ():
        name, seconds, code = line.split("\t")
        yield name, f"{seconds} s", "ran" if code == "0" else f"exit code {code}"


def table(header, rows):
    """A Markdown table; nothing without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *lines, ""] if lines else []


def main(folder):
    """Every table of the folder."""
    first = "images/s", "% of peak FLOP/s", "memory", "first / second side"
    lines = [*machine_lines(folder), ""]
    lines += table(("case", *first), bench_rows(folder))
    lines += table(("training", "status", "test accuracy", "training", "epochs"), run_rows(folder))
    lines += table(("step", "time", "outcome"), step_rows(folder))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])))
