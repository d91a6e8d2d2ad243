# SPDX-License-Identifier: Apache-2.0
"""The documentation agrees with the nodes and the files it talks about."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def parameter_tables(*options: str) -> str:
    command = [sys.executable, str(ROOT / "scripts/parameter_tables.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_parameter_tables_are_those_of_the_nodes() -> None:
    made = parameter_tables()
    assert made == (ROOT / "docs/parameters.md").read_text(), "run: python scripts/parameter_tables.py"


def test_the_readme_shows_the_parameters_one_tunes() -> None:
    made = parameter_tables("--readme")
    assert made in (ROOT / "README.md").read_text(), "put the output of scripts/parameter_tables.py --readme there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
