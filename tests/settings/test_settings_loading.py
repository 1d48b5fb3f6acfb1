"""Settings: who wins, and what somebody who made a mistake is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamproc.errors import ConfigurationError
from streamproc.settings import Settings, json_schema, load_settings

ROOT = Path(__file__).parents[2]

# The contract with everybody's files: key -> (default, valid values). Written by hand, not taken from the model.
KEYS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "version": (1, st.just(1)),
    "segment.seconds": (6.0, st.floats(0.5, 60)),
    "lookahead.seconds": (1.0, st.floats(0.1, 10)),
    "detect.kind": ("rekognition", st.sampled_from(["rekognition", "local"])),
    "detect.model": (None, st.sampled_from(["face.onnx", "a b/no", "12", "~", "null: x", "é.onnx"])),
    "detect.calls_per_second": (5.0, st.floats(1, 60)),
    "detect.deadline_ms": (1000, st.integers(50, 30_000)),
    "detect.concurrency": (8, st.integers(1, 64)),
    "detect.long_side_px": (960, st.integers(320, 4096)),
    "detect.jpeg_quality": (80, st.integers(40, 100)),
    "detect.min_confidence": (0.3, st.floats(0, 1)),
    "cover.margin": (0.10, st.floats(0, 2)),
    "coverage": ("steady", st.sampled_from(["steady", "strict", "balanced", "economy"])),
    "cover.extend_ms": (1000, st.integers(0, 5000)),
    "cover.every_ms": (None, st.integers(0, 1200)),
    "cover.ask_ms": (None, st.integers(0, 1000)),
    "cover.calm_ms": (None, st.integers(0, 60_000)),
    "effect.kind": ("blur", st.sampled_from(["blur", "gaussian", "pixelate", "solid"])),
    "effect.plates": ("solid", st.just("solid")),
    "effect.shape": ("ellipse", st.sampled_from(["ellipse", "rectangle"])),
    "effect.cells": (4, st.integers(2, 4)),
    "effect.sigma": (0.2, st.floats(0.15, 1)),
    "effect.allow_weak": (False, st.booleans()),
    "encode.preset": (
        "superfast",
        st.sampled_from(["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]),
    ),
    "encode.crf": (23, st.integers(10, 40)),
    "audio": ("drop", st.sampled_from(["drop", "keep"])),
    "state.dir": (".streamproc", st.sampled_from(["state", "/var/lib/x y", "yes", "1e3", "010"])),
    "playlist.window_segments": (10, st.integers(3, 100)),
    "limits.max_pixels": (4096 * 2160, st.integers(1920 * 1080, 8192 * 4320)),
    "limits.element_bytes": (16 << 20, st.integers(1 << 20, 64 << 20)),
    "limits.fragment_bytes": (64 << 20, st.integers(1 << 20, 256 << 20)),
    "limits.fragment_seconds": (60.0, st.floats(1, 600)),
    "ingest.idle_timeout_s": (15.0, st.floats(2, 300)),
}
# A value beyond each end of the range, or one that is no such thing.
WRONG: dict[str, list[str]] = {
    "version": ["0", "2", "1.5", "one"],
    "segment.seconds": ["0.499", "60.001", "-1", "yes", "1:30", ".nan", ".inf", "six"],
    "lookahead.seconds": ["0.099", "10.001"],
    "detect.kind": ["face", "Local", "no"],
    "detect.calls_per_second": ["0.999", "60.001", "0", "true"],
    "detect.deadline_ms": ["49", "30001", "100.5", "1e3x"],
    "detect.concurrency": ["0", "65"],
    "detect.long_side_px": ["319", "4097"],
    "detect.jpeg_quality": ["39", "101"],
    "detect.min_confidence": ["-0.001", "1.001"],
    "cover.margin": ["-0.001", "2.001"],
    "coverage": ["Strict", "all"],
    "cover.extend_ms": ["-1", "5001"],
    "cover.every_ms": ["-1", "1201"],
    "cover.ask_ms": ["-1", "1001"],
    "cover.calm_ms": ["-1", "60001"],
    "effect.kind": ["none", "off"],
    "effect.shape": ["circle"],
    "effect.plates": ["none", "Solid"],
    "effect.cells": ["1", "65"],
    "effect.sigma": ["0.019", "1.001", ".nan"],
    "effect.allow_weak": ["2", "perhaps"],
    "encode.preset": ["slow", "placebo"],
    "encode.crf": ["9", "41"],
    "audio": ["off", "mute"],
    "state.dir": ['""', "null"],
    "playlist.window_segments": ["2", "101"],
    "limits.max_pixels": ["0"],
    "limits.element_bytes": ["-5"],
    "limits.fragment_bytes": ["16 MiB"],
    "limits.fragment_seconds": ["0"],
    "ingest.idle_timeout_s": ["1.999", "300.001"],
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def agree(flat: dict[str, Any]) -> bool:
    lookahead = flat.get("lookahead.seconds", 1.0)
    calls = flat.get("detect.calls_per_second", 5.0)
    local_without_model = flat.get("detect.kind") == "local" and flat.get("detect.model") is None
    return lookahead * calls >= 1 and not local_without_model


def variable(key: str) -> str:
    return "STREAMPROC__" + key.upper().replace(".", "__")


def faults(
    file: Path | None = None, environment: dict[str, str] | None = None, assignments: tuple[str, ...] = ()
) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(file, environment or {}, assignments)
    return str(raised.value).splitlines()


some_settings = st.fixed_dictionaries({}, optional={key: values for key, (_, values) in KEYS.items()}).filter(agree)
in_a_shared_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_defaults_are_the_documented_ones() -> None:
    loaded = load_settings(None, {}, [])
    assert loaded.values() == {key: default for key, (default, _) in KEYS.items()}
    assert set(loaded.origins.values()) == {"default"}


def test_example_file_holds_every_key_at_its_default() -> None:
    path = ROOT / "config" / "streamproc.yaml"
    loaded = load_settings(path, {}, [])
    assert loaded.settings == Settings()
    assert [key for key, origin in loaded.origins.items() if not origin.startswith(f"{path}:")] == []


def test_shipped_schema_is_the_generated_one_and_describes_every_key() -> None:
    shipped = json.loads((ROOT / "config" / "streamproc.schema.json").read_text())
    assert shipped == json_schema(), "run: streamproc config schema > config/streamproc.schema.json"
    for key in KEYS:
        section, _, name = key.rpartition(".")
        holder = shipped
        if section:
            holder = shipped["$defs"][shipped["properties"][section]["$ref"].rpartition("/")[2]]
        assert holder["properties"][name]["description"], key
        assert holder["additionalProperties"] is False


@in_a_shared_folder
@given(flat=some_settings)
def test_valid_settings_survive_yaml_and_say_where_they_stand(flat: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump(nested(flat), allow_unicode=True), encoding="utf-8")
    loaded = load_settings(path, {}, [])
    assert loaded.values() == {key: flat.get(key, default) for key, (default, _) in KEYS.items()}
    assert {key for key, origin in loaded.origins.items() if origin != "default"} == set(flat)
    path.write_text(yaml.safe_dump(loaded.settings.model_dump(mode="json"), allow_unicode=True), encoding="utf-8")
    assert load_settings(path, {}, []).settings == loaded.settings


@in_a_shared_folder
@given(in_file=some_settings, in_environment=some_settings, assigned=some_settings)
def test_later_sources_win_key_by_key(
    in_file: dict[str, Any], in_environment: dict[str, Any], assigned: dict[str, Any], tmp_path: Path
) -> None:
    merged = {**in_file, **in_environment, **assigned}
    if not agree(merged):
        return
    path = tmp_path / "any.yaml"
    path.write_text(yaml.safe_dump(nested(in_file), allow_unicode=True), encoding="utf-8")
    environment = {variable(key): str(value) for key, value in in_environment.items()}
    loaded = load_settings(path, environment, [f"{key}={value}" for key, value in assigned.items()])
    assert loaded.values() == {key: merged.get(key, default) for key, (default, _) in KEYS.items()}
    for key, origin in loaded.origins.items():
        if key in assigned:
            assert origin == "--set"
        elif key in in_environment:
            assert origin == f"environment {variable(key)}"
        elif key in in_file:
            assert origin.startswith(f"{path}:")
        else:
            assert origin == "default"


def test_last_assignment_of_a_key_wins() -> None:
    assert load_settings(None, {}, ["encode.crf=20", "encode.crf = 30"]).settings.encode.crf == 30


@in_a_shared_folder
@given(flat=some_settings, data=st.data())
def test_one_wrong_value_is_told_with_its_line_and_column(
    flat: dict[str, Any], data: st.DataObject, tmp_path: Path
) -> None:
    key = data.draw(st.sampled_from(sorted(WRONG)))
    text = data.draw(st.sampled_from(WRONG[key]))
    path = tmp_path / "any.yaml"
    section, _, name = key.rpartition(".")
    flat = {other: value for other, value in flat.items() if other != key}
    flat.setdefault("detect.model", "face.onnx")
    tree = nested(flat)
    before = tree.pop(section, {}) if section else {}
    lines = yaml.safe_dump(tree, allow_unicode=True).splitlines() if tree else []
    lines += [f"{section}:"] if section else []
    lines += [f"    {other}: {json.dumps(value)}" for other, value in before.items()]
    indent = "    " if section else ""
    lines += [f"{indent}{name}:  {text}"]
    path.write_text("\n".join(lines), encoding="utf-8")
    place = f"{path}:{len(lines)}:{len(indent) + len(name) + 4}: {key}: "
    told = [line for line in faults(path) if "1 / detect.calls_per_second" not in line]
    assert len(told) == 1
    assert told[0].startswith(place)
    if text not in ('""', "null"):
        assert told[0].endswith(f"(got {text!r})")


@pytest.mark.parametrize(
    ("key", "text"), [(key, text) for key, texts in WRONG.items() for text in texts if '"' not in text]
)
def test_every_source_obeys_the_same_rule(key: str, text: str) -> None:
    text = "" if text == "null" else text
    assert faults(environment={variable(key): text})[0].startswith(f"environment {variable(key)}: {key}: ")
    assert faults(assignments=(f"{key}={text}",))[0].startswith(f"--set: {key}: ")


BAD_FILES: dict[str, tuple[bytes, list[str]]] = {
    "a list": (b"- 1", [":1:1: should be a mapping"]),
    "a word": (b"hello", [":1:1: should be a mapping"]),
    "open brace": (b"segment: {seconds: 2", [":1:21: not YAML: expected ',' or '}'"]),
    "tab as indent": (b"segment:\n\tseconds: 2", [":2:1: not YAML: ", "indent with spaces"]),
    "two documents": (b"version: 1\n---\nversion: 1\n", [":2:1: not YAML: "]),
    "Latin-1": ("version: 1\n# \N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1"), [":2:3: not UTF-8"]),
    "UTF-16": ("version: 1".encode("utf-16"), [":1:1: not UTF-8"]),
    "control character": (b"version: 1\nstate: {dir: a\x07b}", [":2:15: not YAML: a control character"]),
    "duplicate": (b"effect:\n  cells: 3\n  cells: 3\n", [":3:3: effect.cells: given twice, first on line 2"]),
    "duplicate section": (
        b"effect: {cells: 3}\nsegment: {}\neffect: {}",
        [":3:1: effect: given twice, first on line 1"],
    ),
    "anchor": (b"segment: &s {seconds: 2}", [":1:10: anchors and aliases (s)"]),
    "alias": (b"state: {dir: *s}", [":1:14: anchors and aliases (s)"]),
    "merge key": (b"segment:\n  <<: {seconds: 2}", [":2:3: segment: merge keys"]),
    "tag": (b"segment: {seconds: !!python/object:os.system 2}", [":1:20: segment.seconds: tags"]),
    "own tag": (b"segment: {seconds: !env X}", [":1:20: segment.seconds: tags"]),
    "own tag on a section": (b"segment: !env {seconds: 2}", [":1:10: segment: tags"]),
    "fault behind a byte-order mark": (b"\xef\xbb\xbfcrf: 20", [":1:1: crf: unknown key"]),
    "not UTF-8 behind a byte-order mark": (b"\xef\xbb\xbf# \xff", [":1:3: not UTF-8"]),
    "empty path": (b"state: {dir: ''}", [":1:14: state.dir: should not be empty (got '')"]),
    "blank path": (b"state: {dir: '  '}", [":1:14: state.dir: should not be empty (got '  ')"]),
    "too deep": (b"a: " + b"[" * 5000, [":1:19: more than 16 levels deep"]),
    "unknown key": (b"segment:\n  secs: 4\n", [":2:3: segment.secs: unknown key; did you mean 'segment.seconds'?"]),
    "unknown section": (b"effects: {kind: blur}", [":1:1: effects: unknown key; did you mean 'effect'?"]),
    "key in the wrong place": (b"crf: 20", [":1:1: crf: unknown key; did you mean 'encode.crf'?"]),
    "hyphen": (b"detect: {deadline-ms: 5}", ["did you mean 'detect.deadline_ms'?"]),
    "nothing near": (b"zzz: 1", [":1:1: zzz: unknown key"]),
    "list as key": (b"[1, 2]: 1", [":1:1: a key should be a plain word"]),
    "value for a section": (b"segment: 2", [":1:10: segment: should be a mapping with the keys seconds"]),
    "list for a section": (b"segment: [2]", [":1:10: segment: should be a mapping with the keys seconds"]),
    "mapping for a value": (b"audio: {keep: 1}", [":1:8: audio: should be a single value, not a mapping"]),
    "list for a value": (b"audio: [keep]", [":1:8: audio: should be a single value, not a list"]),
    "no value": (b"segment: {seconds: }", [":1:19: segment.seconds: has no value"]),
    "long value": (b"audio: " + b"x" * 500, ["(got '" + "x" * 60 + "…')"]),
    "local without model": (b"detect: {kind: local}", [":1:16: detect.model: needed when detect.kind is local"]),
    "lookahead shorter than a look": (
        b"lookahead: {seconds: 0.4}\ndetect: {calls_per_second: 2}",
        [":1:22: lookahead.seconds: should be at least 1 / detect.calls_per_second = 0.5"],
    ),
    "looks rarer than the lookahead": (
        b"detect: {calls_per_second: 1.25}\nlookahead: {seconds: 0.5}",
        [":2:22: lookahead.seconds: should be at least 1 / detect.calls_per_second = 0.8"],
    ),
    "looks too rare to say anything about the time between": (
        b"detect: {calls_per_second: 0.5}",
        [":1:28: detect.calls_per_second: "],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_clear_line(case: str, tmp_path: Path) -> None:
    content, expected = BAD_FILES[case]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    told = faults(path)
    assert len(told) == 1
    assert told[0].startswith(f"{path}:")
    for part in expected:
        assert part in told[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n# nothing\n", b"---\n...\n", b"null", b"segment:\n", b"detect: {model: }", b"\xef\xbb\xbfversion: 1"],
)
def test_a_file_that_sets_nothing_is_fine(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_bytes(content)
    assert load_settings(path, {}, []).settings == Settings()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from(["segment", "seconds", ":", " ", "\n", "-", "{", "}", "[", "]", "&a", "*a", "!t", "<<", "?",
                             "'", '"', "#", "|", "6", ",", "\t", "%", "---", "audio", "drop"]),
            max_size=25,
        ).map(lambda parts: "".join(parts).encode()),
    )
)  # fmt: skip
def test_any_bytes_are_settings_or_our_own_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    told: list[str] = []
    try:
        load_settings(path, {}, [])
    except ConfigurationError as error:
        told = str(error).splitlines()
    assert [line for line in told if not line.startswith(f"{path}:")] == []


@pytest.mark.parametrize(
    ("name", "reason"), [("none.yaml", "No such file"), ("", "directory")], ids=["missing", "folder"]
)
def test_an_unreadable_file_is_named(name: str, reason: str, tmp_path: Path) -> None:
    told = faults(tmp_path / name)
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path / name}: cannot be read: ")
    assert reason in told[0]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("STREAMPROC__SEGMENT__SECS", "did you mean 'segment.seconds'?"),
        ("STREAMPROC__SEGMENT_SECONDS", "did you mean 'segment.seconds'?"),
        ("STREAMPROC__CRF", "did you mean 'encode.crf'?"),
        ("STREAMPROC__segment__seconds", "in capitals: STREAMPROC__SEGMENT__SECONDS"),
        ("STREAMPROC__Segment__SECONDS", "in capitals"),
        ("STREAMPROC__ZZZ__YYY", "unknown key"),
        ("STREAMPROC__", "unknown key"),
        ("STREAMPROC__SEGMENT", "should be a mapping"),
    ],
)
def test_an_unknown_variable_is_a_fault_and_its_value_a_secret(name: str, suggestion: str) -> None:
    told = faults(environment={name: "hunter2"})
    assert len(told) == 1
    assert told[0].startswith(f"environment {name}: ")
    assert suggestion in told[0]
    assert "hunter2" not in told[0]


def test_other_variables_are_nobodys_business() -> None:
    environment = {"STREAMPROC_DEBUG": "x", "STREAMPROC": "x", "AWS_REGION": "x", "streamproc__segment__seconds": "x"}
    assert load_settings(None, environment, []).settings == Settings()


@pytest.mark.parametrize("assignment", ["", "hunter2", "=hunter2", " = hunter2"])
def test_an_assignment_without_key_or_sign_is_told_and_not_repeated(assignment: str) -> None:
    assert faults(assignments=(assignment, "encode.crf=20")) == [
        "--set: expected key=value, for instance segment.seconds=2"
    ]


def test_all_faults_of_a_run_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("segment: {seconds: 0}\naudio: loud\nlookahead: {seconds: 0.1}\n")
    told = faults(path, {"STREAMPROC__ENCODE__CRF": "99"}, ("effect.cells=99", "x=1", "detect.kind=local"))
    assert [line.split(": ")[1] for line in told] == [
        "segment.seconds", "audio", "encode.crf", "effect.cells", "x", "lookahead.seconds", "detect.model",
    ]  # fmt: skip


def test_a_fault_that_is_overridden_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("encode: {crf: 99}")
    assert len(faults(path, {}, ("encode.crf=20",))) == 1


def test_a_wrong_value_brings_no_second_fault_about_its_partner() -> None:
    told = faults(assignments=("lookahead.seconds=0.1", "detect.calls_per_second=x"))
    assert [line.split(": ")[1] for line in told] == ["detect.calls_per_second"]


@pytest.mark.parametrize("calls", [1, 1.3, 3, 7, 10])
def test_lookahead_may_be_exactly_the_time_between_two_looks(calls: float) -> None:
    between = f"{1 / calls:.10f}"
    assert load_settings(None, {}, [f"lookahead.seconds={between}", f"detect.calls_per_second={calls}"])
    a_little_less = max(0.1, 0.999 / calls)
    if a_little_less * calls < 1:
        told = faults(assignments=(f"lookahead.seconds={a_little_less}", f"detect.calls_per_second={calls}"))
        assert [line.split(": ")[1] for line in told] == ["lookahead.seconds"]


def test_settings_built_in_code_obey_the_same_rules_and_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="calls_per_second"):
        Settings.model_validate({"lookahead": {"seconds": 0.1}})
    with pytest.raises(ValidationError, match="frozen"):
        Settings().segment.seconds = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"segment": {"secs": 3}})


@pytest.mark.parametrize(
    ("weak", "advice"),
    [
        (["effect.cells=5"], ["effect.cells: should be less than or equal to 4"]),
        (["effect.kind=pixelate", "effect.cells=64"], ["effect.cells: should be less than or equal to 4"]),
        (["effect.kind=gaussian", "effect.sigma=0.149"], ["effect.sigma: should be greater than or equal to 0.15"]),
        (["effect.plates=blur"], ["effect.plates: should be solid"]),
        (["effect.plates=pixelate"], ["effect.plates: should be solid"]),
        (
            ["effect.kind=solid", "effect.plates=gaussian", "effect.sigma=0.1"],
            ["effect.plates: should be solid", "effect.sigma: should be greater than or equal to 0.15"],
        ),
    ],
    ids=" ".join,
)
def test_an_effect_below_the_floor_is_refused_unless_somebody_says_so(weak: list[str], advice: list[str]) -> None:
    for also in ([], ["effect.allow_weak=false"]):
        told = faults(assignments=(*weak, *also))
        assert [line.removeprefix("--set: ").partition(": anything weaker")[0] for line in told] == advice
        assert all("effect.allow_weak: true" in line for line in told)
    effect = load_settings(None, {}, [*weak, "effect.allow_weak=true"]).settings.effect
    assert effect.weak == tuple(sorted(each for each in weak if not each.startswith("effect.kind")))


@pytest.mark.parametrize(
    "harmless",
    [
        ["effect.allow_weak=true"],
        ["effect.kind=solid", "effect.cells=64", "effect.sigma=0.02"],
        ["effect.kind=gaussian", "effect.cells=64"],
        ["effect.sigma=0.02"],
        ["effect.kind=gaussian", "effect.sigma=0.15"],
        ["effect.kind=pixelate", "effect.cells=4"],
    ],
    ids=" ".join,
)
def test_what_is_not_in_force_weakens_nothing(harmless: list[str]) -> None:
    assert load_settings(None, {}, harmless).settings.effect.weak == ()


@given(seconds=st.integers(500_000, 60_000_000))
def test_whole_microseconds_come_back_whole(seconds: int) -> None:
    loaded = load_settings(None, {}, [f"segment.seconds={seconds / 1_000_000}"])
    assert loaded.settings.segment.duration_us == seconds


def test_coverage_sets_what_cover_does_not_set_by_itself() -> None:
    def dial(*assignments: str) -> tuple[int, int, int]:
        return load_settings(None, {}, assignments).settings.dial

    assert dial()[0] == 0
    everys = [dial(f"coverage={word}")[0] for word in ("steady", "strict", "balanced", "economy")]
    assert everys == sorted(set(everys))
    strict = dial("coverage=strict")
    assert dial("coverage=strict", "cover.every_ms=300") == (300, *strict[1:])
    assert dial("coverage=strict", "cover.ask_ms=0", "cover.calm_ms=7") == (strict[0], 0, 7)
