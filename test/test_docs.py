# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Every snippet and every command of the documentation is run, with small inputs.

The snippets of a page run in order, in a folder with the inputs that they name (`doc_inputs.py`),
so that a later one finds what an earlier one wrote. The first line of a YAML block is the comment
`# NAME.yaml`; the block is written to that file.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from doc_inputs import link, python_inputs, write_inputs
from doc_snippets import PAGES, ROOT, Snippet, snippets

import minkowski_perception
from minkowski_perception.accounting import DropReason
from minkowski_perception.commands.benchmark import SUBJECTS
from minkowski_perception.commands.main import COMMANDS, _parser, main
from minkowski_perception.networks.model import available_models, load_model
from minkowski_perception.settings import SETTINGS, Settings

NODE = (ROOT / "docs" / "node.md").read_text()
SETUP = (ROOT / "setup.py").read_text()
MANIFEST = (ROOT / "package.xml").read_text()
LAUNCH = "".join(path.read_text() for path in sorted(ROOT.glob("launch/*.py")))

LANGUAGES = ("bash", "sh", "python", "yaml", "inline")

NOT_RUN = {
    "cd ": "only the test changes folders",
    "colcon build": "test_package.py builds the package",
    "export ": "for commands that are not run",
    "git clone": "needs the network",
    "minkowski-perception adapt path": "test_adapt.py adapts a small model",
    "minkowski-perception benchmark engines --device cuda": "needs a GPU",
    "minkowski-perception benchmark exactness": "needs MinkowskiEngine; test_benchmark_exactness",
    "minkowski-perception benchmark node": "test_benchmark_node.py runs it over DDS",
    "minkowski-perception benchmark temporal": "test_benchmark_temporal.py runs it",
    "minkowski-perception demo": "test_demo.py plays a bag through the node",
    "minkowski-perception doctor --ros": "test_graph.py publishes clouds",
    "minkowski-perception label path/to/bag --topic /points --model out": "needs what adapt made",
    "minkowski-perception label path/to/drives/* --out out/cluster": "test_ray_workers.py",
    "export FAST": "for nodes of a ROS installation",
    "mkdir ": "for commands that are not run",
    "pip install": "needs the network",
    "python3 -m venv": "for commands that are not run",
    "pre-commit ": "needs the network",
    "ros2 ": "needs a ROS installation",
    "rosdep ": "needs a ROS installation",
    "source ": "for commands that are not run",
    "sudo ": "changes the machine",
    "torchrun ": "test_resuming.py trains in two processes",
    "touch ": "for commands that are not run",
}
"""Commands that are not run, and why; what they name is checked."""

SMALLER = {
    "benchmark ablation": "--drives 1 --frames 1 --lidars vlp16 --engine torch "
    "--models tiny_models",
    "benchmark engines": "--networks MinkUNet14A --beams 16 --voxel-size 1 --repeats 1 "
    "--races-only --device cpu --threads 1",
    "benchmark memory": "--frames 10 --points 300 --model tiny.yaml",
    "benchmark networks": "--networks MinkUNet18-W16 --voxel-size 1 --repeats 1",
    "benchmark time": "--drives 2 --frames 2 --lidars vlp16 --conditions clean --engine torch",
    "calibrate": "--drives 1 --lidars vlp16 --limit 1 --engine torch",
    "evaluate --dataset": "--limit 1 --engine torch",
    "evaluate --leave-one-recording-out": "--engine torch",
    "evaluate --dataset simulation ": "--drives 1 --lidars vlp16",
    "evaluate --dataset simulation_indoor": "--drives 1",
    "label ": "--engine torch",
    # The bag has true labels of other classes; those of people with their own have none.
    "label path/to/bag --out labelled --model models/site.yaml": "--true-label-field none",
    "precompile": "--engine torch",
    "simulate": "--drives 1 --frames 1",
    "train": "--iterations 1 --workers 0",
}
"""Options that are appended to commands that begin so, to shorten them."""

OF_OTHER_NODES = {"lio_sam.yaml"}
"""Parameter files of other nodes; test_navigation.py compares their topics with ours."""

SHORTER_VALUES = {"--long": "10"}
"""Values that replace those of an option."""


@pytest.fixture(scope="session")
def inputs(drive, tmp_path_factory):
    pytest.importorskip("matplotlib", reason="needs matplotlib for pictures")
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, drive)
    return folder


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def measured():
    """Options and names of the measurements that ran already, see `parts_of`."""
    return set()


@pytest.fixture
def registries():
    """Remove what a page registers."""
    from minkowski_perception.lab.training.losses import LOSSES
    from minkowski_perception.networks import registry
    from minkowski_perception.networks.heads import HEADS
    from minkowski_perception.scoring import OUTPUT_METRICS

    tables = (registry._NETWORKS, HEADS, LOSSES, OUTPUT_METRICS)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.system
@pytest.mark.xdist_group("docs")  # shares the inputs and what was measured
@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_snippet_of_a_page_runs(
    page, inputs, measured, registries, tmp_path, monkeypatch, capsys
):
    for path in inputs.rglob("*"):  # a page's own links, so that pages cannot disturb each other
        if not path.is_dir() or path.is_symlink():
            link(tmp_path / path.relative_to(inputs), path.resolve())
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for snippet in snippets(page):
        assert snippet.language in LANGUAGES, f"{snippet.place}: language '{snippet.language}'"
        if snippet.language == "python":
            namespace = namespace or python_inputs()
            exec(compile(snippet.text, snippet.place, "exec"), namespace)
        elif snippet.language == "yaml":
            write_yaml(snippet)
        for words in snippet.commands:
            run(words, snippet.place, measured)
    capsys.readouterr()


def write_yaml(snippet: Snippet) -> None:
    """Write a block to the file that its first line names.

    A recipe must be valid, and so must be parameters of the node.
    """
    from minkowski_perception.lab.training.recipe import load_recipe
    from minkowski_perception.lab.training.stages import read_stages

    name = re.match(r"# (\S+\.yaml)\n", snippet.text)
    assert name, f"{snippet.place}: the first line must be the comment '# NAME.yaml'"
    path = Path(name[1])
    path.unlink(missing_ok=True)
    path.write_text(snippet.text)
    content = yaml.safe_load(snippet.text)
    if {"labels", "base"} & set(content):
        read_stages(load_recipe(path), Path("out"))
    if "/**" in content and path.name not in OF_OTHER_NODES:
        parameters = content["/**"]["ros__parameters"]
        own = {name: parameters.pop(name) for name in parameters.get("streams", [])}
        Settings.from_values(parameters)
        for values in own.values():
            Settings.from_values(values)


def run(words: list[str], place: str, measured: set[str]) -> None:
    """Run a command, or check what it names."""
    line = " ".join(words)
    if any(line.startswith(prefix) for prefix in NOT_RUN):
        return
    if words[0] == "make":
        subprocess.run(
            ["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        return
    assert words[0] == "minkowski-perception", f"{place}: neither run nor in NOT_RUN: {line}"
    arguments = words[1:]
    if set(arguments) <= {*COMMANDS, *SUBJECTS}:  # the text names a command
        return
    for option, value in SHORTER_VALUES.items():
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
    for prefix, options in SMALLER.items():
        if " ".join([*words[1:], ""]).startswith(prefix):
            arguments += options.split()
    if arguments[0] == "benchmark" or place.startswith("docs/results/"):
        parts = parts_of(arguments)
        if parts <= measured:
            _parser().parse_args(arguments)
            assert all(Path(word).exists() for word in arguments if word.startswith("config/"))
            return
        measured |= parts
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 0, f"{place}: {line}"


def parts_of(arguments: list[str]) -> set[tuple[str, str]]:
    """Return the options and names in a command that measures; names are those of models and such.

    A measurement takes long, and pages have many that differ in files and numbers. One whose parts
    have all been run is parsed only.
    """
    subject = " ".join(arguments[: 2 if arguments[0] == "benchmark" else 1])
    outputs = {"--json", "--picture", "--chart"}
    words = (w for w in arguments if re.fullmatch(r"--[a-z-]+|[A-Za-z]\w*", w))
    return {(subject, word) for word in words if word not in outputs}


# What commands that are not run name


def commands_not_run(prefix: str) -> list[list[str]]:
    return [
        words
        for page in PAGES
        for snippet in snippets(page)
        for words in snippet.commands
        if " ".join(words).startswith(prefix)
    ]


@pytest.mark.parametrize("prefix", NOT_RUN)
def test_every_exception_is_needed(prefix):
    assert commands_not_run(prefix), "no page has such a command"


def test_every_launch_command_names_a_launch_file_and_its_arguments():
    used = commands_not_run("ros2 launch minkowski_perception")
    assert used
    for _, _, _, name, *arguments in used:
        assert (ROOT / "launch" / name).exists(), name
        for argument in arguments:
            if argument == "--show-args":
                continue
            name, _, value = argument.partition(":=")
            assert name in SETTINGS or f'"{name}"' in LAUNCH, argument
            if name in SETTINGS:
                Settings.from_values({name: type(SETTINGS[name].default)(value)})


def test_every_executable_of_ros2_run_is_installed():
    for _, _, package, name, *_ in commands_not_run("ros2 run"):
        assert package == "minkowski_perception"
        assert f'"{name} = ' in SETUP, name


@pytest.mark.parametrize("prefix", [p for p in NOT_RUN if p.startswith("minkowski-perception ")])
def test_every_command_that_is_not_run_parses(prefix):
    for _, *arguments in commands_not_run(prefix):
        _parser().parse_args(arguments)


def test_every_package_to_install_is_a_dependency():
    tools = {"setuptools", "wheel", "ninja", "MinkowskiEngine", "pre-commit"}
    for _, _, *words in commands_not_run("pip install"):
        for word in words:
            if word.startswith("-") or "/" in word or word == ".":
                continue
            name, *extras = re.findall(r"[\w-]+", re.split("[<>=;]", word)[0])
            if name == "minkowski_perception":
                assert all(f'"{extra}": [' in SETUP for extra in extras), word
            else:
                assert name in tools or re.search(rf'"{name}[">\[=;]', SETUP), word


def test_every_skipped_rosdep_key_is_one_of_the_package():
    for words in commands_not_run("rosdep install"):
        for key in words[words.index("--skip-keys") + 1].split():
            assert f"<exec_depend>{key}</exec_depend>" in MANIFEST, key


# Statements


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_of_ours_in_a_page_exists(page):
    for path in re.findall(
        r"`((?:minkowski_perception|config|test|docs|launch|tools)/[\w./-]+)`", page.read_text()
    ):
        assert (ROOT / path).exists(), path


def rows(heading: str, page: str) -> list[tuple[str, str]]:
    """Return the first two cells of each row of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", section, re.MULTILINE)


def test_the_table_of_drop_reasons_is_complete():
    table = rows("Diagnostics", NODE)
    assert [reason for reason, _ in table] == [reason.value for reason in DropReason]


def test_the_model_table_has_the_figures_of_each_model():
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    table = {match[1]: line for line in lines if (match := re.match(r"\| `(\w+)`", line))}
    assert sorted(table) == available_models()
    for name, row in table.items():
        for sensor, miou in load_model(name).card["figures"]["miou"].items():
            assert f"{sensor} {miou:.2f}" in row
        weights = Path(minkowski_perception.__file__).parent / "weights" / f"{name}.safetensors"
        assert f"| {weights.stat().st_size / 1e6:.1f} MB |" in row
