# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import random
import threading

import pytest

from minkowski_perception.accounting import Accounting, DropReason


def test_clouds_neither_labelled_nor_dropped_are_pending():
    accounting = Accounting()
    for _ in range(5):
        accounting.received()
    accounting.labelled()
    accounting.labelled()
    accounting.dropped(DropReason.NO_POSE)

    counts = accounting.snapshot()

    assert (counts.received, counts.labelled, counts.pending) == (5, 2, 2)
    assert counts.dropped == {DropReason.NO_POSE: 1}


def test_a_cloud_cannot_be_counted_twice():
    accounting = Accounting()
    accounting.received()
    accounting.labelled()

    with pytest.raises(ValueError, match="no cloud is pending"):
        accounting.labelled()
    with pytest.raises(ValueError, match="no cloud is pending"):
        accounting.dropped(DropReason.SHUTDOWN)

    assert accounting.snapshot().pending == 0


def test_a_snapshot_does_not_change_afterwards():
    accounting = Accounting()
    accounting.received()
    before = accounting.snapshot()
    accounting.dropped(DropReason.MALFORMED)

    assert before.dropped == {}
    assert before.pending == 1


def test_counts_balance_under_many_threads():
    accounting = Accounting()
    answers = 2000

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(answers):
            accounting.received()
            if draw.random() < 0.5:
                accounting.labelled()
            else:
                accounting.dropped(draw.choice(list(DropReason)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert 0 <= accounting.snapshot().pending <= len(threads)
    for thread in threads:
        thread.join()

    counts = accounting.snapshot()
    assert counts.received == 4 * answers
    assert counts.pending == 0


def test_every_reason_has_a_meaning():
    assert {reason.value for reason in DropReason} == {
        "malformed",
        "superseded",
        "out_of_order",
        "no_pose",
        "inactive",
        "unsuitable",
        "inference_failed",
        "internal_error",
        "stalled",
        "shed",
        "shutdown",
    }
    assert len({reason.meaning for reason in DropReason}) == len(DropReason)
    assert DropReason("no_pose") is DropReason.NO_POSE
