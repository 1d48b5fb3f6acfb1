"""What goes into the stand-in comes out of the project's own reader."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from standin_media import fragments, open_media

from streamproc.ingest.walker import Walker
from streamproc.model.media import Block, FragmentEnd, FragmentStart, MediaEvent
from streamproc.standin import Layout, Limits, MediaFragment, StandIn, read_media

QUICK = Limits(idle_s=0.1, fragments_per_second=1000)
DATA = Path(__file__).parents[3] / "shared" / "data"
needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not beside the checkout")


def walked(source: list[MediaFragment], layout: Layout | None = None) -> list[MediaEvent]:
    with StandIn(limits=QUICK) as standin:
        standin.add_stream("cam", source, archive=True, layout=layout)
        body = open_media(standin).read()
    walker = Walker()
    return walker.feed(body) + walker.close()


@pytest.mark.parametrize("sized", [False, True], ids=["unknown", "sized"])
@pytest.mark.parametrize("epoch", [False, True], ids=["relative", "epoch"])
@pytest.mark.parametrize("groups", [False, True], ids=["simple", "groups"])
def test_the_reader_gets_what_the_camera_sent(sized: bool, epoch: bool, groups: bool) -> None:
    sent = [
        replace(f, tracks=(replace(f.tracks[0], rotation=90),), tags_before=(("A", "1"),), tags_after=(("B", "2"),))
        for f in fragments()
    ]
    events = walked(sent, Layout(sized, epoch, groups))
    starts = [e for e in events if isinstance(e, FragmentStart)]
    ends = [e for e in events if isinstance(e, FragmentEnd)]
    assert {type(e) for e in events} == {FragmentStart, Block, FragmentEnd}
    assert [e for e in events if isinstance(e, Block)] == [b for f in sent for b in f.blocks]
    assert {s.tracks for s in starts} == {sent[0].tracks}
    assert {s.fragment.tags for s in starts} == {(("A", "1"),)}
    assert {e.tags for e in ends} == {(("B", "2"),)}
    assert all(e.complete and e.behind_now_ms is not None for e in ends)
    times = [s.fragment.producer_us for s in starts]
    assert [b - a for a, b in pairwise(times)] == [200_000] * 4


@needs_recordings
@pytest.mark.parametrize(
    ("name", "count", "blocks"),
    [
        ("output_get_media.mkv", 5, 300),
        ("kinesis_video_renderer_example_output.mkv", 8, 444),
        ("test_mixed_tags.mkv", 10, 100),
    ],
)
def test_recorded_bodies_keep_their_fragments_blocks_and_tags(name: str, count: int, blocks: int) -> None:
    original = (DATA / name).read_bytes()
    walker = Walker()
    before = walker.feed(original) + walker.close()
    after = walked(read_media(DATA / name))
    kinds = Counter(type(e).__name__ for e in after)
    assert (kinds["FragmentStart"], kinds["Block"], kinds["FragmentEnd"]) == (count, blocks, count)
    assert [e for e in after if isinstance(e, Block)] == [e for e in before if isinstance(e, Block)]
    for kind in (FragmentStart, FragmentEnd):
        old = [e for e in before if isinstance(e, kind)]
        new = [e for e in after if isinstance(e, kind)]
        assert [_tags(e) for e in new] == [_tags(e) for e in old]
        assert not {e.fragment.number for e in new} & {e.fragment.number for e in old}


@needs_recordings
def test_a_file_of_many_clusters_is_cut_anew() -> None:
    cut = read_media(DATA / "bezos_vogels.mkv", fragment_seconds=2)
    assert sum(len(f.blocks) for f in cut) == 546
    assert max(f.duration_us for f in cut) <= 4_000_000


def _tags(event: FragmentStart | FragmentEnd) -> tuple[tuple[str, str], ...]:
    return event.fragment.tags if isinstance(event, FragmentStart) else event.tags
