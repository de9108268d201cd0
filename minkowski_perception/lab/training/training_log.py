# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training log: a progress bar with the time left, and TensorBoard."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from minkowski_perception.lab.training.recipe import RecipeError

_MEMORY = 0.98
"""Weight of the previous value in the smoothed loss, at each step."""


class TrainingLog:
    """Shows the progress of a training, and writes it for TensorBoard; a context manager.

    Args:
        steps: number of steps of the training.
        done: number of steps before this run.
        tensorboard: folder for TensorBoard; None writes none.
        shown: whether this process shows and writes anything.
        title: in front of the progress bar.

    Raises:
        RecipeError: TensorBoard is requested but not installed.
    """

    def __init__(
        self,
        steps: int,
        done: int,
        tensorboard: Path | None,
        shown: bool,
        title: str = "training",
    ) -> None:
        self._writer = _writer(tensorboard, done) if tensorboard is not None and shown else None
        self._bar = tqdm(total=steps, initial=done, desc=title, unit="step", disable=not shown)
        self._loss: float | None = None
        self._miou: float | None = None

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def step(self, number: int, loss: float, learning_rate: float) -> None:
        """Log a step: its number, from 1 on, its loss and its learning rate."""
        smooth = loss if self._loss is None else self._loss
        self._loss = _MEMORY * smooth + (1.0 - _MEMORY) * loss
        self._write(number, {"loss": loss, "learning_rate": learning_rate})
        self._bar.update()
        self._show()

    def scores(self, number: int, miou: dict[str, float]) -> None:
        """Log a validation: the mean IoU of each held-out sensor or data set."""
        self._miou = sum(miou.values()) / len(miou)
        self._write(number, {f"miou/{name}": value for name, value in miou.items()})
        self._show()

    def _show(self) -> None:
        shown = {"loss": self._loss, "miou": self._miou}
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items() if v is not None})

    def _write(self, number: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, number)


def _writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RecipeError(
            f"TensorBoard is not installed: pip install tensorboard ({error})"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1)
