# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Start of the node's process: settings of its memory, the imports, then the node.

Imports make hundreds of thousands of objects that all live on. Python looks for garbage among
them again and again, which takes a fifth of the time of the imports.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from minkowski_perception.allocator import use_one_heap


@contextmanager
def importing() -> Iterator[None]:
    """Settle how the process gets its memory, and let Python not look for garbage meanwhile."""
    use_one_heap()
    # NumPy asks for pages of 2 MB, of which the system fills freed memory too.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main(args: list[str] | None = None) -> NoReturn:
    """Run the node; see `perception_node.main`."""
    with importing():
        from minkowski_perception.node import perception_node
    perception_node.main(args)


if __name__ == "__main__":
    main()
