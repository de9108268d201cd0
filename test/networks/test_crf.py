# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from plain_crf import cell_of, cross, mean_field

from minkowski_perception.networks.crf import CRFState, TrilateralCRF
from minkowski_perception.sparse import CoordinateRangeError

CLASSES = 4
AXES = {"none": 0, "intensity": 1, "colour": 3}


def crf_of(random=0, **settings):
    crf = TrilateralCRF(CLASSES, **settings).double()
    generator = torch.Generator().manual_seed(random)
    with torch.no_grad():
        crf.kernel.copy_(torch.randn(crf.kernel.shape, generator=generator).double())
    return crf.eval()


def sequence(chroma="none", frames=4, extent=7, batches=2, seed=0):
    """Logits, coordinates [N, 5] and chroma of a small dense scene, in random order."""
    random = torch.Generator().manual_seed(seed)
    space = torch.randint(-extent, extent, (90 * frames, 3), generator=random)
    space[:, 2] %= 3
    ends = [torch.randint(0, n, (len(space), 1), generator=random) for n in (batches, frames)]
    coordinates = torch.unique(torch.cat([ends[0], space, ends[1]], dim=1), dim=0)
    coordinates = coordinates[torch.randperm(len(coordinates), generator=random)]
    logits = 2.0 * torch.randn(len(coordinates), CLASSES, generator=random).double()
    colours = torch.randint(256, (len(coordinates), 3), generator=random)[:, : AXES[chroma]] / 255
    return logits, coordinates, colours if AXES[chroma] else None


def plain(crf, logits, coordinates, chroma):
    """Scores of the plain implementation: all frames at once, or one after the other."""
    colours = [()] * len(logits) if chroma is None else chroma.double().tolist()
    cells = [
        cell_of(voxel, crf.sigma_space, colour, crf.sigma_chroma)
        for voxel, colour in zip(coordinates.tolist(), colours, strict=True)
    ]
    kernel = crf.kernel.detach().numpy()
    offsets = cross(4 + AXES[crf.chroma], crf.sigma_time, crf.causal)
    if not crf.causal:
        return mean_field(logits.numpy(), cells, kernel, offsets, crf.iterations)[0]
    scores = np.zeros(logits.shape)
    settled = {}
    for t in sorted({cell[-1] for cell in cells}):
        rows = [i for i, cell in enumerate(cells) if cell[-1] == t]
        scores[rows], marginals = mean_field(
            logits[rows].numpy(),
            [cells[i] for i in rows],
            kernel,
            offsets,
            crf.iterations,
            settled,
        )
        settled |= marginals
    return scores


@pytest.mark.parametrize("chroma", AXES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("sigma_space", "sigma_time", "iterations"), [(1, 1, 3), (2, 2, 2)])
def test_mean_field_equals_a_plain_implementation(
    chroma, causal, sigma_space, sigma_time, iterations
):
    crf = crf_of(
        chroma=chroma,
        causal=causal,
        sigma_space=sigma_space,
        sigma_time=sigma_time,
        sigma_chroma=0.31,
        iterations=iterations,
    )
    logits, coordinates, colours = sequence(chroma)
    scores = crf(logits, coordinates, colours)
    np.testing.assert_allclose(
        scores.detach(), plain(crf, logits, coordinates, colours), atol=1e-9
    )
    assert (scores - logits).abs().max() > 1.0


@pytest.mark.parametrize(("chroma", "offsets"), [("none", 9), ("intensity", 11), ("colour", 15)])
def test_the_cross_has_the_offsets_of_the_paper(chroma, offsets):
    assert TrilateralCRF(CLASSES, chroma=chroma).kernel.shape == (offsets, CLASSES, CLASSES)
    causal = TrilateralCRF(CLASSES, chroma=chroma, causal=True)
    assert len(causal.kernel) == offsets - 1


def test_an_untrained_crf_does_not_change_scores():
    logits, coordinates, colours = sequence("intensity")
    assert torch.equal(
        TrilateralCRF(CLASSES, chroma="intensity")(logits.float(), coordinates, colours),
        logits.float(),
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sigma_space", [1, 4])
def test_results_do_not_depend_on_the_order_of_voxels_or_the_origin(causal, sigma_space):
    crf = crf_of(sigma_space=sigma_space, causal=causal)
    logits, coordinates, _ = sequence()
    expected = crf(logits, coordinates)
    order = torch.randperm(len(logits))
    far = coordinates + torch.tensor([0, 256 * 10**6, -512, 1024, 77])
    torch.testing.assert_close(crf(logits[order], far[order]), expected[order])


def test_cells_of_the_lattice_begin_at_multiples_of_sigma_space():
    """Voxels -1 and 0 lie in different cells, 0 and 1 in one."""
    crf = crf_of(sigma_space=2, iterations=1)
    logits = torch.tensor([[4.0, 0, 0, 0], [0, 4.0, 0, 0], [0, 0, 4.0, 0]]).double()
    coordinates = torch.tensor([[0, x, 0, 0, 0] for x in (-1, 0, 1)])
    message = crf(logits, coordinates) - logits
    torch.testing.assert_close(message[1], message[2])
    assert not torch.allclose(message[0], message[1])


@pytest.mark.parametrize("chroma", AXES)
@pytest.mark.parametrize("sigma_time", [1, 3])
def test_a_causal_crf_gives_the_same_frame_by_frame_and_over_a_sequence(chroma, sigma_time):
    crf = crf_of(chroma=chroma, causal=True, sigma_space=2, sigma_time=sigma_time)
    logits, coordinates, colours = sequence(chroma, frames=9)
    lost = torch.isin(coordinates[:, 4], torch.tensor([2, 5, 6]))
    logits, coordinates = logits[~lost], coordinates[~lost]
    colours = None if colours is None else colours[~lost]
    expected = crf(logits, coordinates, colours)
    state, last = None, -1
    for t in (0, 1, 3, 4, 7, 8):
        rows = coordinates[:, 4] == t
        scores, state = crf.step(
            logits[rows],
            coordinates[rows, :4],
            None if colours is None else colours[rows],
            state,
            elapsed=t - last,
        )
        last = t
        torch.testing.assert_close(scores, expected[rows])


def test_a_step_of_a_crf_that_is_not_causal_uses_only_the_past():
    crf = crf_of(sigma_space=2)
    logits, coordinates, _ = sequence(frames=2)
    old, new = coordinates[:, 4] == 0, coordinates[:, 4] == 1
    cells = [cell_of(voxel, 2) for voxel in coordinates.tolist()]
    offsets, kernel = cross(4, 1, False), crf.kernel.detach().numpy()
    first, settled = mean_field(
        logits[old].numpy(), [c for c in cells if c[-1] == 0], kernel, offsets, 3
    )
    second, _ = mean_field(
        logits[new].numpy(), [c for c in cells if c[-1] == 1], kernel, offsets, 3, settled
    )
    scores, state = crf.step(logits[old], coordinates[old, :4])
    np.testing.assert_allclose(scores.detach(), first, atol=1e-9)
    scores, _ = crf.step(logits[new], coordinates[new, :4], None, state)
    np.testing.assert_allclose(scores.detach(), second, atol=1e-9)


def frame(coordinates, logits, t):
    rows = coordinates[:, 4] == t
    return logits[rows], coordinates[rows, :4]


def test_a_frame_without_voxels_keeps_the_nodes_that_later_steps_need():
    crf = crf_of(sigma_time=2, causal=True)
    logits, coordinates, _ = sequence(frames=3)
    expected = crf(logits[coordinates[:, 4] != 1], coordinates[coordinates[:, 4] != 1])
    _, state = crf.step(*frame(coordinates, logits, 0))
    scores, state = crf.step(logits[:0], coordinates[:0, :4], None, state)
    assert scores.shape == (0, CLASSES)
    scores, state = crf.step(*frame(coordinates, logits, 2), None, state)
    rows = coordinates[coordinates[:, 4] != 1][:, 4] == 2
    torch.testing.assert_close(scores, expected[rows])


def test_a_state_has_a_bounded_size_and_can_be_restored():
    crf = crf_of(sigma_time=2, causal=True)
    logits, coordinates, _ = sequence(frames=1, batches=1)
    state, sizes = None, []
    for _ in range(6):
        _, state = crf.step(logits, coordinates[:, :4], None, state)
        sizes.append(state.bytes)
    assert sizes[1:] == [2 * sizes[0]] * 5
    assert sizes[0] == len(logits) * (5 * 8 + CLASSES * 8)
    restored = CRFState(**{name: t.clone() for name, t in state.tensors().items()})
    expected, _ = crf.step(logits, coordinates[:, :4], None, state)
    scores, _ = crf.step(logits, coordinates[:, :4], None, restored)
    assert torch.equal(scores, expected)


def test_a_rebased_state_gives_the_same_scores():
    crf = crf_of(sigma_space=4, causal=True)
    logits, coordinates, _ = sequence(frames=2)
    _, state = crf.step(*frame(coordinates, logits, 0))
    scores, voxels = frame(coordinates, logits, 1)
    expected, _ = crf.step(scores, voxels, None, state)
    shift = torch.tensor([256, -512, 1024])
    moved = voxels - torch.cat([torch.tensor([0]), shift])
    torch.testing.assert_close(crf.step(scores, moved, None, state.rebased(shift))[0], expected)
    alone = crf.step(scores, moved, None, state)[0]
    torch.testing.assert_close(alone, crf.step(scores, moved)[0])
    assert (alone - expected).abs().max() > 0.1
    with pytest.raises(ValueError, match="multiples of sigma_space, 4"):
        crf.step(scores, moved, None, state.rebased(torch.tensor([2, 0, 0])))


def test_past_nodes_out_of_the_range_of_keys_are_left_out():
    crf = crf_of(chroma="colour", causal=True)
    logits, coordinates, colours = sequence("colour", frames=1)
    _, state = crf.step(logits, coordinates[:, :4], colours)
    far = coordinates[:, :4] + torch.tensor([0, 10**7, 0, 0])
    scores, _ = crf.step(logits, far, colours, state)
    torch.testing.assert_close(scores, crf.step(logits, far, colours)[0])


@pytest.mark.parametrize("causal", [False, True])
def test_an_engine_gives_the_scores_of_plain_pytorch(causal):
    numba_engine = pytest.importorskip("minkowski_perception.sparse.engines.numba_engine")
    engine = numba_engine.NumbaEngine()
    crf = crf_of(chroma="intensity", sigma_space=2, causal=causal).float()
    logits, coordinates, colours = sequence("intensity")
    expected = crf(logits.float(), coordinates, colours)
    with torch.inference_mode():
        scores = crf(logits.float(), coordinates, colours, engine)
        torch.testing.assert_close(scores, expected.detach(), atol=1e-4, rtol=1e-4)
        crf.kernel.zero_()
        assert torch.equal(crf(logits.float(), coordinates, colours, engine), logits.float())


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_flow_to_the_kernel_and_to_the_network(causal):
    crf = crf_of(sigma_space=2, causal=causal, iterations=2)
    logits, coordinates, _ = sequence(frames=3, extent=2, batches=1)
    logits, coordinates = logits[:12].requires_grad_(), coordinates[:12]

    def scores(logits, kernel):
        return torch.func.functional_call(crf, {"kernel": kernel}, (logits, coordinates))

    assert torch.autograd.gradcheck(scores, (logits, crf.kernel))


def test_colours_on_the_border_of_a_cell_belong_to_it():
    """SpatioTemporalSegmentation divides whole colours by 12; ours are 255ths of them."""
    crf = TrilateralCRF(CLASSES, chroma="intensity", sigma_chroma=12 / 255)
    whole = torch.arange(256)
    coordinates = torch.zeros(256, 5, dtype=torch.long)
    cells = crf._cells(coordinates, (whole.float() / 255 - 0.5 + 0.5)[:, None])
    assert torch.equal(cells[:, 4], whole // 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chroma": "grey"}, "chroma: must be one of none, intensity, colour, not 'grey'"),
        ({"sigma_space": 3}, r"sigma_space: must be one of 1, 2, 4, .*, 256, not 3"),
        ({"sigma_time": 0}, "sigma_time: must be 1 to 32, not 0"),
        ({"sigma_time": True}, "sigma_time: must be an integer, not True"),
        ({"chroma": "colour", "sigma_time": 9}, "sigma_time: must be 1 to 8, not 9"),
        ({"iterations": 1.5}, "iterations: must be an integer, not 1.5"),
        ({"iterations": -5}, "iterations: must be 1 to 100, not -5"),
        ({"chroma": "colour", "sigma_chroma": 0.01}, r"must be 0\.0212766 to 1, not 0\.01"),
        ({"chroma": "intensity", "sigma_chroma": 2}, r"must be 0\.0105263 to 1, not 2"),
        ({"sigma_chroma": float("nan")}, "sigma_chroma: must be a finite number, not nan"),
        ({"causal": "no"}, "causal: must be true or false, not 'no'"),
        ({"sigma": 2}, "sigma: unknown key; did you mean 'sigma_time'"),
    ],
)
def test_impossible_settings_are_refused_with_the_possible_ones(settings, message):
    with pytest.raises(ValueError, match=message):
        TrilateralCRF(CLASSES, **settings)


def test_inputs_of_wrong_shapes_are_refused():
    logits, coordinates, colours = sequence("intensity")
    crf = TrilateralCRF(CLASSES, chroma="intensity")
    with pytest.raises(ValueError, match=r"logits must have shape \[\d+, 4\], not \[\d+, 3\]"):
        crf(logits[:, :3], coordinates, colours)
    with pytest.raises(ValueError, match=r"coordinates must have shape \[\d+, 4\], not"):
        crf.step(logits, coordinates, colours)
    with pytest.raises(ValueError, match=r"a CRF of chroma 'intensity' needs chroma \[N, 1\]"):
        crf(logits, coordinates)
    with pytest.raises(ValueError, match="takes no chroma"):
        TrilateralCRF(CLASSES)(logits, coordinates, colours)
    with pytest.raises(ValueError, match="elapsed must be 1 frame or more, not 0"):
        crf.step(logits, coordinates[:, :4], colours, elapsed=0)


def test_voxels_too_far_apart_are_refused_by_axis_and_value():
    crf = TrilateralCRF(CLASSES, chroma="colour")
    coordinates = torch.tensor([[0, 0, -2000, 0, 0], [0, 0, 2000, 0, 0]])
    with pytest.raises(CoordinateRangeError, match=r"the CRF's lattice: axis 1 ranges from -2000"):
        crf(torch.zeros(2, CLASSES), coordinates, torch.zeros(2, 3))
