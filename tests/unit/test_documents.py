"""Documents at the root and docs/architecture.md name files, folders and rooms that exist."""

import importlib.util
import re
from pathlib import Path

import pytest

import alexnet_impl
from alexnet_impl.report.listings import markdown_variants

PACKAGE = Path(alexnet_impl.__file__).parent
ROOT = PACKAGE.parent
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ARCHITECTURE]
MAX_CONTRIBUTING_LINES = 80

pytestmark = pytest.mark.fast


def named_paths(text):
    """Folders and Python files in backticks, such as `runs/folder.py` or `parity/`."""
    return re.findall(r"`([\w/*]+(?:\.py|/))`", text)


def broken_paths(text):
    """Paths that exist neither in the package nor at the root."""
    places = (PACKAGE, ROOT)
    return [path for path in named_paths(text) if not any(any(p.glob(path)) for p in places)]


def broken_links(document):
    """Relative links of a document that lead nowhere."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text())
    return [link for link in links if not (document.parent / link).exists()]


def test_missing_path_is_reported():
    text = "`runs/folder.py`, `frameworks/*/model.py`, `tests/meta/`, `runs/nothing.py`, `picks/`"
    assert broken_paths(text) == ["runs/nothing.py", "picks/"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_paths_and_links_lead_somewhere(document):
    assert broken_paths(document.read_text()) == []
    assert broken_links(document) == []


def test_architecture_lists_every_room():
    entries = [path for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"]
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in entries
        if not path.name.startswith("__")
    }
    table = ARCHITECTURE.read_text().partition("| room |")[2].partition("\n\n")[0]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines() if "|" in line[1:])
    assert set(named_paths(first_cells)) == rooms


def test_contributing_is_short():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(text.splitlines()) <= MAX_CONTRIBUTING_LINES


def load_script(name):
    """A script of docs/examples, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_of_variants_is_written_into_the_readme(tmp_path, capsys):
    script = load_script("variants_table")
    readme = tmp_path / "README.md"
    whole = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = markdown_variants().splitlines(keepends=True)
    assert whole.count(rows[-1]) == 1
    readme.write_text(whole.replace(rows[-1], ""), encoding="utf-8")
    assert script.main(readme) == 0
    assert readme.read_text(encoding="utf-8") == whole
    readme.write_text("No table.")
    assert script.main(readme) == 1
    assert "has 0 tables" in capsys.readouterr().out


def test_picture_is_of_the_report_that_compare_writes(tmp_path, monkeypatch, capsys):
    script = load_script("report_picture")
    commands = []
    monkeypatch.setattr(script.subprocess, "run", lambda command, **_: commands.append(command))
    picture = tmp_path / "report.png"
    assert script.main(["--output", str(picture), "--browser", "browser"]) == 0
    compare, browser = commands
    assert compare[1:5] == ["-P", "-m", "alexnet_impl", "compare"]
    assert browser[0] == "browser"
    assert f"--screenshot={picture}" in browser
    assert browser[-1] == f"file://{compare[-1]}/report.html"
    monkeypatch.setattr(script.shutil, "which", lambda _: None)
    with pytest.raises(SystemExit):
        script.main([])
    assert "--browser" in capsys.readouterr().err


def test_bug_report_asks_for_the_doctor_first():
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text()
    first, _, _ = template.partition("type: textarea")[2].partition("- type:")
    assert "`alexnet doctor`" in first
    assert "required: true" in first
