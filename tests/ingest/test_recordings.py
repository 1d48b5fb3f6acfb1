"""What is known of real recordings: the Java parser library's own tests, and counts made with other tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamproc.ingest.walker import Limits, Walker
from streamproc.model.media import Block, FragmentEnd, FragmentStart, MediaEvent

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data"
needs_recordings = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings' folder ../shared/data is absent")
pytestmark = needs_recordings


def walk(name: str, chunk: int) -> list[MediaEvent]:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"the recording {name} is absent")
    data = path.read_bytes()
    walker = Walker(Limits())
    events = [event for at in range(0, len(data), chunk) for event in walker.feed(data[at : at + chunk])]
    return events + walker.close()


TABLE = [
    # name, blocks of each fragment, complete
    pytest.param("output_get_media.mkv", [60] * 5, True, id="get_media"),
    pytest.param("kinesis_video_renderer_example_output.mkv", [59] * 7 + [31], True, id="renderer"),
    pytest.param("test_mixed_tags.mkv", [10] * 10, True, id="mixed tags, unknown-size clusters"),
    pytest.param("bezos_vogels.mkv", [546], True, id="ordinary Matroska"),
    pytest.param("empty-mkv-with-tags.mkv", [0], False, id="no cluster"),
    pytest.param("test_tags_empty_cluster.mkv", [0], False, id="only producer tags"),
]


@pytest.mark.parametrize(("name", "blocks", "complete"), TABLE)
def test_a_recording_has_its_fragments_and_blocks_at_every_read_size(name, blocks, complete):
    reference = walk(name, 1 << 30)
    counts, ends = [], []
    for event in reference:
        if isinstance(event, FragmentStart):
            counts.append(0)
        elif isinstance(event, Block):
            counts[-1] += 1
        else:
            assert isinstance(event, FragmentEnd)
            ends.append(event.complete)
    assert counts == blocks
    assert ends == [complete] * len(blocks)
    for chunk in (7, 1024, 65536):
        assert walk(name, chunk) == reference


def test_numbers_tags_and_parameters_of_the_get_media_recording():
    events = walk("output_get_media.mkv", 65536)
    starts = [e for e in events if isinstance(e, FragmentStart)]
    ends = [e for e in events if isinstance(e, FragmentEnd)]
    numbers = [s.fragment.number for s in starts]
    assert numbers[:3] == [
        "91343852333181432392682062607743920146159169392",
        "91343852333181432397633822764885441725874549018",
        "91343852333181432402585582922026963247510532162",
    ]
    assert numbers[4] == "91343852333181432412489103236310005892133364608"
    assert [e.behind_now_ms for e in ends][::4] == [15858, 12093]
    wanted = [
        ("COMPATIBLE_BRANDS", "isomavc1mp42"),
        ("MAJOR_BRAND", "M4V "),
        ("MINOR_VERSION", "1"),
        ("ENCODER", "Lavf57.71.100"),
        ("HANDLER_NAME", None),
        ("ENCODER", "Elemental H.264"),
        ("DURATION", "00:00:10.000000000"),
    ]
    for start, end in zip(starts, ends, strict=True):
        both = [*start.fragment.tags, *end.tags][:7]
        assert [name for name, _ in both] == [name for name, _ in wanted]
        assert all(value is None or value == got for (_, got), (_, value) in zip(both, wanted, strict=True))
    track = starts[0].tracks[0]
    assert (track.width, track.height, len(track.codec_private)) == (640, 360, 54)
    assert track.codec_private.startswith(bytes.fromhex("014d401e03"))


def test_the_renderer_recording_has_its_parameters():
    start = next(e for e in walk("kinesis_video_renderer_example_output.mkv", 65536) if isinstance(e, FragmentStart))
    assert len(start.tracks[0].codec_private) == 29
    assert start.tracks[0].codec_private.startswith(bytes.fromhex("01640028"))


def test_producer_tags_stand_on_both_sides():
    events = walk("test_mixed_tags.mkv", 65536)
    counts = [len(e.fragment.tags) for e in events if isinstance(e, FragmentStart)]
    after = [len(e.tags) for e in events if isinstance(e, FragmentEnd)]
    assert [a + b for a, b in zip(counts, after, strict=True)] == [10] + [5] * 9


def test_a_clusterless_recording_still_tells_its_number():
    start = next(e for e in walk("empty-mkv-with-tags.mkv", 65536) if isinstance(e, FragmentStart))
    assert start.fragment.number == "91343852338378294813695855977007281634605393997"


def test_an_ordinary_file_has_the_times_of_its_frames():
    blocks = [e for e in walk("bezos_vogels.mkv", 65536) if isinstance(e, Block)]
    offsets = [b.offset_us for b in blocks]
    assert offsets[0] == 0
    assert offsets == sorted(offsets)


def test_a_recording_played_twice_has_everything_twice():
    once = walk("output_get_media.mkv", 65536)
    data = (FOLDER / "output_get_media.mkv").read_bytes()
    walker = Walker(Limits())
    assert walker.feed(data + data) + walker.close() == once + once
