# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
from small_recipes import small_recipe, write_sequences

from minkowski_perception.lab.training.loop import train
from minkowski_perception.lab.training.recipe import RecipeError
from minkowski_perception.lab.training.training_log import TrainingLog


def test_the_progress_bar_shows_steps_loss_scores_and_time_left(capsys):
    with TrainingLog(4, 1, None, True) as log:
        for step in (2, 3, 4):
            log.step(step, 2.0 / step, 0.1)
        log.scores(4, {"vlp16": 0.25, "hdl64": 0.75})
    shown = capsys.readouterr().err.split("\r")[-1]
    assert "4/4" in shown
    assert "loss=0.9" in shown  # 1, smoothed with the later values
    assert "miou=0.500" in shown
    assert "00:00" in shown


def test_other_processes_show_and_write_nothing(capsys, tmp_path):
    with TrainingLog(2, 0, tmp_path / "board", False) as log:
        log.step(1, 1.0, 0.1)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "board").exists()


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RecipeError, match="pip install tensorboard"):
        TrainingLog(2, 0, tmp_path / "board", True)


def test_tensorboard_gets_loss_learning_rate_and_scores(tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_sequences(tmp_path)
    settings = {"iterations": 4, "learning_rate": 0.01, "schedule": "poly"}
    recipe = small_recipe(tmp_path, optimization=settings, validation={"every": 2, "frames": 1})
    train(recipe, tmp_path / "out", "cpu", workers=0, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "out" / "small.tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate", "miou/semantickitti"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("miou/semantickitti")] == [2, 4]
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert rates == pytest.approx([0.01 * (1 - s / 5) ** 0.9 for s in range(4)])
