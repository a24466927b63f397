"""Make docs/report.png, the README's picture: the report of `alexnet compare` in Chromium.

python docs/examples/report_picture.py
python docs/examples/report_picture.py --output report.png --browser /usr/bin/chromium
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1100, 1110
"""Pixels: the first screen of the page, the accuracies' intervals and the equality checks."""
REPORT_PNG = Path(__file__).parents[1] / "report.png"


def screenshot_command(browser: str, page: Path, picture: Path) -> list[str]:
    """The command that writes the top of a page as a PNG of WIDTH x HEIGHT pixels."""
    return [
        browser,
        "--headless",
        "--hide-scrollbars",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--screenshot={picture.absolute()}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium has no sandbox for root
        page.absolute().as_uri(),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both frameworks on the digits, and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=REPORT_PNG, help="the PNG file to write")
    parser.add_argument("--browser", help="Chromium or Chrome; default: the first one found")
    given = parser.parse_args(arguments)
    browser = given.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        parser.error("no Chromium was found; install it (apt install chromium) or give --browser.")
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "compare"
        compare = [sys.executable, "-P", "-m", "alexnet_impl", "compare", "--output", str(runs)]
        subprocess.run(compare, check=True)  # noqa: S603 - this package
        shot = screenshot_command(browser, runs / "report.html", given.output)
        subprocess.run(shot, check=True)  # noqa: S603 - the named browser
    print(f"Picture: {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
