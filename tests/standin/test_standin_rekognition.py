"""Rekognition of the stand-in, parsed by botocore."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from standin_media import client, jpeg

from streamproc.model.detection import Answer, Detection, Failed, Failure, Seen
from streamproc.model.geometry import Box
from streamproc.standin import Fault, Sight, StandIn, eyes_from_text
from streamproc.standin.pictures import picture_size

BOX = Box(0.25, 0.5, 0.5, 0.75)
AS_AWS = {"Left": 0.25, "Top": 0.5, "Width": 0.25, "Height": 0.25}
SIGHTS = [
    Sight(BOX, "face", confidence=0.9),
    Sight(BOX, "label", "Car"),
    Sight(BOX, "label", "Car", 0.5),
    Sight(BOX, "label", "Person"),
    Sight(BOX, "text", "AB 123"),
    Sight(BOX, "custom", "plate", 0.7),
    Sight(BOX, "moderation", "Violence"),
]


@pytest.fixture(scope="module")
def rekognition() -> Any:
    with StandIn(lambda picture, api: SIGHTS) as standin:
        yield client(standin, "rekognition")


def test_faces(rekognition: Any) -> None:
    (face,) = rekognition.detect_faces(Image={"Bytes": jpeg()})["FaceDetails"]
    assert face["BoundingBox"] == AS_AWS
    assert face["Confidence"] == 90.0
    assert {m["Type"] for m in face["Landmarks"]} == {"eyeLeft", "eyeRight", "mouthLeft", "mouthRight", "nose"}
    assert set(face["Pose"]) == {"Roll", "Yaw", "Pitch"}


def test_labels_are_grouped_and_filtered(rekognition: Any) -> None:
    labels = rekognition.detect_labels(Image={"Bytes": jpeg()}, MinConfidence=40)["Labels"]
    assert {label["Name"]: len(label["Instances"]) for label in labels} == {"Car": 2, "Person": 1}
    assert labels[0]["Instances"][0]["BoundingBox"] == AS_AWS
    only = {"GeneralLabels": {"LabelInclusionFilters": ["Person"]}}
    labels = rekognition.detect_labels(Image={"Bytes": jpeg()}, Settings=only)["Labels"]
    assert [label["Name"] for label in labels] == ["Person"]


def test_text_comes_as_lines_and_their_words(rekognition: Any) -> None:
    texts = rekognition.detect_text(Image={"Bytes": jpeg()})["TextDetections"]
    assert [(t["Type"], t["DetectedText"], t.get("ParentId")) for t in texts] == [
        ("LINE", "AB 123", None),
        ("WORD", "AB", 0),
        ("WORD", "123", 0),
    ]
    assert texts[0]["Geometry"]["BoundingBox"] == AS_AWS
    assert len(texts[0]["Geometry"]["Polygon"]) == 4


def test_custom_labels(rekognition: Any) -> None:
    arn = "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v/1"
    asked = {"ProjectVersionArn": arn, "Image": {"Bytes": jpeg()}}
    (label,) = rekognition.detect_custom_labels(**asked)["CustomLabels"]
    assert (label["Name"], label["Confidence"], label["Geometry"]["BoundingBox"]) == ("plate", 70.0, AS_AWS)
    assert rekognition.detect_custom_labels(**asked, MinConfidence=80)["CustomLabels"] == []


def test_moderation_labels(rekognition: Any) -> None:
    (label,) = rekognition.detect_moderation_labels(Image={"Bytes": jpeg()})["ModerationLabels"]
    assert (label["Name"], label["TaxonomyLevel"]) == ("Violence", 1)


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        pytest.param(b"no picture", "InvalidImageFormatException", id="no picture"),
        pytest.param(jpeg(160, 79), "InvalidParameterException", id="too small"),
        pytest.param(jpeg() + b"\0" * (5 << 20), "ImageTooLargeException", id="more than 5 MB"),
    ],
)
def test_a_wrong_picture_is_refused_by_name(rekognition: Any, picture: bytes, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        rekognition.detect_faces(Image={"Bytes": picture})
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_sizes_are_read_from_the_header() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")
    assert picture_size(jpeg(160, 120)) == (160, 120)
    assert picture_size(png) == (300, 200)
    assert [picture_size(jpeg()[:n]) for n in (0, 2, 10)] == [None, None, None]


def test_a_local_detector_answers_with_what_it_sees_and_its_failure_is_a_500() -> None:
    class Local:
        answer: Answer = Seen((Detection(BOX, "face", 0.5),))

        def look(self, picture: bytes, timeout_s: float) -> Answer:
            assert picture_size(picture) == (160, 120)
            return self.answer

    detector = Local()
    with StandIn(detector) as standin:
        rekognition = client(standin, "rekognition")
        assert rekognition.detect_faces(Image={"Bytes": jpeg()})["FaceDetails"][0]["BoundingBox"] == AS_AWS
        assert rekognition.detect_labels(Image={"Bytes": jpeg()})["Labels"] == []
        detector.answer = Failed(Failure.LATE)
        with pytest.raises(ClientError) as refused:
            rekognition.detect_faces(Image={"Bytes": jpeg()})
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_eyes_are_told_by_text() -> None:
    fixed = eyes_from_text("fixed:0.25,0.5,0.25,0.25;-0.1,0,0.2,0.2")
    assert [s.box for s in fixed.see(b"", "DetectFaces")] == [BOX, Box(-0.1, 0, 0.1, 0.2)]
    assert eyes_from_text("none").see(b"", "DetectFaces") == ()
    for wrong in ("fixed:1,2,3", "fixed:a,b,c,d", "sharp"):
        with pytest.raises(ValueError):
            eyes_from_text(wrong)


def test_more_calls_than_the_rate_are_throttled_and_all_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    outcomes: list[str] = []
    with StandIn(tps=5, log=log) as standin:
        rekognition = client(standin, "rekognition")
        for _ in range(8):
            try:
                rekognition.detect_faces(Image={"Bytes": jpeg()})
                outcomes.append("detect")
            except rekognition.exceptions.ProvisionedThroughputExceededException:
                outcomes.append("throttled")
        assert outcomes[:5] == ["detect"] * 5
        assert "throttled" in outcomes
        assert standin.rekognition.calls == {"DetectFaces": 8}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["what"] for line in lines] == outcomes
    assert all(line["api"] == "DetectFaces" and line["in_flight"] == 1 and line["t"] > 1e9 for line in lines)
    assert {line["bytes"] for line in lines if line["what"] == "detect"} == {len(jpeg())}


def test_latency_is_kept_side_by_side_and_the_most_in_flight_is_known() -> None:
    with StandIn(latency_s=0.3) as standin:
        rekognition = client(standin, "rekognition")
        started = time.monotonic()
        threads = [
            threading.Thread(target=rekognition.detect_faces, kwargs={"Image": {"Bytes": jpeg()}}) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
        assert standin.rekognition.most_in_flight == 4
        assert standin.rekognition.in_flight == 0
    assert 0.3 <= took < 0.9


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        pytest.param(Fault("throttle"), "ThrottlingException", 400, id="throttle"),
        pytest.param(Fault("error500"), "InternalServerError", 500, id="500"),
        pytest.param(Fault("status", status=418, code="Teapot"), "Teapot", 418, id="status"),
    ],
)
def test_a_refusal_on_demand_strikes_once(fault: Fault, code: str, status: int) -> None:
    with StandIn(faults=[fault]) as standin:
        rekognition = client(standin, "rekognition")
        with pytest.raises(ClientError) as refused:
            rekognition.detect_faces(Image={"Bytes": jpeg()})
        assert rekognition.detect_faces(Image={"Bytes": jpeg()})["FaceDetails"] == []
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_nonsense_on_demand_cannot_be_true() -> None:
    shapes = ("json", "nan", "huge", "missing")
    with StandIn(
        eyes_from_text("fixed:0.1,0.1,0.1,0.1"), faults=[Fault("nonsense", shape=s) for s in shapes]
    ) as standin:
        rekognition = client(standin, "rekognition")
        broken, nan, huge, missing, good = (rekognition.detect_faces(Image={"Bytes": jpeg()}) for _ in range(5))
    assert "FaceDetails" not in broken  # botocore takes what is no JSON for an empty answer
    assert math.isnan(nan["FaceDetails"][0]["BoundingBox"]["Width"])
    assert huge["FaceDetails"][0]["BoundingBox"]["Width"] > 1e6
    assert "FaceDetails" not in missing
    assert good["FaceDetails"][0]["BoundingBox"]["Left"] == 0.1


def test_a_hanging_call_gives_no_answer() -> None:
    with StandIn(faults=[Fault("hang", seconds=30)]) as standin:
        rekognition = client(standin, "rekognition")
        started = time.monotonic()
        thread = threading.Timer(0.3, standin.close)
        thread.start()
        with pytest.raises(ConnectionClosedError):
            rekognition.detect_faces(Image={"Bytes": jpeg()})
        thread.join()
    assert 0.3 <= time.monotonic() - started < 2
