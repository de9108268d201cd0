# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Random cases, the search for one that fails, and its reduction to the words that matter.

A case is a list of words, which a campaign turns into calls. A word may consist of parts, joined
by "+", of which all but the first can be left out.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

MOST_FAILURES = 5


class Campaign(ABC):
    """Random cases of one kind.

    Attributes:
        name: on the command line.
        number: how many of what is counted a full run tries.
    """

    name: str
    number: int

    @abstractmethod
    def case(self, rng):
        """Return the words of a random case."""

    @abstractmethod
    def check(self, words):
        """Run a case; raise an exception if a property does not hold."""

    def close(self):  # noqa: B027 - many hold nothing
        """Release what the campaign holds."""

    def size(self, words):
        """Return by how much a case counts."""
        return len(words)


@dataclass(frozen=True)
class Failure:
    """A case that fails, reduced, and the exception."""

    campaign: str
    words: list[str]
    error: BaseException

    def __str__(self):
        line = " ".join([self.campaign, *self.words])
        return f"{self.error!r:.300}\n    make fuzz CASE='{line}'"


def fuzz(campaign, number, seed, progress=lambda size: None):
    """Run random cases; return the failures, at most `MOST_FAILURES`.

    Args:
        campaign: to run.
        number: of what it counts.
        seed: of the cases: case i has the seed [seed, i].
        progress: called with the size of each case.
    """
    failures, done, index = [], 0, 0
    while done < number and len(failures) < MOST_FAILURES:
        words = campaign.case(np.random.default_rng([seed, index]))
        error = error_of(campaign, words)
        if error is not None:
            failures.append(reduced(campaign, words, error))
        size = max(1, campaign.size(words))
        progress(size)
        done, index = done + size, index + 1
    return failures


def error_of(campaign, words):
    """Return the exception of a case, None if its properties hold."""
    try:
        campaign.check(words)
    except Exception as error:
        return error
    return None


def reduced(campaign, words, error):
    """Leave out words and parts of a case that failed as long as it fails; return the failure."""
    shorter = True
    while shorter:
        shorter = False
        for candidate in _shorter(words):
            found = error_of(campaign, candidate)
            if found is not None:
                words, error, shorter = candidate, found, True
                break
    return Failure(campaign.name, words, error)


def _shorter(words):
    """Yield cases with fewer words, halves first, then with fewer parts."""
    length = len(words) // 2
    while length:
        for first in range(0, len(words), length):
            yield words[:first] + words[first + length :]
        length //= 2
    for i, word in enumerate(words):
        parts = word.split("+")
        for j in range(1, len(parts)):
            yield [*words[:i], "+".join(parts[:j] + parts[j + 1 :]), *words[i + 1 :]]
