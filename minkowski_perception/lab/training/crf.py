# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training of a CRF: after its network, on scores that are computed once, or together with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset
from tqdm import tqdm

from minkowski_perception.device import choose_device
from minkowski_perception.lab.training.clips import Sample, coordinates_in
from minkowski_perception.lab.training.losses import Loss, class_shares, class_weights
from minkowski_perception.lab.training.recipe import CrfOptimization
from minkowski_perception.networks import Network
from minkowski_perception.networks.blocks import SPATIAL_DIMENSION
from minkowski_perception.networks.crf import CRFSettings, TrilateralCRF
from minkowski_perception.networks.model import Model
from minkowski_perception.sparse import Engine, SparseTensor
from minkowski_perception.sparse.selection import choose_engine


@dataclass(frozen=True)
class Refinement:
    """A CRF that is trained together with its network, see `Trainer`.

    Attributes:
        crf: trained in place.
        chroma: from the features [N, C] of voxels to their chroma, see `Model.chroma`.
        learning_rate: the largest one of the CRF's weights.
    """

    crf: TrilateralCRF
    chroma: Callable[[Tensor], Tensor | None]
    learning_rate: float


@dataclass(frozen=True)
class ScoredClip:
    """Inputs and labels of a CRF for one clip.

    Attributes:
        logits: [N, K] float16, from the network.
        coordinates: [N, 5] int64 [batch, x, y, z, t].
        chroma: [N, C] float32, or None.
        labels: [N] int64.
    """

    logits: Tensor
    coordinates: Tensor
    chroma: Tensor | None
    labels: Tensor


def train_crf(
    model: Model,
    clips: Dataset[Sample],
    lattice: CRFSettings,
    optimization: CrfOptimization,
    *,
    seed: int = 0,
    device: str = "auto",
) -> TrilateralCRF:
    """Train a CRF on the scores of a model's network; the network does not change.

    Args:
        model: the model whose network the CRF is for.
        clips: a data set with a length; each clip is scored once.
        lattice: settings of the CRF.
        optimization: how the weights are trained.
        seed: of the order of the clips.
        device: see `choose_device`.

    Returns:
        The CRF, on the CPU, in evaluation mode.

    Raises:
        ValueError: the settings ask for the impossible, such as a CRF that uses the
            future for a network that runs frame by frame.
        ModelError: the CRF needs a chroma that is not among the network's features.
    """
    target = choose_device(device)
    crf = TrilateralCRF(model.network.num_classes, **asdict(lattice))
    check_causal(model.network, lattice)
    loss_of = Loss(lovasz=optimization.lovasz)
    scored = score_clips(replace(model, crf=crf), clips, target)
    labels = torch.cat([clip.labels for clip in scored]).numpy()
    weights = class_weights(class_shares(labels, crf.num_classes)).to(target)
    crf = crf.to(target).train()
    optimizer = torch.optim.AdamW(
        crf.parameters(),
        optimization.learning_rate,
        weight_decay=optimization.weight_decay,
    )
    steps = optimization.steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    progress = tqdm(range(steps), desc="training the CRF", unit="step")
    smooth = 0.0
    for step in progress:
        chosen = rng.integers(len(scored), size=optimization.batch_size)
        batch = _joined([scored[i] for i in chosen], target)
        scores = crf(batch.logits, batch.coordinates, batch.chroma)
        loss = loss_of(scores, batch.labels, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        progress.set_postfix(loss=f"{smooth:.3f}")
    return crf.cpu().eval()


def check_causal(network: Network, lattice: CRFSettings, end_to_end: bool = False) -> None:
    """Check that a CRF does not use the future where its network runs frame by frame.

    A CRF that is trained together with its network gets the scores of whole clips. They may not
    use the future either where the CRF does not.

    Args:
        network: of the CRF.
        lattice: settings of the CRF.
        end_to_end: whether both are trained together.

    Raises:
        ValueError: one of them uses the future.
    """
    by_frame = network.dimension == SPATIAL_DIMENSION or network.causal
    if end_to_end and lattice.causal and not by_frame:
        raise ValueError(
            "a causal CRF can be trained with end_to_end only if its network is in 3D or causal, "
            "but this network uses future frames"
        )
    if not lattice.causal and by_frame:
        raise ValueError(
            "a network in 3D or a causal one runs frame by frame, without future frames: its CRF "
            "must have causal: true"
        )


@torch.no_grad()
def score_clips(model: Model, clips: Dataset[Sample], device: torch.device) -> list[ScoredClip]:
    """Score clips with a model's network, as it will score frames for the model's CRF.

    A network in 3D scores each frame alone, a causal one in 4D the clip as a whole. A network that
    uses the future scores the clip as a whole for a CRF that uses it too, and each frame as the
    newest of the model's window for a causal CRF.
    """
    network = model.network.to(device).eval()
    assert model.crf is not None
    by_window = network.dimension > SPATIAL_DIMENSION and model.crf.causal and not network.causal
    engine: Engine | None = None
    scored = []
    for i in tqdm(range(len(clips)), desc="scoring clips", unit="clip"):  # type: ignore[arg-type]
        coordinates, features, labels, *_ = clips[i]
        voxels = (coordinates.to(device), features.to(device))
        engine = engine or _engine_for(network, *voxels)
        score = _by_window if by_window else _at_once
        logits = score(network, *voxels, engine, model.window)
        chroma = model.chroma(features)
        scored.append(ScoredClip(logits.half().cpu(), coordinates, chroma, labels))
    return scored


def _engine_for(network: Network, coordinates: Tensor, features: Tensor) -> Engine:
    """Return an engine whose results are the same bits in every run."""
    trial = (coordinates_in(network.dimension, coordinates), features)
    return choose_engine(
        "auto", network.class_logits, lambda: trial, features.device, "float32", True
    ).engine


def _at_once(
    network: Network, coordinates: Tensor, features: Tensor, engine: Engine, _: int = 1
) -> Tensor:
    voxels = coordinates_in(network.dimension, coordinates)
    return network.class_logits(SparseTensor(features, voxels, engine=engine)).in_input_order()


def _by_window(
    network: Network, coordinates: Tensor, features: Tensor, engine: Engine, window: int
) -> Tensor:
    time = coordinates[:, 4]
    logits = features.new_zeros(len(features), network.num_classes)
    for t in torch.unique(time).tolist():
        seen = (time <= t) & (time > t - window)
        scores = _at_once(network, coordinates[seen], features[seen], engine)
        logits[time == t] = scores[time[seen] == t]
    return logits


def _joined(clips: Sequence[ScoredClip], device: torch.device) -> ScoredClip:
    """Join clips into one batch, in float32."""
    coordinates = [pad(c.coordinates[:, 1:], (1, 0), value=i) for i, c in enumerate(clips)]
    chroma = [clip.chroma for clip in clips if clip.chroma is not None]
    return ScoredClip(
        torch.cat([clip.logits for clip in clips]).to(device).float(),
        torch.cat(coordinates).to(device),
        torch.cat(chroma).to(device) if chroma else None,
        torch.cat([clip.labels for clip in clips]).to(device),
    )
