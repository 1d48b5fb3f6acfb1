"""How much faster the walker is than the way the AWS sample consumer parses, on the same bytes in the same run.

    python tests/bench/bench_walker.py [FILE...]

The reference does what that consumer does: it collects 1024-byte reads, parses everything collected from its beginning
with a generic element parser after each of them, and delivers a fragment when the next EBML header turns up (so it
never delivers the last one). Without a file, bytes like a camera's are made: 2 s fragments of 60 blocks.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "ingest"))

from matroska_writer import Doc

from streamproc.ingest.walker import Limits, Walker
from streamproc.model.media import Block, FragmentEnd

READ, SAMPLE_READ, ROUNDS = 65536, 1024, 5
EBML, SEGMENT, CLUSTER, SIMPLE_BLOCK = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xA3


class Element:
    """One element of a generic parser that reads from a file-like object, as that consumer's does."""

    def __init__(self, stream: BytesIO, parent: Element | None) -> None:
        self.offset, self.parent, self.stream = stream.tell(), parent, stream
        self.id, self.id_width = self.integer(keep_marker=True)
        if self.id_width > 4:
            raise ValueError("no element")
        self.size, width = self.integer(keep_marker=False)
        self.unknown = self.size == (1 << 7 * width) - 1
        self.start = self.offset + self.id_width + width
        self.end = self.start + self.size

    def integer(self, keep_marker: bool) -> tuple[int, int]:
        head = self.stream.read(1)
        if not head or head == b"\0":
            raise ValueError("no element")
        width = 9 - head[0].bit_length()
        raw = head + self.stream.read(width - 1)
        if len(raw) < width:
            raise ValueError("no element")
        value = int.from_bytes(raw, "big")
        return (value if keep_marker else value & (1 << 7 * width) - 1), width


def elements(stream: BytesIO, start: int, end: int, parent: Element | None) -> Iterator[Element]:
    """The elements in a part of the stream; one of unknown size ends at the next EBML header or with its parent."""
    pos = start
    while pos < end:
        stream.seek(pos)
        try:
            element = Element(stream, parent)
        except ValueError:
            return
        if element.id == EBML and parent is not None:
            return
        if element.unknown:
            element.end = element.start
            if element.id == SEGMENT:
                for child in elements(stream, element.start, end, element):
                    element.end = child.end
        yield element
        pos = element.end


def sample_way(data: bytes) -> list[int]:
    """Blocks of each fragment that is delivered."""
    collected, counts = bytearray(), []
    for at in range(0, len(data), SAMPLE_READ):
        collected.extend(data[at : at + SAMPLE_READ])
        roots = elements(BytesIO(collected), 0, len(collected), None)
        headers = [element.offset for element in roots if element.id == EBML]
        if len(headers) > 1:
            counts.append(count_blocks(collected[: headers[1]]))
            collected = collected[headers[1] :]
    return counts


def count_blocks(fragment: bytes) -> int:
    """Blocks of a whole fragment. A Cluster of unknown size has been left at once: its children are the Segment's."""
    stream, count = BytesIO(fragment), 0
    todo = list(elements(stream, 0, len(fragment), None))
    while todo:
        element = todo.pop()
        if element.id == SIMPLE_BLOCK:
            count += 1
        elif element.id in (SEGMENT, CLUSTER) and element.end > element.start:
            todo += elements(stream, element.start, element.end, element)
    return count


def our_way(data: bytes) -> list[int]:
    """Blocks of each fragment."""
    walker, counts, blocks = Walker(Limits()), [], 0
    for at in range(0, len(data), READ):
        for event in walker.feed(data[at : at + READ]):
            if type(event) is Block:
                blocks += 1
            elif type(event) is FragmentEnd:
                counts.append(blocks)
                blocks = 0
    for event in walker.close():
        blocks += type(event) is Block
        if type(event) is FragmentEnd:
            counts.append(blocks)
            blocks = 0
    return counts


def made() -> bytes:
    noise = random.Random(1)
    docs = []
    for number in range(1, 6):
        payloads = [noise.randbytes(noise.randint(8_000, 16_000)) for _ in range(60)]
        docs.append(Doc(str(91343852333181432392 + number), payloads=payloads).build())
    return b"".join(docs)


def measure(name: str, data: bytes) -> float:
    """Print the line for these bytes. Returns how many times faster the walker is."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        mine = our_way(data)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        delivered = sample_way(data)
        theirs.append(time.perf_counter() - began)
        if mine[: len(delivered)] != delivered:
            raise SystemExit(f"{name}: the walker says {mine}, the reference {delivered}")
    fast, slow = (len(data) / statistics.median(times) / 1e6 for times in (ours, theirs))
    print(
        f"{name}: walker {fast:.0f} MB/s, sample's way {slow:.1f} MB/s, ratio {fast / slow:.0f}; "
        f"blocks {sum(mine)} in {len(mine)} fragments, the sample's way delivers {sum(delivered)} in {len(delivered)}"
    )
    return fast / slow


def main(paths: list[str]) -> None:
    if not paths:
        measure("made", made())
    for path in paths:
        measure(Path(path).name, Path(path).read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
