# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from minkowski_perception.commands.main import main


def test_ranges_that_do_not_increase_are_refused(tmp_path, capsys):
    card = tmp_path / "calibrated.yaml"

    assert main(["calibrate", "--out", str(card), "--ranges", "9", "3"]) == 2

    assert "--ranges must be positive and increasing" in capsys.readouterr().err
    assert not card.exists()
