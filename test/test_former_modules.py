# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("datasets.kitti", "lab.datasets.kitti"),
        ("datasets.bags", "recordings.bags"),
        ("networks.importers.checkpoint", "lab.importers.checkpoint"),
        ("temporal.motion", "motion.ego_motion"),
        ("temporal.averaging", "streaming.averaging"),
    ],
)
def test_a_module_is_imported_by_its_former_name_with_a_warning(former, now):
    with pytest.warns(DeprecationWarning, match=f"{former} is now minkowski_perception.{now}"):
        module = import_module(f"minkowski_perception.{former}")
    assert module is import_module(f"minkowski_perception.{now}")
    assert module.__name__ == f"minkowski_perception.{now}"


def test_a_module_that_never_was_is_not_found_where_it_would_be_now():
    with pytest.raises(ModuleNotFoundError, match=r"'minkowski_perception\.lab\.datasets\.waymo'"):
        import_module("minkowski_perception.datasets.waymo")


def test_other_modules_are_not_found_as_before():
    with pytest.raises(ModuleNotFoundError, match=r"'minkowski_perception\.planning'"):
        import_module("minkowski_perception.planning")
