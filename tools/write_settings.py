# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Write config/perception.yaml and the parameter table of docs/node.md from the settings.

python tools/write_settings.py
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from minkowski_perception.settings import SETTINGS  # noqa: E402

CONFIGURATION = ROOT / "config" / "perception.yaml"
PAGE = ROOT / "docs" / "node.md"

_WIDTH = 99
_INDENT = 4 * " "
_BEGIN = "<!-- Written by tools/write_settings.py: -->\n"
_END = "<!-- End of what tools/write_settings.py writes. -->\n"
_HEAD = """\
# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
#
# Parameters of the node, with their defaults. Written by tools/write_settings.py.
/**:
  ros__parameters:
"""


def configuration() -> str:
    """Return config/perception.yaml."""
    entries = []
    for name, setting in SETTINGS.items():
        comment = textwrap.wrap(setting.summary, _WIDTH - len(_INDENT) - 2)
        lines = [*(f"# {line}" for line in comment), f"{name}: {_yaml(setting.default)}"]
        entries.append("".join(f"{_INDENT}{line}\n" for line in lines))
    return _HEAD + "\n".join(entries)


def table() -> str:
    """Return the table of parameters in Markdown."""
    rows = ["| parameter | default | |\n", "|---|---|---|\n"]
    for name, setting in SETTINGS.items():
        marks = " Node only." * setting.node_only + " Can be set at any time." * setting.live
        rows.append(f"| `{name}` | `{_yaml(setting.default)}` | {setting.summary}{marks} |\n")
    return "".join(rows)


def page(text: str) -> str:
    """Return the text of docs/node.md with its table updated."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def main() -> None:
    """Write both files."""
    CONFIGURATION.write_text(configuration())
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
