# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import sys
from pathlib import Path

from minkowski_perception.lab.simulation import version


def test_the_version_changes_with_the_source_and_with_a_sensor(tmp_path):
    folder = tmp_path / "simulation"
    shutil.copytree(Path(version.__file__).parent, folder)

    def digest() -> str:
        code = "from version import simulator_version; print(simulator_version())"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, check=True
        )
        return done.stdout.decode().strip()

    versions = [digest()]
    assert versions == [version.simulator_version()]
    for changed in ("street.py", "sensors/vlp16.yaml"):
        path = next(folder.rglob(Path(changed).name))
        path.write_text(path.read_text() + "\n")
        versions.append(digest())
    assert len(set(versions)) == 3
