# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all networks: a backbone with heads by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar

from torch import nn

from minkowski_perception.labels import LabelSet
from minkowski_perception.networks.blocks import (
    DEFAULT_LINKS,
    SPATIAL_DIMENSION,
    Blocks,
    Kernel,
    LinkKind,
    Links,
    pointwise,
)
from minkowski_perception.networks.heads import CLASSES, HEADS
from minkowski_perception.schema import Former, Range, error_at
from minkowski_perception.sparse import CausalConvolution, Convolution, SparseTensor, Support

Width = Annotated[float, Range(above=0.0, most=4.0)]
"""Factor on all widths of a network."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of every network.

    Attributes:
        causal_keys: options for kernel "causal" alone.
        in_channels: features of a voxel.
        heads: logits of a voxel by name of the head; "classes" is always there.
        dimension: 3 for space, 4 for space and time.
        kernel: region of the blocks' kernels: "hybrid", "cross", "cube" or, in 4D, "causal"; by
            default "cube" in 3D and "hybrid" in 4D. (In 3D these two are the same neighbours in
            another order.)
        links: for kernel "causal" alone: see `Links.levels`.
        recall: for kernel "causal" alone: see `Links.recall`.

    Raises:
        ValueError: a value is not possible; the valid ones are listed.
    """

    former_keys: ClassVar = {
        "dims": Former("dimension"),
        "num_classes": Former("heads", lambda classes: {CLASSES: classes}),
    }
    causal_keys: ClassVar[tuple[str, ...]] = ("links", "recall")

    in_channels: Annotated[int, Range(least=1)]
    heads: Mapping[str, Annotated[int, Range(least=1)]]
    dimension: Annotated[int, Range(3, 4)] = SPATIAL_DIMENSION
    kernel: Kernel | None = None
    links: tuple[LinkKind, ...] | None = None
    recall: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if CLASSES not in self.heads:
            raise ValueError(f"heads must name '{CLASSES}', not {', '.join(self.heads) or 'none'}")
        for name in self.heads:
            HEADS[name]
        if self.kernel != "causal" and any(
            getattr(self, key) != default for key, default in self.causal_defaults.items()
        ):
            *others, last = self.causal_keys
            raise ValueError(
                f"{', '.join(others)} and {last} are for kernel 'causal', "
                f"not {self.kernel or self._default!r}"
            )

    def check_fit(self, features: int, label_set: LabelSet) -> None:
        """Check that the channels fit the number of input features and the label set.

        Raises:
            SchemaError: a number of channels does not fit; the message says which would.
        """
        wanted = {"in_channels": (self.in_channels, features)}
        for name, channels in self.heads.items():
            wanted[f"heads.{name}"] = (channels, HEADS[name].channels(label_set))
        for key, (found, fitting) in wanted.items():
            if found != fitting:
                raise error_at(
                    f"network.{key}", f"must be {fitting} to fit input and labels, not {found}"
                )

    @property
    def causal_defaults(self) -> dict[str, Any]:
        """Default values of the options for kernel "causal" alone."""
        return {f.name: f.default for f in fields(self) if f.name in self.causal_keys}

    @property
    def past(self) -> int:
        """Number of frames before its last one that a clip needs to train all weights."""
        return self.blocks.recall

    @property
    def _default(self) -> Kernel:
        return "cube" if self.dimension == SPATIAL_DIMENSION else "hybrid"

    @property
    def blocks(self) -> Blocks:
        """Factory of the blocks' kernels."""
        levels = DEFAULT_LINKS.levels if self.links is None else tuple(self.links)
        recall = DEFAULT_LINKS.recall if self.recall is None else self.recall
        return Blocks(self.dimension, self.kernel or self._default, Links(levels, recall))


class Network(nn.Module, ABC):
    """A backbone with heads by name.

    The weights of the class head are named by each family as its origin names them, those of
    other heads `heads.NAME.kernel` and `heads.NAME.bias`.

    Args:
        architecture: widths and depths.
        options: channels, dimension and kernels.

    Attributes:
        class_layer: name of the class head's layer.
        heads: layers of the other heads by name.

    Shapes:
        input: SparseTensor with features [N, in_channels] on [batch, x, y, z(, t)] of stride 1.
        output: by head, SparseTensor with logits [N, C] on the same voxels.
    """

    class_layer: ClassVar[str]

    def __init__(self, architecture: Any, options: NetworkOptions) -> None:
        super().__init__()
        self.architecture = architecture
        self.options = options
        self.heads = nn.ModuleDict()

    @property
    def in_channels(self) -> int:
        """Features of a voxel."""
        return self.options.in_channels

    @property
    def num_classes(self) -> int:
        """Logits of the class head."""
        return self.options.heads[CLASSES]

    @property
    def dimension(self) -> int:
        """3 for space, 4 for space and time."""
        return self.options.dimension

    @property
    def linked_layers(self) -> dict[str, CausalConvolution]:
        """Layers with links to earlier frames, by name."""
        modules = self.named_modules()
        return {name: m for name, m in modules if isinstance(m, CausalConvolution)}

    @property
    def causal(self) -> bool:
        """Whether a 4D network sees the present and the past alone, and can run incrementally."""
        layers = (m for m in self.modules() if isinstance(m, Convolution))
        return self.dimension == 4 and all(
            isinstance(layer, CausalConvolution) or not any(o[-1] for o in layer.region.offsets)
            for layer in layers
        )

    @property
    def recall(self) -> int:
        """Number of frames that the links of a causal network reach back at once."""
        return max((layer.recall for layer in self.linked_layers.values()), default=1)

    @property
    def support_channels(self) -> int:
        """Number of features of support rows; 0 without these."""
        return sum(m.channels for m in self.modules() if isinstance(m, Support))

    @abstractmethod
    def backbone(self, tensor: SparseTensor) -> SparseTensor:
        """Return features of the voxels, which all heads read."""

    def forward(self, tensor: SparseTensor) -> dict[str, SparseTensor]:
        """Return the logits of the voxels by head; see the class for shapes."""
        features = self.backbone(tensor)
        layers = {CLASSES: self.get_submodule(self.class_layer), **self.heads}
        return {name: layer(features) for name, layer in layers.items()}

    def class_logits(self, tensor: SparseTensor) -> SparseTensor:
        """Return the logits of the class head; the other heads are not computed."""
        logits: SparseTensor = self.get_submodule(self.class_layer)(self.backbone(tensor))
        return logits

    def prefix(self, head: str) -> str:
        """Return the prefix of a head's weights in the state dictionary."""
        return f"{self.class_layer if head == CLASSES else f'heads.{head}'}."

    def twin(self, dimension: int, kernel: Kernel) -> Network:
        """Return a network of the same architecture in other dimensions, with fresh weights."""
        options = replace(
            self.options, dimension=dimension, kernel=kernel, **self.options.causal_defaults
        )
        return type(self)(self.architecture, options)

    def _make_heads(self, width: int) -> Convolution:
        """Return the class head's layer, and put those of the other heads into `heads`."""
        layers = {
            name: pointwise(width, channels, self.dimension, bias=True)
            for name, channels in self.options.heads.items()
        }
        classes = layers.pop(CLASSES)
        self.heads.update(layers)
        return classes
