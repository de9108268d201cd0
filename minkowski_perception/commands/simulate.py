# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception simulate`: simulate recordings with true labels and poses."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import minkowski_perception
from minkowski_perception.commands import CommandError, positive

if TYPE_CHECKING:
    from minkowski_perception.frame import Frame
    from minkowski_perception.lab.simulation.recording import Recording

_SCENES = ("street", "yard", "park", "room", "corridor", "hall")
_LIDAR, _CAMERA = "hdl64", "xtion_qvga"
_RECORDED_OPTIONS = ("scene", "frames", "mount_height", "speed", "still", "skew")
_POLL_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the recordings 00, 01, ..."
    )
    parser.add_argument(
        "--scene", choices=_SCENES, default="street", help="scene to simulate (%(default)s)"
    )
    sensor = parser.add_mutually_exclusive_group()
    sensor.add_argument(
        "--lidar", help=f"name of a LiDAR, or path of its YAML file ({_LIDAR} outdoors)"
    )
    sensor.add_argument(
        "--camera",
        help=f"name of a depth camera, or path of its YAML file ({_CAMERA} indoors)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first recording (%(default)s)"
    )
    parser.add_argument(
        "--drives",
        type=positive,
        default=1,
        help="number of recordings, of consecutive seeds (%(default)s)",
    )
    parser.add_argument(
        "--frames", type=positive, default=100, help="clouds per recording (%(default)s)"
    )
    parser.add_argument(
        "--format",
        choices=("kitti", "bag"),
        help="SemanticKITTI layout in OUT/sequences, or ROS 2 bags in OUT "
        "(kitti; bag for cameras and with --skew)",
    )
    parser.add_argument("--mount-height", type=float, help="height of the sensor, metres (random)")
    parser.add_argument("--speed", type=float, help="speed of the sensor, m/s (random)")
    parser.add_argument("--still", action="store_true", help="freeze the world and the sensor")
    parser.add_argument(
        "--skew",
        action="store_true",
        help="move the sensor and the world during a sweep, and store the times of points "
        "(outdoors, in bags)",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="draw the middle cloud of each recording to OUT/00.png, ...",
    )
    parser.add_argument(
        "--workers", type=positive, default=os.cpu_count(), help="parallel processes (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Simulate the recordings in parallel, then print their folder and the rate."""
    import yaml

    recording = _recording(args)
    organised = recording.image_size is not None
    layout = args.format or ("bag" if organised or recording.skew else "kitti")
    if layout == "kitti" and (organised or recording.skew):
        lacking = "colour" if organised else "times of points"
        raise CommandError(f"the SemanticKITTI layout cannot store {lacking}; use --format bag")
    folder = args.out / "sequences" if layout == "kitti" else args.out
    paths = {
        folder / f"{i:02}": seed
        for i, seed in enumerate(range(args.seed, args.seed + args.drives))
    }
    if existing := [path for path in paths if path.exists()]:
        raise CommandError(f"{existing[0]} already exists; it is not overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    write = partial(_write, recording, layout, args.out if args.pictures else None)
    _write_all(write, paths, recording.frames, args.workers)
    seconds = time.perf_counter() - start
    summary = {
        "version": minkowski_perception.__version__,
        "seeds": list(paths.values()),
        "sensor": recording.sensor.name,
        "labels": recording.label_set.name,
    }
    summary.update((name, getattr(args, name)) for name in _RECORDED_OPTIONS)
    (args.out / "simulation.yaml").write_text(yaml.safe_dump(summary, sort_keys=False))
    clouds = args.drives * args.frames
    print(f"{clouds} clouds in {args.out}: {clouds / seconds:.1f} per second")
    return 0


def _write_all(
    write: Callable[[int, Path], None], paths: Mapping[Path, int], frames: int, workers: int
) -> None:
    """Write the recording of each seed to its path in parallel, and show the progress."""
    from tqdm import tqdm

    written = multiprocessing.Value("q")
    total, workers = len(paths) * frames, min(workers, len(paths))
    with (
        ProcessPoolExecutor(workers, initializer=_share_counter, initargs=(written,)) as pool,
        tqdm(total=total, desc="simulating", unit=" clouds", disable=None) as bar,
    ):
        futures = [pool.submit(write, seed, path) for path, seed in paths.items()]
        while pending := wait(futures, _POLL_SECONDS).not_done:
            bar.update(written.value - bar.n)
            if failed := next((f for f in futures if f not in pending and f.exception()), None):
                pool.shutdown(cancel_futures=True)
                failed.result()
        for future in futures:
            future.result()
        bar.update(written.value - bar.n)


def _recording(args: argparse.Namespace) -> Recording:
    """Return the settings of the recordings."""
    from minkowski_perception.lab.simulation.camera import DepthCamera, get_camera
    from minkowski_perception.lab.simulation.lidar import LidarModel, get_lidar
    from minkowski_perception.lab.simulation.recording import OUTDOORS, Recording

    sensor: LidarModel | DepthCamera
    if args.camera is not None:
        sensor = get_camera(args.camera)
    elif args.lidar is not None or args.scene in OUTDOORS:
        sensor = get_lidar(args.lidar or _LIDAR)
    else:
        sensor = get_camera(_CAMERA)
    return Recording(
        args.scene,
        sensor,
        args.frames,
        mount_height=args.mount_height,
        speed=args.speed,
        still=args.still,
        skew=args.skew,
    )


_written: Any = None  # number of clouds written by all processes


def _share_counter(counter: Any) -> None:
    """Set the shared counter in a worker process."""
    global _written
    _written = counter


def _write(
    recording: Recording, layout: str, pictures: Path | None, seed: int, path: Path
) -> None:
    """Write a recording and, if `pictures` is a folder, a picture of it there."""
    import numpy as np

    from minkowski_perception.lab.simulation.export import write_bag, write_sequence
    from minkowski_perception.pictures import save_comparison

    def counted() -> Iterator[Frame]:
        for index, frame in enumerate(recording.play(seed)):
            if pictures and index == recording.frames // 2:
                assert frame.labels is not None
                title = f"{recording.scene}, {recording.sensor.name}, seed {seed}"
                picture = pictures / f"{path.name}.png"
                labels = frame.labels.astype(np.uint8)
                save_comparison(picture, frame, labels, recording.label_set, title)
            yield frame
            with _written.get_lock():
                _written.value += 1

    if layout == "kitti":
        write_sequence(path, counted(), recording.label_set)
    else:
        write_bag(path, counted(), recording.image_size)
