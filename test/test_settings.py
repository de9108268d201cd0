# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import inspect
import math
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from minkowski_perception.segmenter import Segmenter
from minkowski_perception.settings import (
    ENGINE_CHOICES,
    PRECISION_CHOICES,
    SETTINGS,
    Settings,
    SettingsError,
)
from minkowski_perception.sparse.selection import _PRECISIONS, ENGINES


def test_every_setting_has_a_description_and_a_valid_default():
    assert list(SETTINGS) == [field.name for field in fields(Settings)]
    for setting in SETTINGS.values():
        assert setting.description.endswith(".")
        assert setting.checked(setting.default) == setting.default


def test_values_are_given_by_name_and_others_keep_their_defaults():
    settings = Settings.from_values({"averaging": 3, "max_gap": 2, "sensor_pose": [1] * 6})
    assert settings == Settings(averaging=3, max_gap=2.0, sensor_pose=(1.0,) * 6)
    assert isinstance(settings.max_gap, float)
    assert settings.model == "outdoor_lidar"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"averging": 3}, "unknown setting 'averging'; did you mean 'averaging'?"),
        ({"paint": 3}, "unknown setting 'paint'; valid: model, device, engine,"),
        (
            {"engine": "abacus"},
            "engine must be one of auto, torch, numba, triton, spconv_triton, spconv",
        ),
        ({"engine": 3}, "engine must be a string, not 3"),
        ({"averaging": 0}, "averaging must be 1 to 32 frames, not 0"),
        ({"averaging": 3.0}, "averaging must be an integer, not 3.0"),
        ({"averaging": True}, "averaging must be an integer, not True"),
        ({"crf": 1}, "crf must be true or false, not 1"),
        ({"max_gap": 0}, "max_gap must be 0.01 to 3600 s, not 0.0"),
        ({"max_gap": math.nan}, "max_gap must be 0.01 to 3600 s, not nan"),
        ({"max_gap": "1"}, "max_gap must be a number, not '1'"),
        ({"intensity_full_scale": 1e7}, "must be 0 to 1000000, not 10000000.0"),
        ({"sensor_pose": [0.0] * 5}, "sensor_pose must be 6 finite numbers, not [0.0, 0.0"),
        ({"sensor_pose": [math.inf] * 6}, "sensor_pose must be 6 finite numbers, not [inf"),
        ({"sensor_pose": "origin"}, "sensor_pose must be 6 finite numbers, not 'origin'"),
        ({"sensor_pose": 0.0}, "sensor_pose must be 6 finite numbers, not 0.0"),
    ],
)
def test_an_error_names_the_setting_the_value_and_the_valid_ones(values, message):
    with pytest.raises(SettingsError) as refusal:
        Settings.from_values(values)
    assert message in str(refusal.value)


def test_a_setting_made_directly_is_checked_too():
    with pytest.raises(SettingsError, match="window must be 0 to 16 frames, not -1"):
        Settings(window=-1)


def test_the_choices_are_those_of_the_modules_that_implement_them():
    assert ("auto", *ENGINES) == ENGINE_CHOICES
    assert ("auto", *_PRECISIONS) == PRECISION_CHOICES


def test_the_segmenter_takes_every_shared_setting_with_the_same_default():
    parameters = inspect.signature(Segmenter).parameters
    options = Settings().segmenter_options()
    assert {**options} == {
        name: parameter.default for name, parameter in parameters.items() if name != "model"
    }
    shared = {name for name, setting in SETTINGS.items() if not setting.node_only}
    of_others = {"model", "threads", "level"}
    assert shared == {*options, *of_others} - {"map"}  # commands have their own --map


def test_zero_and_true_leave_the_choice_to_segmenter_and_model():
    assert Settings(window=4, intensity_full_scale=255.0, crf=False).segmenter_options() == {
        **Settings().segmenter_options(),
        "window": 4,
        "intensity_full_scale": 255.0,
        "crf": False,
    }


def test_settings_are_imported_without_heavy_packages():
    check = (
        "import sys, minkowski_perception.settings;"
        "print(*{'numpy', 'rclpy', 'scipy', 'torch', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_parameter_file_and_the_docs_are_as_the_settings_write_them():
    written = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "write_settings.py"))
    configuration, page = written["CONFIGURATION"].read_text(), written["PAGE"].read_text()
    hint = "run: python tools/write_settings.py"
    assert configuration == written["configuration"](), hint
    assert page == written["page"](page), hint
    assert page.count(written["table"]()) == 1
    values = yaml.safe_load(configuration)["/**"]["ros__parameters"]
    assert list(values) == list(SETTINGS)
    assert Settings.from_values(values) == Settings()
