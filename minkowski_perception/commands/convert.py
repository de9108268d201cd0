# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`minkowski-perception convert`: convert checkpoints of other code bases, or a 3D model to 4D."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minkowski_perception.commands import CommandError, positive

if TYPE_CHECKING:
    from minkowski_perception.lab.importers import Conversion

_WINDOW = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "file",
        type=Path,
        help="checkpoint, folder of SPVNAS's model zoo (net.config, init), or model of this "
        "package to inflate",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="NAME.safetensors; the card is NAME.yaml"
    )
    parser.add_argument("--name", help="name of the model in its card (that of --out)")
    parser.add_argument(
        "--label-set", help="name or .yaml file of the classes (found by their number)"
    )
    parser.add_argument("--voxel-size", type=float, help="metres (that of training)")
    parser.add_argument(
        "--block-order",
        choices=("auto", "hybrid", "cube"),
        default="auto",
        help="slice order in the 3D blocks of Res16UNet (%(default)s: detected from the weights)",
    )
    parser.add_argument(
        "--even-order",
        choices=("auto", "first-axis", "last-axis"),
        default="auto",
        help="slice order in the kernels of size 2 of Res16UNet (%(default)s: likewise)",
    )
    parser.add_argument(
        "--inflate",
        choices=("hybrid", "cube", "causal"),
        help="inflate to 4D with this kernel; until further training, outputs are unchanged",
    )
    parser.add_argument(
        "--window",
        type=positive,
        help=f"with --inflate: number of frames that the network sees together ({_WINDOW})",
    )


def run(args: argparse.Namespace) -> int:
    """Convert; print what was recognised and decided, and the paths of the model."""
    from minkowski_perception.lab.importers import inflated
    from minkowski_perception.networks.model import load_model, save_model

    if args.out.suffix != ".safetensors":
        raise CommandError(f"--out must end in .safetensors, not '{args.out}'")
    if args.window and not args.inflate:
        raise CommandError(
            "--window needs --inflate; otherwise the checkpoint determines the window"
        )
    conversion = _open(args, args.name or args.out.stem)
    if args.inflate:
        conversion = inflated(conversion, args.inflate, args.window or _WINDOW)
    save_model(
        args.out.with_suffix(""),
        conversion.network,
        conversion.card,
        crf=conversion.crf,
        half=False,
    )
    model = load_model(args.out)
    source = model.card["source"]
    parameters = sum(p.numel() for p in model.network.parameters())
    rows = {
        "recognised": source["family"],
        "network": f"{model.card['network']['name']}, {model.network.dimension}D, "
        f"{parameters / 1e6:.2f} M parameters",
        "trained": model.card["training"],
        "labels": f"{model.label_set.name}, {len(model.label_set)} classes",
        "input": f"voxels of {model.input.voxel_size:g} m, {', '.join(model.input.features)}",
        **{key: text for key, text in source.items() if key not in ("family", "file", "sha256")},
        "model": f"{args.out}, {args.out.with_suffix('.yaml')}",
    }
    width = max(map(len, rows))
    for key, text in rows.items():
        print(f"{key:{width}}  {text}")
    return 0


def _open(args: argparse.Namespace, name: str) -> Conversion:
    from minkowski_perception.lab.importers import Orders, convert, read_checkpoint, reopen

    orders = Orders(args.block_order, args.even_order)
    if args.file.suffix in (".yaml", ".safetensors") and args.file.with_suffix(".yaml").exists():
        if args.label_set or args.voxel_size or orders != Orders() or not args.inflate:
            raise CommandError(
                f"{args.file} is already a model: use --inflate, and of the other options only "
                "--window and --name"
            )
        return reopen(args.file, name)
    return convert(
        read_checkpoint(args.file),
        name,
        label_set=args.label_set,
        voxel_size=args.voxel_size,
        orders=orders,
    )
