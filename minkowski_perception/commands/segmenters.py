# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How a command is told which model to run, and how."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from minkowski_perception.commands import CommandError
from minkowski_perception.streaming import DEFAULT_AVERAGING

if TYPE_CHECKING:
    from minkowski_perception.segmenter import Segmenter


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a run of a model can be told."""
    parser.add_argument(
        "--model", help="name of a model, or path of its card (that of the package)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--engine",
        default="auto",
        help="auto, torch, numba, spconv_triton, spconv or minkowski (%(default)s: the fastest "
        "here that agrees with torch)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="auto, float32, bfloat16 or float16 (%(default)s: below float32 only where that is "
        "faster and the labels stay)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="give the same bits in every run, on CUDA too",
    )
    parser.add_argument(
        "--execution",
        default="auto",
        help="auto, window or incremental (%(default)s: incremental where the network is causal "
        "and no window is given)",
    )
    parser.add_argument(
        "--window", type=int, help="frames computed together (as many as the model was trained on)"
    )
    parser.add_argument("--no-crf", action="store_true", help="leave out the model's CRF")
    parser.add_argument(
        "--averaging",
        type=int,
        default=DEFAULT_AVERAGING,
        help="frames over which each place's probabilities are averaged; 1 for none (%(default)s)",
    )
    parser.add_argument(
        "--no-deskew",
        action="store_true",
        help="take clouds with per-point times as they are: the driver has moved their points",
    )


def load_segmenter(args: argparse.Namespace, **settings: Any) -> Segmenter:
    """Load the model that the arguments name; `settings` are further ones of `Segmenter`.

    Raises:
        CommandError: it cannot be loaded, or not run like this.
    """
    from minkowski_perception.device import use_threads
    from minkowski_perception.networks.model import DEFAULT_MODEL
    from minkowski_perception.segmenter import Segmenter

    use_threads()
    try:
        return Segmenter.load(
            args.model or DEFAULT_MODEL,
            device=args.device,
            execution=args.execution,
            window=args.window,
            crf=False if args.no_crf else None,
            averaging=args.averaging,
            deskew=not args.no_deskew,
            engine=args.engine,
            precision=args.precision,
            deterministic=args.deterministic,
            **settings,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
