# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_recipes import small_recipe, write_sequences

from minkowski_perception.frame import Frame
from minkowski_perception.lab.simulation.recording import RecordingError
from minkowski_perception.lab.simulation.sensors import SensorError
from minkowski_perception.lab.training.clip_size import ClipSize
from minkowski_perception.lab.training.clips import ClipDataset
from minkowski_perception.lab.training.composition import read_augmentation
from minkowski_perception.lab.training.recipe import Data, Recipe
from minkowski_perception.lab.training.sources import (
    Drives,
    Recordings,
    check_drives,
    open_sources,
    simulate,
)
from minkowski_perception.labels import LabelSet, LabelSetError
from minkowski_perception.voxels import VoxelInput

INDOOR, OUTDOOR = LabelSet.load("indoor8"), LabelSet.load("semantickitti19")
SPEC = VoxelInput.from_dict({"voxel_size": 1.0, "features": ["one", "intensity"]})


def sequence(number, length, points=1, **columns):
    """Return frames with different stamps."""
    xyz = np.full((points, 3), 2.0, np.float32)
    return [Frame(xyz, stamp=100 * number + i, **columns) for i in range(length)]


def stamps(clip):
    return [frame.stamp for frame in clip]


def test_every_frame_ends_a_clip_once_before_any_repeats():
    source = Recordings([sequence(0, 3), sequence(1, 4)], seed=5)
    orders = []
    for epoch in range(2):
        newest = [
            stamps(source.clip(np.random.default_rng(0), ClipSize(1), 7 * epoch + i))[-1]
            for i in range(7)
        ]
        assert sorted(newest) == [0, 1, 2, 100, 101, 102, 103]
        orders.append(newest)
    assert orders[0] != orders[1]


def test_clips_stay_within_their_sequence_and_are_short_at_its_start():
    source = Recordings([sequence(0, 3), sequence(1, 6)])
    found = {
        tuple(stamps(source.clip(np.random.default_rng(0), ClipSize(3, 0.0, 2), i)))
        for i in range(9)
    }
    first = {(0,), (1,), (0, 2)}
    assert found == first | {
        (100,),
        (101,),
        (100, 102),
        (101, 103),
        (100, 102, 104),
        (101, 103, 105),
    }


def test_clips_of_a_drive_have_the_lengths_and_strides_that_are_drawn():
    source = Drives([sequence(0, 12), sequence(1, 12)])
    size, rng = ClipSize({1: 1, 4: 3}, stride={1: 1, 3: 1}), np.random.default_rng(0)
    found = Counter(tuple(stamps(source.clip(rng, size))) for _ in range(4000))
    starts = {1: range(12), 4: range(9), 10: range(3)}  # by span
    assert found.keys() == {
        tuple(100 * number + start + row for row in rows)
        for rows in (range(1), range(4), range(0, 12, 3))
        for number in (0, 1)
        for start in starts[rows[-1] + 1]
    }


def test_frames_are_valid_upright_and_have_intensity_up_to_one():
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [0, 0, 0]], np.float32)
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    frame = Frame(points, frame_id="camera_optical_frame", intensity=points[:, 2], pose=pose)
    source = Recordings([[frame]], full_scale=6.0)
    (read,) = source.clip(np.random.default_rng(0), ClipSize(1), 0)
    np.testing.assert_allclose(read.points, [[3, -1, -2]])  # forward, left, up
    np.testing.assert_allclose(read.pose, np.eye(4))
    assert read.intensity.tolist() == [0.5]


def dataset(sources, **settings):
    return ClipDataset(
        sources, ClipSize(1), SPEC, read_augmentation([], "augmentation"), 0, 400, **settings
    )


def test_sources_are_mixed_by_their_shares():
    few = Drives([sequence(0, 2, labels=np.array([1]))], share=1.0)
    many = Drives([sequence(1, 2, labels=np.array([2]))], share=3.0)
    clips = dataset([few, many])
    labels = [int(clips[i][2]) for i in range(400)]
    assert labels.count(2) / 400 == pytest.approx(0.75, abs=0.06)


def test_a_clip_has_at_most_max_voxels():
    points = np.random.default_rng(0).uniform(-20, 20, (900, 3)).astype(np.float32)
    source = Drives([[Frame(points, labels=np.arange(900) % 7)]])
    everything, some = dataset([source])[0], dataset([source], max_voxels=100)[0]
    assert [len(column) for column in some[:4]] == [100, 100, 100, 100]
    assert int(everything.points.sum()) == 900

    known = {tuple(index.tolist()): voxel for index, *voxel in zip(*everything[:4], strict=True)}
    assert len({tuple(index) for index in some.coordinates.tolist()}) == 100
    for index, *voxel in zip(*some[:4], strict=True):
        assert all(map(torch.equal, voxel, known[tuple(index.tolist())]))


def test_an_agreed_label_is_unknown_where_points_of_a_voxel_differ():
    points = np.array(
        [[0.1, 0, 0], [0.2, 0, 0], [5.1, 0, 0], [5.2, 0, 0], [5.3, 0, 0]], np.float32
    )
    source = Drives([[Frame(points, labels=np.array([4, 4, 3, 3, 8]))]])
    assert dataset([source])[0][2].tolist() == [4, 3]
    assert dataset([source], voxel_labels="agreed")[0][2].tolist() == [4, 255]


def test_an_empty_clip_is_drawn_again():
    near, far = np.full((1, 3), 1.0, np.float32), np.full((1, 3), 50.0, np.float32)
    source = Drives([[Frame(near)], [Frame(far)]])
    augment = read_augmentation([{"crop": {"reach": 10.0}}], "augmentation")
    clips = ClipDataset([source], ClipSize(1), SPEC, augment, 0, 50)
    assert all(len(clips[i][0]) == 1 for i in range(50))


def test_labels_of_a_data_set_are_mapped_to_those_of_the_recipe(tmp_path):
    write_sequences(tmp_path)
    plan = Recipe.from_dict(small_recipe(tmp_path))
    (source,) = open_sources(plan.data, LabelSet.load(plan.labels), plan.seed)
    shares = source.class_shares(19)
    names = LabelSet.load("semantickitti19").names
    present = {names[i] for i in np.flatnonzero(shares)}
    assert present == {"car", "person", "road", "building", "vegetation"}
    assert shares.sum() == pytest.approx(1.0)
    clip = source.clip(np.random.default_rng(0), ClipSize(3, 0.0), 0)
    assert all(frame.intensity.max() <= 1.0 for frame in clip)


def test_frames_of_two_sources_train_together(tmp_path):
    write_sequences(tmp_path)
    plan = Recipe.from_dict(small_recipe(tmp_path))
    recorded = open_sources(plan.data, LabelSet.load(plan.labels), plan.seed)
    simulated = Drives([sequence(0, 2, 40, labels=np.full(40, 2), intensity=np.ones(40))])
    clips = dataset([*recorded, simulated])
    sizes = {len(clips[i][0]) for i in range(20)}
    assert 1 in sizes
    assert max(sizes) > 100
    assert all(torch.isfinite(clips[i][1]).all() for i in range(5))


def test_drives_of_a_camera_are_simulated_once_and_then_read_from_the_cache(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    camera = tmp_path / "tiny.yaml"
    camera.write_text("name: tiny\nwidth: 32\nheight: 24\nfx: 29\nfy: 29\ncx: 16\ncy: 12\n")
    cache = tmp_path / "cache"
    data = Data(seeds=(0, 2), cameras={str(camera): 1.0}, frames=2, cache=str(cache))
    first = simulate(data, INDOOR, range(2))
    (folder,) = cache.iterdir()
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(times) == 2
    again = simulate(data, INDOOR, range(2))
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for one, other in zip(first, again, strict=True):
        for frame, same in zip(one, other, strict=True):
            assert np.array_equal(frame.points, same.points, equal_nan=True)
            assert np.array_equal(frame.colour, same.colour)
            assert (frame.stamp, frame.frame_id) == (same.stamp, same.frame_id)
    clip = Drives(again).clip(np.random.default_rng(0), ClipSize(2, shorter=0.0))
    for frame in clip:
        assert frame.valid.all()
        assert frame.pose[2, 2] > 0.5  # z is up for any pitch of the camera


def test_drives_of_a_camera_start_at_times_up_to_the_latest_start(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    camera = tmp_path / "tiny.yaml"
    camera.write_text("name: tiny\nwidth: 32\nheight: 24\nfx: 29\nfy: 29\ncx: 16\ncy: 12\n")
    at_once = Data(seeds=(0, 2), cameras={str(camera): 1.0}, frames=1, cache=str(tmp_path))
    later = replace(at_once, latest_start=2.0)
    drives = [simulate(data, INDOOR, range(2)) for data in (at_once, later)]
    for one, other in zip(*drives, strict=True):
        assert not np.array_equal(one[0].pose, other[0].pose)
    with pytest.raises(ValueError, match=r"latest_start 1\.0 must be 0 without cameras"):
        Data(seeds=(0, 2), lidars={"vlp16": 1.0}, frames=1, latest_start=1.0)


def streets_and_halls(folder, drives):
    lidar = folder / "tiny.yaml"
    beams = "elevations: [{from: -30, to: 15, count: 8}]"
    lidar.write_text(f"name: tiny\n{beams}\nazimuth_steps: 60\n")
    scenes = {"street": 1.0, "hall": 1.0}
    return Data(seeds=(0, drives), lidars={str(lidar): 1.0}, scenes=scenes, frames=1)


def test_classes_are_counted_in_counted_scenes_only(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    data = streets_and_halls(tmp_path, 4)
    (everywhere,) = open_sources(data, OUTDOOR, 0)
    (in_halls,) = open_sources(replace(data, counted_scenes=("hall",)), OUTDOOR, 0)
    assert len(in_halls.drives) == len(everywhere.drives) == 4
    halls = {OUTDOOR.names[i] for i in np.flatnonzero(in_halls.class_shares(len(OUTDOOR)))}
    assert halls <= {"building", "sidewalk", "person"}
    assert np.count_nonzero(everywhere.class_shares(len(OUTDOOR))) > len(halls)
    with pytest.raises(ValueError, match="must name some of street, hall, not attic"):
        replace(data, counted_scenes=("attic",))


def test_drives_of_a_lidar_have_the_scenes_and_classes_of_the_recipe(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    data = streets_and_halls(tmp_path, 6)
    far, seen = [], Counter()
    for (frame,) in simulate(data, OUTDOOR, range(*data.seeds)):
        names = {OUTDOOR.names[i] for i in np.unique(frame.labels) if i < len(OUTDOOR)}
        far.append(np.linalg.norm(frame.points, axis=1).max() > 30.0)
        if not far[-1]:
            assert names <= {"sidewalk", "building", "person"}
            seen.update(names)
    assert {True, False} == set(far)
    assert {"sidewalk", "building"} <= set(seen)


def test_sensors_scenes_and_labels_that_do_not_fit_are_refused():
    data = Data(seeds=(0, 1), cameras={"d435": 1.0}, scenes={"street": 1.0}, frames=1)
    with pytest.raises(RecordingError, match="cannot be simulated with a depth camera"):
        check_drives(data, INDOOR)
    with pytest.raises(RecordingError, match="unknown scene 'attic'"):
        check_drives(replace(data, scenes={"attic": 1.0}), INDOOR)
    with pytest.raises(SensorError, match="unknown camera 'd436'"):
        check_drives(replace(data, cameras={"d436": 1.0}), INDOOR)
    data = Data(seeds=(0, 1), lidars={"vlp16": 1.0}, scenes={"street": 1.0}, frames=1)
    with pytest.raises(LabelSetError, match="label set 'semantickitti19' to 'indoor8'"):
        check_drives(data, INDOOR)


def test_drives_from_the_cache_have_the_labels_of_simulated_ones(tmp_path):
    pytest.importorskip("open3d", reason="needs open3d to simulate drives")
    at_once = replace(streets_and_halls(tmp_path, 2), scenes={"hall": 1.0})
    stored = replace(at_once, cache=str(tmp_path / "cache"))
    drives = [simulate(data, OUTDOOR, range(2)) for data in (at_once, stored, stored)]
    for (made,), (written,), (read,) in zip(*drives, strict=True):
        for frame in (written, read):
            np.testing.assert_array_equal(frame.labels, made.labels)
            assert frame.labels.dtype == made.labels.dtype
    with pytest.raises(LabelSetError, match="no mapping from label set 'indoor8' to"):
        simulate(stored, LabelSet.load("nuscenes16"), range(1))
