# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from minkowski_perception.colours import BACKGROUND, MIN_CONTRAST, contrast, readable
from minkowski_perception.labels import MOVING_COLOUR, UNLABELLED_COLOUR, LabelSet

SETS = LabelSet.available()


def perceived(colours):
    """Return colours [..., 3] in OKLab, whose distances are about those that people see."""
    share = np.asarray(colours) / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [[0.4122, 0.2119, 0.0883], [0.5363, 0.6807, 0.2817], [0.0515, 0.1074, 0.6300]]
    )
    return np.cbrt(cones) @ np.array(
        [[0.2105, 1.9780, 0.0259], [0.7936, -2.4286, 0.7828], [-0.0041, 0.4506, -0.8087]]
    )


def nearest(colours):
    """Return the least distance between two different colours of a list."""
    places = perceived(sorted(set(colours)))
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    return (apart + np.eye(len(places)) * 9.0).min()


def test_contrast_is_that_of_wcag():
    assert contrast((255, 255, 255), (0, 0, 0)) == pytest.approx(21.0)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", SETS)
def test_shown_colours_are_readable_on_the_background_of_rviz_and_stay_apart(name):
    labels = LabelSet.load(name)
    assert (contrast(labels.shown_colours, BACKGROUND) >= MIN_CONTRAST).all()
    assert (contrast(labels.shown_colours, (0, 0, 0)) >= 3.0).all()
    assert len(set(labels.shown_colours)) == len(set(labels.colours))
    assert nearest(labels.shown_colours) >= min(0.05, nearest(labels.colours))


@pytest.mark.parametrize("name", SETS)
def test_readable_colours_are_shown_as_they_are_and_dark_ones_only_as_light_as_needed(name):
    labels = LabelSet.load(name)
    for colour, shown in zip(labels.colours, labels.shown_colours, strict=True):
        if contrast(colour, BACKGROUND) >= MIN_CONTRAST:
            assert shown == colour
        else:
            assert contrast(shown, BACKGROUND) < MIN_CONTRAST + 0.1


def test_black_becomes_a_readable_grey():
    grey = readable((0, 0, 0))
    assert len(set(grey)) == 1
    assert contrast(grey, BACKGROUND) == pytest.approx(MIN_CONTRAST, abs=0.05)


def test_the_colour_of_what_moves_is_unlike_those_of_all_classes():
    sets = [LabelSet.load(name) for name in SETS]
    taken = [UNLABELLED_COLOUR, *(c for s in sets for c in (*s.colours, *s.shown_colours))]
    apart = np.linalg.norm(perceived(taken) - perceived(MOVING_COLOUR), axis=1)
    assert apart.min() > 0.1
    red = np.linalg.norm(perceived(taken) - perceived((255, 26, 26)), axis=1)
    assert red.min() < 0.02  # the red of traffic signs and persons


def test_the_palette_of_files_is_not_lightened():
    labels = LabelSet.load("semantickitti19")
    sidewalk = labels.names.index("sidewalk")
    assert tuple(labels.palette[sidewalk]) == labels.colours[sidewalk] == (75, 0, 75)
    assert tuple(labels.shown_palette[sidewalk]) == labels.shown_colours[sidewalk]
    assert labels.shown_colours[sidewalk] != (75, 0, 75)
