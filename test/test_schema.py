# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import pytest

from minkowski_perception.schema import (
    FILE_NAME,
    Former,
    OneOf,
    Range,
    SchemaError,
    dump_yaml,
    parse_yaml,
    read,
    read_yaml,
)


@dataclass(frozen=True)
class Slow:
    rate: Annotated[float, Range(above=0.0, most=1.0)] = 0.5


@dataclass(frozen=True)
class Fast:
    steps: int


Speed = Annotated[Slow | Fast, OneOf({"slow": Slow, "fast": Fast})]


@dataclass(frozen=True)
class Part:
    size: Annotated[float, Range(0.1, 2.0)]
    scale: tuple[float, ...] = ()
    ends: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if len(self.scale) == 3:
            raise ValueError("three scales are too many")


@dataclass(frozen=True)
class Whole:
    name: Annotated[str, FILE_NAME]
    part: Part
    kind: Literal["first", "mean"] = "first"
    sources: Mapping[str, Mapping[str | int, str]] = field(
        default_factory=dict, metadata={"key": "from"}
    )
    parts: tuple[Part, ...] = ()
    count: Annotated[int, Range(1)] | None = None
    active: bool = False
    speed: Annotated[Slow | Fast, OneOf({"slow": Slow, "fast": Fast})] = field(
        default_factory=Slow
    )
    note: Any = None


LEAST = {"name": "x", "part": {"size": 1}}


def test_a_mapping_becomes_its_dataclass():
    given = {
        "name": "model v1.2",
        "part": {"size": "1e-1", "scale": [1, 2.5], "ends": [3, 4]},
        "kind": "mean",
        "from": {"raw": {1: "car", "van": "car"}},
        "parts": [{"size": 2}],
        "count": 3,
        "active": True,
        "speed": {"fast": {"steps": 2}},
        "note": [None, {}],
    }
    assert read(Whole, given) == Whole(
        "model v1.2",
        Part(0.1, (1.0, 2.5), (3, 4)),
        "mean",
        {"raw": {1: "car", "van": "car"}},
        (Part(2.0),),
        3,
        True,
        Fast(2),
        [None, {}],
    )


def test_keys_with_defaults_may_be_left_out():
    assert read(Whole, LEAST) == Whole("x", Part(1.0))
    assert read(Whole, {**LEAST, "count": None, "speed": "slow"}) == Whole("x", Part(1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"part": {"size": 1, "scal": [1]}},
            "part.scal: unknown key; did you mean 'scale'? valid: size, scale, ends",
        ),
        (
            {"zzz": 1},
            "zzz: unknown key; valid: name, part, kind, from, parts, count, active, speed, note",
        ),
        (
            {1: 1},
            "1: unknown key; valid: name, part, kind, from, parts, count, active, speed, note",
        ),
        ({"part": {}}, "part.size: missing; valid keys: size, scale, ends"),
        ({"part": 3}, "part: must be a mapping with the keys size, scale, ends, not 3"),
        ({"part": {"size": 3}}, "part.size: must be 0.1 to 2, not 3.0"),
        ({"part": {"size": True}}, "part.size: must be a finite number, not True"),
        ({"part": {"size": float("nan")}}, "part.size: must be a finite number, not nan"),
        ({"part": {"size": "nan"}}, "part.size: must be a finite number, not nan"),
        ({"part": {"size": 10**400}}, "part.size: must be a finite number, not 1000"),
        ({"part": {"size": 1, "scale": 2}}, "part.scale: must be a list, not 2"),
        (
            {"part": {"size": 1, "scale": [1, "x"]}},
            "part.scale[1]: must be a finite number, not 'x'",
        ),
        ({"part": {"size": 1, "scale": [1, 2, 3]}}, "part: three scales are too many"),
        ({"part": {"size": 1, "ends": [1]}}, "part.ends: must be a list of 2, not [1]"),
        ({"parts": [{"size": 1}, {}]}, "parts[1].size: missing; valid keys: size, scale, ends"),
        ({"kind": "last"}, "kind: must be one of first, mean, not 'last'"),
        ({"from": {"raw": {1.5: "car"}}}, "key from.raw.1.5: must be text or an integer, not 1.5"),
        ({"from": {"raw": {1: 2}}}, "from.raw.1: must be text, not 2"),
        ({"from": [1]}, "from: must be a mapping, not [1]"),
        ({"count": 0}, "count: must be at least 1, not 0"),
        ({"count": 1.0}, "count: must be an integer, not 1.0"),
        ({"count": True}, "count: must be an integer, not True"),
        ({"active": 1}, "active: must be true or false, not 1"),
        ({"speed": "slwo"}, "speed.slwo: unknown name; did you mean 'slow'? valid: slow, fast"),
        ({"speed": {}}, "speed: must be one of slow, fast, with its settings"),
        (
            {"speed": {"slow": {"rate": 0}}},
            "speed.slow.rate: must be at most 1 and above 0, not 0.0",
        ),
        ({"speed": "fast"}, "speed.fast.steps: missing; valid keys: steps"),
    ],
)
def test_an_error_names_the_path_the_problem_and_the_valid_values(changes, message):
    with pytest.raises(SchemaError) as caught:
        read(Whole, {**LEAST, **changes})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".hidden", "a\nb", "a\0", "x" * 101, 7]
)
def test_a_name_outside_its_folder_is_refused(name):
    with pytest.raises(SchemaError, match=r"^name: must be"):
        read(Whole, {**LEAST, "name": name})


def test_an_error_starts_with_the_given_path():
    with pytest.raises(SchemaError, match=r"^model\.name: missing"):
        read(Whole, {"part": {"size": 1}}, "model")
    with pytest.raises(SchemaError, match=r"^must be a mapping with the keys steps, not 'fast'$"):
        read(Fast, "fast")


def test_long_values_are_shortened_in_errors():
    with pytest.raises(SchemaError) as caught:
        read(Fast, {"steps": ["x" * 1000] * 1000})
    assert len(str(caught.value)) < 1500


def laughs():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(), r"alias \*a is not allowed"),
        ("a: &a [*a]", r"alias \*a is not allowed"),
        ("[" * 40 + "]" * 40, "more than 32 levels"),
        ("[" * 100_000, "more than 32 levels|not plain YAML"),
        ("a: 1\nb: 2\na: 3\n", "key 'a' appears twice"),
        ("a: {b: 1, b: 1}", "key 'b' appears twice"),
        ("!!python/object/apply:os.system ['true']", "not plain YAML"),
        ("? [a]\n: b", "not plain YAML"),
        ("a: [", "not plain YAML"),
        ("a: 2026-99-99", "not plain YAML"),
        ("a: !!bool maybe", "not plain YAML"),
        ("a: !!timestamp x", "not plain YAML"),
        ("a: !!int ''", "not plain YAML"),
        ("#" * (2**20 + 1), "longer than 1048576 bytes"),
    ],
)
def test_yaml_that_is_not_plain_data_is_refused_at_once(text, message):
    start = time.monotonic()
    with pytest.raises(SchemaError, match=message):
        parse_yaml(text)
    assert time.monotonic() - start < 10.0


def test_yaml_is_read_back_as_it_was_written(tmp_path):
    colour = [1, 2, 3]
    data = {"name": "ä", "classes": {"car": colour, "van": colour}, "from": {1: "car"}, "no": None}
    path = tmp_path / "x.yaml"
    path.write_text(dump_yaml(data))
    assert read_yaml(path) == data
    assert "car: [1, 2, 3]\n" in path.read_text()


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SchemaError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(SchemaError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xff")
    with pytest.raises(SchemaError, match="is not UTF-8"):
        read_yaml(tmp_path / "x.yaml")


@dataclass(frozen=True)
class Renamed:
    former_keys: ClassVar = {
        "old_size": Former("size"),
        "count": Former("parts", lambda count: ["x"] * count),
    }

    size: int = 0
    parts: tuple[str, ...] = ()


def test_former_keys_are_read_with_a_warning_that_has_both_names(caplog):
    assert read(Renamed, {"old_size": 3, "count": 2}, "a.b") == Renamed(3, ("x", "x"))
    assert sorted(caplog.messages) == [
        "a.b.count: 'count' is the former name of 'parts'",
        "a.b.old_size: 'old_size' is the former name of 'size'",
    ]


def test_a_key_under_both_names_is_refused():
    with pytest.raises(SchemaError, match="old_size: is the former name of 'size'; give one"):
        read(Renamed, {"old_size": 3, "size": 3})


def test_former_keys_are_not_among_the_valid_ones():
    with pytest.raises(SchemaError, match=r"valid: size, parts$"):
        read(Renamed, {"old_sise": 3})
