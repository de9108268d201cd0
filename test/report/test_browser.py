# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The report as a headless Chromium draws it."""

import numpy as np
import pytest
from chromium import Chromium, find_chromium
from pages import CAR, GROUND, LABELS, WALL, write_scenes

SETTLED = "document.getElementById('view').dataset.settled === 'true'"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    browser = Chromium(program, tmp_path_factory.mktemp("profile"), 900, 600)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_scenes(path)
    return path


@pytest.fixture
def page(chromium, report):
    """The report, as it opens."""
    pytest.importorskip("PIL", reason="needs Pillow, which Matplotlib brings")
    chromium.open(report.as_uri())
    chromium.wait_for(SETTLED)
    return chromium


def drawn(page):
    """Return the points' picture, without the buttons at the top of it."""
    page.wait_for(SETTLED)
    return page.picture("#view")[70:].astype(int)


def share_of(picture, label):
    """Return the share of the pixels in the hue of a class, at any brightness."""
    colour = np.array(LABELS.colours[label])
    brightness = picture.max(axis=2, keepdims=True) / colour.max()
    away = np.abs(picture - brightness * colour).max(axis=2)
    return ((away < 30) & (brightness[..., 0] > 0.2)).mean()


def press(page, key):
    page.evaluate("document.getElementById('view').focus()")
    page.press(key)


def test_the_page_opens_without_an_error_and_without_a_request(page, report):
    for event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
        assert page.messages.get(event, []) == []
    requests = [m["request"]["url"] for m in page.messages["Network.requestWillBeSent"]]
    assert requests == [report.as_uri()]


def test_the_points_are_drawn_in_the_colours_of_their_classes(page):
    picture = drawn(page)
    for label in (GROUND, WALL, CAR):
        assert share_of(picture, label) > 0.002, LABELS.names[label]


def test_the_legend_hides_a_class_and_shows_it_again(page):
    before = drawn(page)
    row = f"#classes li:nth-child({1 + WALL}) button"
    assert page.evaluate(f"document.querySelector('{row} .name').textContent") == "wall <b>"

    page.click(row)
    hidden = drawn(page)
    assert share_of(hidden, WALL) < 0.1 * share_of(before, WALL)
    assert share_of(hidden, GROUND) > 0.9 * share_of(before, GROUND)
    assert page.evaluate(f"document.querySelector('{row}').ariaPressed") == "false"

    page.click(row)
    np.testing.assert_array_equal(drawn(page), before)


def test_the_slider_changes_the_cloud(page):
    before = drawn(page)
    page.evaluate(
        "(slider => {slider.value = 3; slider.dispatchEvent(new Event('input'))})("
        "document.getElementById('slider'))"
    )
    page.wait_for("document.getElementById('view').dataset.cloud === '3'")

    assert (drawn(page) != before).any(axis=2).mean() > 0.01
    caption = page.evaluate("document.getElementById('caption').textContent")
    assert caption == "cloud 5 · 0.3 s · 4,000 of 4,000 points"  # the third one was dropped
    assert page.evaluate("document.querySelector('#shares output').textContent").startswith(
        "0.3 s"
    )


def test_keys_colour_step_turn_and_play(page):
    before = drawn(page)
    press(page, "3")
    errors = drawn(page)
    assert page.evaluate("document.getElementById('legend-title').textContent") == "Errors"
    assert share_of(errors, GROUND) < 0.1 * share_of(before, GROUND)

    press(page, "a")
    assert (drawn(page) != errors).any(axis=2).mean() > 0.01
    press(page, "ArrowRight")
    page.wait_for("document.getElementById('view').dataset.cloud === '1'")
    press(page, " ")
    page.wait_for("document.getElementById('view').dataset.cloud === '4'")
    page.wait_for("document.getElementById('play').ariaLabel === 'Play'")  # it stops at the end


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_background_follows_the_colour_scheme(page, scheme):
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    page.wait_for(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    page.wait_for(SETTLED)
    middle = np.median(drawn(page), axis=(0, 1)).mean()
    assert middle > 180 if scheme == "light" else middle < 60


def test_charts_and_the_map_are_drawn(page):
    for chart in ("shares", "latency", "overview"):
        assert not page.evaluate(f"document.getElementById('{chart}').hidden")
    assert page.evaluate("document.querySelectorAll('#shares .plot > svg > path').length") == 4
    pixels = page.evaluate(
        "(canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width,"
        "canvas.height).data).size)(document.querySelector('#overview canvas'))"
    )
    assert pixels > 4
    page.evaluate("document.querySelector('#latency svg').scrollIntoView()")
    box = page.evaluate("document.querySelector('#latency svg').getBoundingClientRect().toJSON()")
    place = {"x": box["x"] + 0.95 * box["width"], "y": box["y"] + 0.5 * box["height"]}
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
    page.wait_for("document.getElementById('view').dataset.cloud === '4'")


def test_without_webgl_the_page_says_so_and_keeps_its_charts(page, report):
    script = page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="HTMLCanvasElement.prototype.getContext = (get => function (kind, ...more) {"
        "return kind === 'webgl2' ? null : get.call(this, kind, ...more)})"
        "(HTMLCanvasElement.prototype.getContext)",
    )
    try:
        page.open(report.as_uri())
        text = page.evaluate("document.getElementById('message').textContent")
        assert "no WebGL 2" in text
        assert not page.evaluate("document.getElementById('shares').hidden")
        assert page.messages.get("Runtime.exceptionThrown", []) == []
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
