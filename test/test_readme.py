# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Statements of the README and the docs, checked against the code."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

from minkowski_perception.accounting import DropReason
from minkowski_perception.networks.model import available_models, load_model
from minkowski_perception.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
NODE = (ROOT / "docs" / "node.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text):
    """Lines of all bash blocks, continued lines joined, comments left out."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


COMMANDS = [command for page in PAGES for command in commands(page.read_text())]


def rows(heading, page=README):
    """First two cells of each row of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", section, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_make_command_has_its_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = {c.split()[1] for c in COMMANDS if c.startswith("make ")}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_line_parses():
    used = [c.split()[1:] for c in COMMANDS if c.startswith("minkowski-perception ")]
    assert used
    for name, *arguments in used:
        module = importlib.import_module(f"minkowski_perception.commands.{name}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        module.add_arguments(parser)
        parser.parse_args(arguments)


def test_every_launch_command_names_a_launch_file_and_its_arguments():
    used = [c.split()[3:] for c in COMMANDS if c.startswith("ros2 launch minkowski_perception")]
    assert used
    for name, *arguments in used:
        text = (ROOT / "launch" / name).read_text()
        text += (ROOT / "launch" / "perception.launch.py").read_text()
        for argument in arguments:
            given = argument.split(":=")[0]
            assert given in SETTINGS or f'"{given}"' in text, argument


def test_the_table_of_drop_reasons_is_complete():
    table = rows("Diagnostics", NODE)
    assert [reason for reason, _ in table] == [reason.value for reason in DropReason]


def test_the_model_table_tells_each_model_s_figures():
    table = dict(rows("Models"))
    assert sorted(table) == available_models()
    for name in available_models():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        for lidar, miou in load_model(name).card["figures"]["miou"].items():
            assert f"{lidar} {miou:.2f}" in row
