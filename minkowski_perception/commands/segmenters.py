# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the settings, and the segmenter with these settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands import CommandError
from minkowski_perception.settings import (
    AUTO,
    RECORDED_EGO_MOTION_CHOICES,
    SETTINGS,
    Setting,
    Settings,
)

if TYPE_CHECKING:
    from minkowski_perception.segmenter import Segmenter

_METAVAR_OF_UNIT = {"s": "SECONDS", "frames": "FRAMES"}
_METAVAR_OF_TYPE = {int: "N", float: "X", str: "NAME"}


def add_segmenter_arguments(
    parser: argparse.ArgumentParser, several: Sequence[str] = (), **defaults: str
) -> None:
    """Add an option for every setting that commands share with the node.

    True and false are --NAME and --no-NAME. An option that is not given is None.

    Args:
        parser: of the command.
        several: names of settings whose option takes one value or more.
        defaults: the default in words, of settings where the command has its own.
    """
    group = parser.add_argument_group("settings, the same as the node's")
    for name, setting in SETTINGS.items():
        if setting.node_only:
            continue
        option = f"--{name.replace('_', '-')}"
        text = _help(setting, defaults.get(name))
        kind = type(setting.default)
        if kind is bool:
            group.add_argument(
                option, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            metavar = _METAVAR_OF_UNIT.get(setting.unit, _METAVAR_OF_TYPE[kind])
            count = "+" if name in several else None
            group.add_argument(option, type=kind, nargs=count, metavar=metavar, help=text)


def add_ego_motion_argument(parser: argparse.ArgumentParser, bag: str) -> None:
    """Add the option --ego-motion of commands that read recordings.

    Args:
        parser: of the command.
        bag: in words, the poses that the choice "bag" takes.
    """
    parser.add_argument(
        "--ego-motion",
        choices=RECORDED_EGO_MOTION_CHOICES,
        default=AUTO,
        help=f"bag: {bag}; kiss_icp: registration of the clouds; none: the sensor stands still; "
        "auto: the first of bag, kiss_icp and unknown motion that is available (%(default)s)",
    )


def _help(setting: Setting, default: str | None) -> str:
    if default is None:
        default = str(setting.default)
        default = default.lower() if isinstance(setting.default, bool) else default
    return f"{setting.summary} Default: {default}.".replace("%", "%%")


def settings_of(args: argparse.Namespace, **defaults: Any) -> Settings:
    """Return the settings that the arguments give; `defaults` replace those of `Settings`.

    Raises:
        SettingsError: a value is not valid.
    """
    shared = [name for name, setting in SETTINGS.items() if not setting.node_only]
    given = {name: getattr(args, name) for name in shared if getattr(args, name) is not None}
    return Settings.from_values({**defaults, **given})


def load_segmenter(settings: Settings, kind: type[Segmenter] | None = None) -> Segmenter:
    """Load the model with the settings, and prepare this process to run it.

    Args:
        settings: of the segmenter.
        kind: class of the segmenter; None for `Segmenter`.

    Raises:
        CommandError: the model cannot be loaded, or cannot run with these settings.
    """
    from minkowski_perception.device import use_threads
    from minkowski_perception.segmenter import Segmenter

    use_threads(settings.threads)  # before engines are timed
    try:
        return (kind or Segmenter).load(settings.model, **settings.segmenter_options())
    except ValueError as error:
        raise CommandError(str(error)) from error
