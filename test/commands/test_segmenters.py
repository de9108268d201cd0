# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import argparse
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from minkowski_perception.commands import demo, evaluate, label
from minkowski_perception.commands.processes import ProcessError
from minkowski_perception.commands.segmenters import add_segmenter_arguments, settings_of
from minkowski_perception.motion.ego_motion import StandingStill
from minkowski_perception.settings import SETTINGS, Settings, SettingsError

SHARED = [setting for setting in SETTINGS.values() if not setting.node_only]
OTHER = {
    "model": "indoor_depth",
    "device": "cpu",
    "engine": "torch",
    "precision": "float32",
    "execution": "window",
    "axes": "optical",
}
"""Valid strings that are not the default."""


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_segmenter_arguments(parser)
    return parser.parse_args(arguments)


def other_value(setting):
    """Return a valid value that is not the default, and the arguments that give it."""
    option = setting.name.replace("_", "-")
    if isinstance(setting.default, bool):
        value = not setting.default
        return value, [f"--{option}" if value else f"--no-{option}"]
    value = OTHER[setting.name] if isinstance(setting.default, str) else setting.default + 1
    return value, [f"--{option}", str(value)]


@pytest.mark.parametrize("setting", SHARED, ids=lambda s: s.name)
def test_every_shared_setting_has_an_option(setting):
    value, arguments = other_value(setting)
    assert settings_of(parse(*arguments)) == Settings.from_values({setting.name: value})


def test_without_options_the_settings_are_the_defaults():
    assert settings_of(parse()) == Settings()


def test_an_option_wins_over_the_default_of_a_command():
    assert settings_of(parse(), max_gap=5.0).max_gap == 5.0
    assert settings_of(parse("--max-gap", "2"), max_gap=5.0).max_gap == 2.0


def test_the_default_of_a_command_is_shown():
    parser = argparse.ArgumentParser()
    add_segmenter_arguments(parser, max_gap="that of the sensor")
    shown = parser.format_help()
    assert "Default: that of the sensor." in " ".join(shown.split())
    assert "Default: outdoor_lidar." in shown


def test_an_invalid_value_is_refused():
    with pytest.raises(SettingsError, match="averaging must be 1 to 32 frames, not 0"):
        settings_of(parse("--averaging", "0"))


@pytest.mark.parametrize("command", [demo, evaluate, label], ids=lambda c: c.__name__)
def test_commands_that_run_a_model_describe_every_shared_setting(command):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    shown = " ".join(parser.format_help().split())
    for setting in SHARED:
        assert setting.description in shown.replace("- ", "-")


def test_the_demo_passes_every_setting_on_to_its_node(monkeypatch, tmp_path):
    started = {}

    class Recorded:
        def __init__(self, *args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def start(self, name, module, parameters, remappings=None):
            started[name] = parameters
            raise ProcessError("enough")

    monkeypatch.setattr(demo, "Processes", Recorded)
    settings = Settings.from_values({s.name: other_value(s)[0] for s in SHARED})
    args = SimpleNamespace(out=tmp_path, realtime=True)
    bag = SimpleNamespace(path=tmp_path / "bag")
    with pytest.raises(ProcessError):
        demo._play(args, settings, bag, "/points", StandingStill())
    assert started["node"] == {
        **asdict(settings),
        "ego_motion": "none",
        "input_reliability": "reliable",
    }
