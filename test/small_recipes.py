# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A minimal data set and recipe for tests."""

from pathlib import Path
from typing import Any

import numpy as np


def write_sequences(
    root: Path,
    frames: int = 4,
    names: tuple[str, ...] = ("00", "08"),
    ids: tuple[int, ...] = (10, 30, 40, 50, 70),
) -> None:
    """Write streets of a few hundred points, with labels of these ids, as SemanticKITTI has."""
    rng = np.random.default_rng(0)
    for name in names:
        folder = root / "sequences" / name
        for part in ("velodyne", "labels"):
            (folder / part).mkdir(parents=True)
        for i in range(frames):
            points = rng.uniform(-15, 15, (600, 4)) * (1.0, 1.0, 0.1, 0.03) + (0, 0, 0, 0.5)
            classes = rng.choice(np.array(ids, np.uint32), 600)
            points.astype("<f4").tofile(folder / "velodyne" / f"{i:06d}.bin")
            classes.astype("<u4").tofile(folder / "labels" / f"{i:06d}.label")
        poses = np.tile(np.eye(4)[:3], (frames, 1, 1))
        poses[:, 0, 3] = np.arange(frames)
        np.savetxt(folder / "poses_lidar.txt", poses.reshape(frames, 12))


def small_recipe(root: Path, **changes: Any) -> dict[str, Any]:
    """Return a recipe that trains in a second on that data set; changes replace its keys."""
    recipe = {
        "name": "small",
        "seed": 3,
        "labels": "semantickitti19",
        "window": 1,
        "network": {
            "name": "MinkUNet14A",
            "in_channels": 2,
            "heads": {"classes": 19},
            "stem_kernel": 3,
            "width": 0.25,
        },
        "input": {"voxel_size": 0.5, "features": ["one", "intensity"]},
        "data": {
            "sets": [{"name": "semantickitti", "root": str(root), "split": "train"}],
            "held_out_sets": [
                {"name": "semantickitti", "root": str(root), "split": "val", "frames": 2}
            ],
        },
        "augmentation": [{"rotate": {}}, {"jitter": {}}],
        "optimization": {"iterations": 4, "batch_size": 2, "learning_rate": 0.01},
        "card": {"license": "Apache-2.0"},
    }
    return {**recipe, **changes}
