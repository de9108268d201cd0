# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from cloud_messages import write_bag
from tiny_models import save_tiny

from minkowski_perception.commands.main import main
from minkowski_perception.labelling.topics import LABELLED_TOPIC
from minkowski_perception.recordings.bags import BagReader

RECORDINGS, CLOUDS = 40, 3


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of a head and two machines with one worker each."""
    pytest.importorskip("ray", reason="needs Ray: pip install ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    memory = {"object_store_memory": 80 * 2**20}
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, include_dashboard=False, **memory)
        cluster.machines = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
    except Exception as error:  # Ray waits 30 s for each of its processes
        cluster.shutdown()
        pytest.skip(f"Ray did not start on this busy machine: {error}")
    yield cluster
    cluster.shutdown()


@pytest.mark.system
@pytest.mark.slow
def test_forty_recordings_lose_nothing_though_a_machine_is_killed(cluster, tmp_path, capfd):
    save_tiny(tmp_path / "tiny", dimension=3)
    for i in range(RECORDINGS):
        write_bag(tmp_path / "bags" / f"{i:02d}", number=CLOUDS, odometry=False)
    out = tmp_path / "out"
    finished_before = []

    def kill_a_machine():
        while not (finished := list(out.glob("*/summary.json"))):
            time.sleep(0.01)
        cluster.remove_node(cluster.machines[0], allow_graceful=False)
        finished_before.append(len(finished))

    killer = threading.Thread(target=kill_a_machine, daemon=True)
    killer.start()
    options = ["--model", tmp_path / "tiny.yaml", "--engine", "torch", "--ego-motion", "none"]
    arguments = ["label", tmp_path / "bags", "--out", out, "--ray", cluster.address, *options]
    assert main(list(map(str, arguments))) == 0
    killer.join()

    assert finished_before[0] < RECORDINGS
    content = json.loads((out / "batch.json").read_text())
    assert content["counts"] == {"labelled": RECORDINGS}
    for i in range(RECORDINGS):
        assert sorted(os.listdir(out / f"{i:02d}")) == ["labelled", "summary.json"]
        with BagReader(out / f"{i:02d}" / "labelled") as bag:
            assert bag.cloud_topics() == {LABELLED_TOPIC: CLOUDS}


def test_without_ray_or_its_cluster_the_error_says_what_is_missing(tmp_path, capsys, monkeypatch):
    write_bag(tmp_path / "bag", number=1)
    command = ["label", str(tmp_path / "bag"), "--out", str(tmp_path / "out"), "--ray", "nowhere"]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command) == 2
    assert "--ray needs Ray: pip install ray" in capsys.readouterr().err
