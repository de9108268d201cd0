# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Start of the node's process: the imports, then the node.

Imports make hundreds of thousands of objects that all live on. Python looks for garbage among
them again and again, which takes a fifth of the time of the imports.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Let Python not look for garbage meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node; see `perception_node.main`."""
    with collecting_no_garbage():
        from minkowski_perception.node import perception_node
    perception_node.main(args)
