"""Writes the table of variants into the README again: `python docs/examples/variants_table.py`."""

import re
import sys
from pathlib import Path

from alexnet_impl.report.listings import markdown_variants

README = Path(__file__).parents[2] / "README.md"
TABLE = re.compile(r"^\| variant \|.*\n(?:\|.*\n)+", re.MULTILINE)


def main(readme: Path = README) -> int:
    """Replace the table; the exit code is 1 if there is not one table."""
    text, count = TABLE.subn(lambda _: markdown_variants(), readme.read_text(encoding="utf-8"))
    if count != 1:
        print(f"{readme}: has {count} tables that start with '| variant |'; it must have one.")
        return 1
    readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
