# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny

from minkowski_perception.frame import Frame
from minkowski_perception.labels import UNLABELLED, LabelSet
from minkowski_perception.motion.poses import pose_matrix
from minkowski_perception.networks import build_network
from minkowski_perception.networks.model import Model, load_model
from minkowski_perception.segmenter import Segmentation, Segmenter
from minkowski_perception.settings import Settings
from minkowski_perception.sparse import SparseTensor, selection
from minkowski_perception.sparse.engines.base import EngineError
from minkowski_perception.sparse.engines.torch_engine import TorchEngine
from minkowski_perception.streaming.averaging import TemporalAverage
from minkowski_perception.streaming.continuity import OutOfOrderError
from minkowski_perception.streaming.map import VoxelMap
from minkowski_perception.trial import trial_frame
from minkowski_perception.voxels import VoxelInput

VOXEL = 0.5


def model(dimension=4, window=3, **heads):
    torch.manual_seed(0)
    heads = {"classes": 19, **heads}
    network = build_network(
        "MinkUNet14A", in_channels=2, heads=heads, dimension=dimension, width=0.25
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
    spec = VoxelInput(VOXEL, ("one", "z"), (1.0, 1.0), "mean")
    labels = LabelSet.load("semantickitti19")
    return Model("small", network.eval(), labels, spec, window, {})


def frames(count, points=400):
    rng = np.random.default_rng(3)
    world = rng.uniform((-10, -10, 0), (10, 10, 3), (points, 3))
    for i in range(count):
        pose = pose_matrix((0.7 * i, 0.1 * i, 0.0), (0.0, 0.0, np.sin(0.05 * i), np.cos(0.05 * i)))
        seen = ((world - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
        yield Frame(seen[rng.random(points) < 0.8], stamp=i * 10**8, pose=pose)


def by_hand(network, recent):
    """Return the last frame's labels and probabilities, from a 4D tensor built point by point."""
    rows = {}
    for t, frame in enumerate(recent):
        position = frame.points.astype(np.float64) @ frame.pose[:3, :3].T + frame.pose[:3, 3]
        cells = np.floor(position / VOXEL).astype(int)
        for cell, point in zip(map(tuple, cells), frame.points, strict=True):
            rows.setdefault((0, *cell, t), []).append((1.0, point[2]))
    coordinates = torch.tensor(list(rows))
    features = torch.tensor(np.array([np.mean(p, axis=0) for p in rows.values()])).float()
    with torch.no_grad():
        logits = network.class_logits(SparseTensor(features, coordinates))
    last = torch.tensor([(0, *cell, len(recent) - 1) for cell in cells])
    probability, labels = logits.at(last).softmax(dim=1).max(dim=1)
    return labels.numpy(), probability.numpy()


def test_labels_equal_those_of_the_network_on_the_last_frames_as_one_4d_tensor():
    small = model()
    segmenter = Segmenter(small, device="cpu", engine="torch", averaging=1)
    stream = list(frames(5))
    for i, frame in enumerate(stream):
        result = segmenter.segment(frame)
        recent = stream[max(0, i - 2) : i + 1]
        labels, probability = by_hand(small.network, recent)
        assert result.frame_count == len(recent)
        assert np.mean(result.labels == labels) > 0.995  # ties of float rounding aside
        np.testing.assert_allclose(result.confidence, probability, atol=1e-4)


def test_past_frames_change_the_probabilities():
    stream = list(frames(3))
    alone = Segmenter(model(), device="cpu", engine="torch", window=1).segment(stream[-1])
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    together = [segmenter.segment(frame) for frame in stream][-1]
    assert alone.frame_count == 1
    assert not np.array_equal(alone.confidence, together.confidence)


def test_probabilities_are_averaged_over_frames_and_averaging_can_be_switched():
    alone = Segmenter(model(), device="cpu", engine="torch", averaging=1)
    averaged = Segmenter(model(), device="cpu", engine="torch", averaging=2)
    first, second, third = frames(3)
    average = TemporalAverage(2)
    for frame in (first, second):
        result = averaged.segment(frame)
        voxels, logits = alone.scores(frame)
        expected = voxels.quantization.slice(average(voxels, logits.softmax(dim=1)))
    np.testing.assert_allclose(result.confidence, expected.max(dim=1).values, atol=1e-6)
    now = voxels.quantization.slice(logits.softmax(dim=1)).max(dim=1).values
    assert not np.array_equal(result.confidence, now)
    assert "average" in result.timings

    averaged.averaging = 1
    assert np.array_equal(averaged.segment(third).labels, alone.segment(third).labels)
    with pytest.raises(ValueError, match="1 frame or more, not 0"):
        averaged.averaging = 0


def test_frames_without_a_pose_are_never_averaged():
    averaged, alone = (
        Segmenter(model(), device="cpu", engine="torch", averaging=n) for n in (5, 1)
    )
    for frame in frames(3):
        unknown = replace(frame, pose=None)
        confidence = alone.segment(unknown).confidence
        np.testing.assert_array_equal(averaged.segment(unknown).confidence, confidence)
    assert averaged.state_bytes == alone.state_bytes


def test_frames_with_voxels_of_their_own_are_never_averaged():
    plain = model(dimension=3, window=1)
    cornered = replace(plain, input=replace(plain.input, shift="minimum"))
    averaged, alone = (
        Segmenter(cornered, device="cpu", engine="torch", averaging=n) for n in (5, 1)
    )
    assert averaged.averaging == 1
    for frame in frames(3):
        confidence = alone.segment(frame).confidence
        np.testing.assert_array_equal(averaged.segment(frame).confidence, confidence)


def test_points_without_a_measurement_get_no_label_and_change_no_other():
    frame = next(frames(1))
    expected = Segmenter(model(), device="cpu", engine="torch").segment(frame)
    holes = np.zeros(2 * len(frame), bool)
    holes[::2] = True
    points = np.full((len(holes), 3), np.nan, np.float32)
    points[~holes] = frame.points
    result = Segmenter(model(), device="cpu", engine="torch").segment(
        Frame(points, pose=frame.pose)
    )
    assert (result.labels[holes] == UNLABELLED).all()
    assert (result.confidence[holes] == 0.0).all()
    assert np.array_equal(result.labels[~holes], expected.labels)


@pytest.mark.parametrize("points", [np.empty((0, 3)), np.full((5, 3), np.inf)])
def test_a_frame_without_any_measurement_gets_a_result_and_does_not_change_the_window(points):
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    stream = list(frames(2))
    segmenter.segment(stream[0])
    result = segmenter.segment(
        Frame(points.astype(np.float32), stamp=stream[0].stamp + 1, pose=np.eye(4))
    )
    assert (result.labels == UNLABELLED).all()
    assert len(result.labels) == len(points)
    assert segmenter.segment(stream[1]).frame_count == 2


@pytest.fixture(scope="module", params=["small", Settings.model])
def any_model(request):
    return model() if request.param == "small" else load_model(request.param)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), points=st.integers(1, 500), spread=st.floats(0.01, 30.0))
def test_the_order_of_the_points_changes_nothing(any_model, seed, points, spread):
    rng = np.random.default_rng(seed)
    cloud = rng.normal(0.0, spread, (points, 3)).astype(np.float32)
    intensity = rng.random(points, dtype=np.float32)
    order = rng.permutation(points)
    pose = pose_matrix(rng.normal(0.0, 50.0, 3), rng.normal(size=4))
    frame = Frame(cloud, intensity=intensity, pose=pose)
    shuffled = Frame(cloud[order], intensity=intensity[order], pose=pose)
    segmenter = Segmenter(any_model, device="cpu", engine="torch")
    a = segmenter.segment(frame)
    segmenter.reset()
    b = segmenter.segment(shuffled)
    assert np.array_equal(a.labels[order], b.labels)
    assert np.array_equal(a.confidence[order], b.confidence)


def test_results_of_the_same_stream_are_bit_exact():
    runs = []
    for _ in range(2):
        segmenter = Segmenter(model(), device="cpu", engine="torch")
        results = [segmenter.segment(frame) for frame in frames(4)]
        runs.append([(r.labels.tobytes(), r.confidence.tobytes()) for r in results])
    assert runs[0] == runs[1]


def test_a_frame_out_of_order_is_refused_and_a_reset_forgets_the_stream():
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    stream = list(frames(3))
    for frame in stream:
        segmenter.segment(frame)
    with pytest.raises(OutOfOrderError):
        segmenter.segment(stream[1])
    segmenter.reset()
    assert segmenter.segment(stream[1]).frame_count == 1


def test_a_reset_with_a_reason_is_counted():
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    segmenter.reset()
    assert segmenter.resets == {}
    segmenter.reset("requested")
    assert segmenter.resets == {"requested": 1}


@pytest.mark.parametrize("averaging", [1, 3])
def test_the_entropy_is_that_of_the_averaged_probabilities_and_off_by_default(averaging):
    options = {"device": "cpu", "engine": "torch", "averaging": averaging}
    segmenter = Segmenter(model(), entropy=True, **options)
    for frame in frames(3):
        frame.points[0] = np.nan
        found = segmenter.probabilities(frame)
        result = segmenter.sliced(found)
        p = found.values.double().numpy()
        expected = -np.sum(p * np.log(p, where=p > 0, out=np.zeros_like(p)), axis=1)
        entropy = result.outputs["entropy"]
        assert entropy.dtype == np.float32
        assert np.isnan(entropy[0])
        rows = found.voxels.quantization.slice(torch.arange(len(p))).numpy()
        np.testing.assert_allclose(entropy[found.voxels.valid], expected[rows], atol=1e-5)
    assert list(result.fields()) == ["label", "confidence", "rgb", "entropy"]
    assert "entropy" not in Segmenter(model(), **options).segment(frame).outputs


def test_a_3d_network_takes_one_frame_and_refuses_a_window():
    frame = next(frames(1))
    result = Segmenter(model(dimension=3, window=1), device="cpu", engine="torch").segment(frame)
    assert (result.labels < 19).all()
    with pytest.raises(ValueError, match="'small' is 3D: its window is 1 frame, not 2"):
        Segmenter(model(dimension=3, window=1), device="cpu", engine="torch", window=2)


def test_the_network_runs_on_the_requested_engine(monkeypatch):
    calls = []

    class Counting(TorchEngine):
        name = "counting"

        def convolve(self, *args, **kwargs):
            calls.append(args)
            return super().convolve(*args, **kwargs)

    monkeypatch.setattr(selection, "ENGINES", {"counting": lambda: Counting})
    monkeypatch.setattr(selection, "ENGINE_CHOICES", ("auto", "counting"))
    segmenter = Segmenter(model(), device="cpu", engine="counting")
    assert isinstance(segmenter.engine.engine, Counting)
    assert not calls
    segmenter.segment(next(frames(1)))
    assert calls
    with pytest.raises(EngineError, match="one of auto, counting, not 'torch'"):
        Segmenter(model(), device="cpu", engine="torch")


@pytest.mark.parametrize("dimension", [3, 4])
def test_the_engine_that_is_chosen_at_start_labels_as_plain_pytorch_does(dimension):
    window = 1 if dimension == 3 else 3
    by_torch = Segmenter(model(dimension, window), device="cpu", engine="torch")
    chosen = Segmenter(model(dimension, window), device="cpu")
    for frame in frames(3):
        a, b = by_torch.segment(frame), chosen.segment(frame)
        assert np.mean(a.labels == b.labels) >= 0.99, chosen.engine.reason


def test_two_deterministic_engine_choices_are_equal():
    choices = [Segmenter(model(), device="cpu", deterministic=True).engine for _ in range(2)]
    assert str(choices[0]) == str(choices[1])
    assert choices[0].engine.precision == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_two_deterministic_runs_on_cuda_are_bit_exact(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    runs = []
    for _ in range(2):
        segmenter = Segmenter(model(), device="cuda", deterministic=True)
        results = [segmenter.segment(frame) for frame in frames(4)]
        runs.append([(r.labels.tobytes(), r.confidence.tobytes()) for r in results])
    assert runs[0] == runs[1]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_deterministic_run_is_refused_after_cuda_started_without_workspace(
    monkeypatch,
):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.zeros(1, device="cuda")
    with pytest.raises(ValueError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        Segmenter(model(), device="cuda", deterministic=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_labels_of_the_cpu():
    stream = list(frames(4))
    cpu, cuda = (Segmenter(model(), device=device, engine="torch") for device in ("cpu", "cuda"))
    for frame in stream:
        a, b = cpu.segment(frame), cuda.segment(frame)
        assert np.mean(a.labels == b.labels) > 0.995


def test_an_array_without_a_stamp_is_labelled_alone_and_leaves_the_stream_as_it_is():
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    stream = list(frames(3))
    array = stream[2].points
    alone = segmenter.segment(array)
    expected = segmenter.another_stream().segment(Frame(array))
    np.testing.assert_array_equal(alone.confidence, expected.confidence)

    in_between = Segmenter(model(), device="cpu", engine="torch")
    for frame in stream:
        one = segmenter.segment(frame)
        two = in_between.segment(frame)
        in_between.segment(array)
        in_between.segment(array, intensity=np.ones(len(array)))  # never out of order
        np.testing.assert_array_equal(one.confidence, two.confidence)
        assert one.frame_count == two.frame_count


def test_arrays_with_a_stamp_and_a_pose_make_the_same_stream_as_frames():
    by_frames, by_arrays = (Segmenter(model(), device="cpu", engine="torch") for _ in range(2))
    for frame in frames(3):
        one = by_frames.segment(frame)
        two = by_arrays.segment(frame.points, stamp=frame.stamp, pose=frame.pose)
        np.testing.assert_array_equal(one.confidence, two.confidence)
        assert one.frame_count == two.frame_count
    with pytest.raises(OutOfOrderError):
        by_arrays.segment(frame.points, stamp=frame.stamp)


@pytest.mark.parametrize(
    "convert",
    [
        lambda array: array.astype(np.float64),
        lambda array: np.asfortranarray(array),
        lambda array: array.tolist(),
        torch.from_numpy,
        lambda array: torch.from_numpy(array).double().requires_grad_(),
    ],
    ids=["float64", "column by column", "list", "tensor", "tensor with a gradient"],
)
def test_arrays_of_any_kind_are_labelled_alike(convert):
    segmenter = Segmenter.load(device="cpu", engine="torch")
    frame = trial_frame(500)
    expected = segmenter.segment(frame.points, intensity=frame.intensity)
    four = np.column_stack([frame.points, frame.intensity])
    for result in (
        segmenter.segment(convert(frame.points), intensity=convert(frame.intensity)),
        segmenter.segment(convert(four)),
    ):
        np.testing.assert_array_equal(result.confidence, expected.confidence)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros((4, 2)),), {}, ValueError, r"\[N, 3\] .* or \[N, 4\] .*, not \[4, 2\]"),
        ((np.zeros(3),), {}, ValueError, r"not \[3\]"),
        (("cloud.pcd",), {}, TypeError, "points must be an array of numbers, not str"),
        (
            (np.zeros((4, 3)),),
            {"intensity": [1.0]},
            ValueError,
            r"intensity must have shape \[4\]",
        ),
        ((np.zeros((4, 4)),), {"intensity": np.zeros(4)}, ValueError, "intensity is given twice"),
        ((np.zeros((4, 3)),), {"pose": np.eye(3)}, ValueError, r"pose must have shape \[4, 4\]"),
        ((np.zeros((4, 3)),), {"stamp": 0.1}, TypeError, "integer of nanoseconds, not 0.1"),
        ((Frame(np.zeros((4, 3))),), {"stamp": 1}, TypeError, "set stamp on the Frame"),
    ],
)
def test_wrong_arguments_say_what_is_expected(arguments, options, error, message):
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    with pytest.raises(error, match=message):
        segmenter.segment(*arguments, **options)


def test_a_name_given_to_the_constructor_is_refused_with_the_call_that_works():
    with pytest.raises(TypeError, match=r"Segmenter\.load\('outdoor_lidar'\)"):
        Segmenter("outdoor_lidar")


def test_segmenter_and_result_are_readable_in_one_line():
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    assert repr(segmenter) == (
        "Segmenter(model 'small', 19 classes, on cpu by torch, execution window 3)"
    )
    result = Segmentation(
        np.array([8, 8, 8, 0, 255, 3, 3, 11, 12, 8], np.uint8),
        np.ones(10, np.float32),
        LabelSet.load("semantickitti19"),
        {},
        1,
        1,
    )
    assert repr(result) == "Segmentation(10 points: road 40%, truck 20%, car 10%, 3 more)"
    empty = segmenter.segment(np.zeros((0, 3)))
    assert repr(empty) == "Segmentation(0 points: none)"
    assert result.names[result.labels[0]] == "road"


@pytest.mark.parametrize("name", [Settings.model, "small"])
def test_the_state_can_be_saved_at_every_moment_and_restored_to_the_bit(name, tmp_path):
    chosen = model() if name == "small" else load_model(name)
    stream = list(frames(5))
    segmenter = Segmenter(chosen, device="cpu", engine="torch")
    whole = [segmenter.segment(frame) for frame in stream]
    segmenter.reset()
    for index, frame in enumerate(stream):
        save_file(segmenter.state(), tmp_path / "state.safetensors")
        segmenter = segmenter.another_stream()
        segmenter.restore(load_file(tmp_path / "state.safetensors"))
        np.testing.assert_array_equal(segmenter.segment(frame).confidence, whole[index].confidence)
    save_file(segmenter.state(), tmp_path / "state.safetensors")


def test_a_saved_state_shares_no_memory_with_the_segmenter():
    segmenter = Segmenter(model(), device="cpu", engine="torch")
    first, second, third = frames(3)
    segmenter.segment(first)
    state = segmenter.state()
    copies = {name: tensor.clone() for name, tensor in state.items()}
    segmenter.segment(second)
    segmenter.segment(third)
    for name, tensor in state.items():
        assert torch.equal(tensor, copies[name]), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_state_restored_from_a_file_lands_on_the_segmenters_device(tmp_path):
    stream = list(frames(4))
    segmenter = Segmenter.load(device="cuda", engine="torch")
    for frame in stream[:3]:
        segmenter.segment(frame)
    save_file(segmenter.state(), tmp_path / "state.safetensors")
    restored = segmenter.another_stream()
    restored.restore(load_file(tmp_path / "state.safetensors"))
    expected = segmenter.segment(stream[3])
    np.testing.assert_array_equal(restored.segment(stream[3]).labels, expected.labels)


def mapped(chosen, **options):
    return Segmenter(
        chosen, device="cpu", engine="torch", map=True, map_moving=True, map_range=20.0, **options
    )


def test_the_map_has_the_classes_of_each_frame_alone_whatever_the_averaging():
    alone = Segmenter(model(), device="cpu", engine="torch", averaging=1)
    small = model()
    expected = VoxelMap(small.label_set, small.input, 20.0, 500_000, keep_moving=True)
    segmenter = mapped(small)
    for frame in frames(4):
        result = segmenter.segment(frame)
        voxels, logits = alone.scores(frame)
        expected.add(voxels, logits.softmax(dim=1), None, frame.pose[:3, 3], frame.stamp)
    assert "map" in result.timings
    found = segmenter.labelled_map()
    for name, column in expected.labelled().fields().items():
        np.testing.assert_array_equal(found.fields()[name], column)
    assert len(found) > 1.1 * len(voxels.coordinates)
    assert found.stamp == frame.stamp
    assert np.isnan(found.moving).all()


def test_without_a_map_nothing_is_remembered_for_it():
    plain, other = Segmenter(model(), device="cpu", engine="torch"), mapped(model())
    for frame in frames(2):
        result, expected = plain.segment(frame), other.segment(frame)
        np.testing.assert_array_equal(result.confidence, expected.confidence)
    assert plain.labelled_map() is None
    assert "map" not in result.timings
    assert not [name for name in plain.state() if name.startswith("map.")]
    assert plain.state_bytes < other.state_bytes


def test_a_new_stream_starts_with_an_empty_map():
    segmenter = mapped(model())
    first, second, third = frames(3)
    segmenter.segment(first)
    alone = len(segmenter.labelled_map())
    segmenter.segment(second.points)  # a single shot leaves the stream as it is
    assert len(segmenter.labelled_map()) == alone
    assert len(segmenter.another_stream().labelled_map()) == 0
    segmenter.segment(second)
    assert len(segmenter.labelled_map()) > alone
    segmenter.segment(replace(third, stamp=10**12))
    assert segmenter.resets["gap"] == 1
    fresh = mapped(model())
    fresh.segment(third)
    assert len(segmenter.labelled_map()) == len(fresh.labelled_map())
    segmenter.reset()
    assert len(segmenter.labelled_map()) == 0


def test_frames_whose_motion_is_unknown_are_not_in_the_map():
    segmenter = mapped(model())
    for frame in frames(2):
        segmenter.segment(replace(frame, pose=None))
    assert len(segmenter.labelled_map()) == 0


def test_a_map_of_voxels_that_do_not_stay_in_place_is_refused():
    plain = model(dimension=3, window=1)
    cornered = replace(plain, input=replace(plain.input, shift="minimum"))
    with pytest.raises(ValueError, match="model 'small' has no map: its voxels start at"):
        mapped(cornered)


def test_moving_in_the_map_is_the_mean_of_the_head_where_motion_was_known():
    segmenter = mapped(model(moving=1), averaging=1)
    first, second, _ = frames(3)

    def voxel_of(points):
        return [tuple(p) for p in np.floor(points / VOXEL).astype(int).tolist()]

    segmenter.segment(first)
    assert np.isnan(segmenter.labelled_map().moving).all()  # one frame shows no motion
    result = segmenter.segment(second)
    seen = dict(zip(voxel_of(second.odometry_points), result.outputs["moving"], strict=True))
    found = segmenter.labelled_map()
    for voxel, moving in zip(voxel_of(found.points), found.moving, strict=True):
        np.testing.assert_allclose(moving, seen.get(voxel, np.nan))


def test_the_map_is_saved_and_restored_to_the_bit(tmp_path):
    whole = mapped(model(moving=1))
    stream = list(frames(5))
    for frame in stream[:3]:
        whole.segment(frame)
    save_file(whole.state(), tmp_path / "state.safetensors")
    restored = whole.another_stream()
    restored.restore(load_file(tmp_path / "state.safetensors"))
    for frame in stream[3:]:
        whole.segment(frame)
        restored.segment(frame)
    expected, state = whole.state(), restored.state()
    assert state.keys() == expected.keys()
    assert "map.voxels" in state
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0, equal_nan=True)
    without = Segmenter(model(moving=1), device="cpu", engine="torch")
    without.restore(state)
    assert without.labelled_map() is None
    assert "map.voxels" not in without.state()


def looking_back(chosen):
    """Return a model like another one, with range residuals among its input channels."""
    torch.manual_seed(0)
    options = asdict(chosen.network.options) | {"in_channels": 6}
    network = build_network("MinkUNet14A", **options)
    return replace(
        chosen, network=network.eval(), input=replace(chosen.input, residuals=(0.1, 0.3))
    )


@pytest.mark.parametrize("dimension", [3, 4])
def test_residuals_change_the_outputs_of_a_stream_but_not_of_its_first_frame(dimension):
    chosen = looking_back(model(dimension, window=1, moving=1))
    stream = list(frames(3))
    segmenter = Segmenter(chosen, device="cpu", engine="torch", averaging=1)
    first, *later = [segmenter.segment(frame) for frame in stream]
    alone = [segmenter.another_stream().segment(frame) for frame in stream]
    np.testing.assert_array_equal(first.confidence, alone[0].confidence)
    assert np.isnan(first.outputs["moving"]).all()
    for found, single in zip(later, alone[1:], strict=True):
        assert not np.array_equal(found.confidence, single.confidence)
        assert not np.isnan(found.outputs["moving"]).any()
    assert segmenter.state_bytes > 3 * 500_000
    unknown = segmenter.segment(replace(stream[0], stamp=4 * 10**8, pose=None))
    assert np.isnan(unknown.outputs["moving"]).all()
    assert segmenter.state_bytes < 500_000  # motion became unknown: a new stream
    segmenter.reset()
    np.testing.assert_array_equal(segmenter.segment(stream[0]).confidence, first.confidence)


def test_windows_and_incremental_execution_agree_with_residuals():
    torch.manual_seed(0)
    options = {"dimension": 4, "kernel": "causal", "width": 0.25, "heads": {"classes": 19}}
    network = build_network("MinkUNet14A", in_channels=6, **options).eval()
    spec = VoxelInput(VOXEL, ("one", "z"), residuals=(0.1, 0.3))
    chosen = Model("causal", network, LabelSet.load("semantickitti19"), spec, 5, {})
    windowed = Segmenter(chosen, device="cpu", engine="torch", window=5)
    incremental = Segmenter(chosen, device="cpu", engine="torch", execution="incremental")
    for frame in frames(5):
        found, expected = (s.segment(frame).confidence for s in (incremental, windowed))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_state_of_residuals_is_restored_to_the_bit_and_fits_only_such_models(tmp_path):
    chosen = looking_back(model())
    stream = list(frames(5))
    segmenter = Segmenter(chosen, device="cpu", engine="torch")
    whole = [segmenter.segment(frame) for frame in stream]
    segmenter.reset()
    for frame, expected in zip(stream, whole, strict=True):
        save_file(segmenter.state(), tmp_path / "state.safetensors")
        segmenter = segmenter.another_stream()
        segmenter.restore(load_file(tmp_path / "state.safetensors"))
        np.testing.assert_array_equal(segmenter.segment(frame).confidence, expected.confidence)
    save_file(segmenter.state(), tmp_path / "state.safetensors")
    state = {k: v for k, v in segmenter.state().items() if not k.startswith("execution.")}
    with pytest.raises(ValueError, match="has residuals, but the model has none"):
        Segmenter(model(), device="cpu", engine="torch").restore(state)


def test_points_below_the_least_confidence_get_no_label(tmp_path):
    save_tiny(tmp_path / "tiny", dimension=3)
    points = np.random.default_rng(0).uniform(-20, 20, (500, 3)).astype(np.float32)
    options = {"device": "cpu", "engine": "torch"}
    every = Segmenter.load(tmp_path / "tiny.yaml", **options).segment(points)
    least = float(np.median(every.confidence))
    strict = Segmenter.load(tmp_path / "tiny.yaml", **options, min_confidence=least)
    some = strict.segment(points)
    below = every.confidence < least
    assert 0 < below.sum() < 500
    np.testing.assert_array_equal(some.labels, np.where(below, 255, every.labels))
    np.testing.assert_array_equal(some.confidence, every.confidence)
