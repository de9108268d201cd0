# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
import shlex
import subprocess
import sys

import pytest

import minkowski_perception
from minkowski_perception.commands import CommandError, benchmark, label, main


def test_every_command_has_a_line_of_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in main.COMMANDS:
        assert re.search(rf"^ +{name}\s+\w+ \w+ \w+", shown, re.MULTILINE), name


def test_help_does_not_import_slow_packages():
    code = (
        "import sys; from minkowski_perception.commands.main import main\n"
        "try: main(['label', '--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'rosbags', 'matplotlib', 'scipy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_version_prints_the_version_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main.main(["--version"])

    assert capsys.readouterr().out.strip() == minkowski_perception.__version__


def test_an_error_of_the_package_is_one_line_and_status_2(capsys, monkeypatch):
    def refuse(args):
        raise CommandError("unknown topic; choose one of /points")

    monkeypatch.setattr(label, "run", refuse)

    assert main.main(["label", "bag", "--out", "out"]) == 2
    printed = capsys.readouterr().err
    assert printed == "minkowski-perception label: unknown topic; choose one of /points\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("label bag --out o --modle x", "arguments: --modle x; did you mean --model?"),
        ("models x", "arguments: x; see minkowski-perception models --help"),
        (
            "benchmark memory --colour",
            "arguments: --colour; see minkowski-perception benchmark",
        ),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_option(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments.split())
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: minkowski-perception {arguments.split()[0]}")
    assert f"error: unknown {message}" in printed


def test_any_other_error_keeps_its_traceback(monkeypatch):
    def fail(args):
        return {}["missing"]

    monkeypatch.setattr(label, "run", fail)

    with pytest.raises(KeyError):
        main.main(["label", "bag", "--out", "out"])


def test_the_help_of_every_command_ends_with_an_example_that_parses(capsys):
    parser = main._parser()
    names = [[name] for name in main.COMMANDS]
    names += [["benchmark", subject] for subject in benchmark.SUBJECTS]
    for name in names:
        with pytest.raises(SystemExit):
            parser.parse_args([*name, "--help"])
        _, _, examples = capsys.readouterr().out.rstrip().partition("\nexample:\n")
        assert examples, name
        for example in examples.splitlines():
            program, *arguments = shlex.split(example)
            assert program == main.PROGRAM
            assert arguments[:1] == name[:1]
            parser.parse_args(arguments)


def test_models_and_label_sets_are_listed(capsys):
    assert main.main(["models"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^name +outdoor_lidar$", shown, re.MULTILINE)
    assert re.search(r"^license +Apache-2.0$", shown, re.MULTILINE)
    assert main.main(["label-sets"]) == 0
    assert re.search(
        r"^semantickitti19 +19 classes: car, bicycle", capsys.readouterr().out, re.MULTILINE
    )
    assert main.main(["label-sets", "indoor8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["indoor8"]["classes"]["floor"]


WITHOUT = """
import sys

sys.modules |= dict.fromkeys(("rosbags", "pointcloud2", "sensor_msgs_py", "numba"))
"""


def test_a_package_that_is_not_installed_is_named_in_one_line():
    script = (
        WITHOUT
        + """
from minkowski_perception.commands.main import main

sys.exit(main(["info", "drive.mcap"]))
"""
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        "minkowski-perception info: bags are read and written with rosbags: pip install rosbags"
    ]


def test_arrays_are_labelled_without_packages_for_bags_and_clouds():
    script = (
        WITHOUT
        + """
from minkowski_perception import Segmenter

print(Segmenter.load().segment([[3.0, 0.5, -1.5], [4.0, 0.5, -1.5]]))
"""
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.startswith("Segmentation(2 points"), found.stderr
