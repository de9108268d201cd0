# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fuzz: random clouds, requests and transitions, each from a seed.

    make fuzz                       # all campaigns
    make fuzz CASE='clouds 3+cut:17'    # one case again

A case that fails is reduced to the words that matter, and printed as such a line.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from campaigns import error_of, fuzz
from cloud_campaign import Clouds
from node_campaigns import Lifecycle, Parameters
from tiny_models import save_tiny
from tqdm import tqdm

CAMPAIGNS = {campaign.name: campaign for campaign in (Clouds, Parameters, Lifecycle)}


def main(arguments=None):
    """Run the campaigns, or one case; return 1 if a property does not hold."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("case", nargs="*", help="campaign and words of one case")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of a full run (%(default)s)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        save_tiny(Path(folder) / "tiny", dimension=4, kernel="causal")
        return run(args, Path(folder) / "tiny.yaml")


def run(args, model):
    """Run what the arguments ask for, with a model."""
    if args.case:
        name, *words = args.case
        campaign = CAMPAIGNS[name](model)
        error = error_of(campaign, words)
        campaign.close()
        if error is not None:
            raise error
        print("the properties hold")
        return 0
    failures = []
    for name, kind in CAMPAIGNS.items():
        campaign = kind(model)
        number = max(1, round(args.share * kind.number))
        with tqdm(desc=name, total=number, unit=" cases", disable=None) as bar:
            failures += fuzz(campaign, number, args.seed, bar.update)
        campaign.close()
        print(f"{name}: {number} with the seed {args.seed}", flush=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
