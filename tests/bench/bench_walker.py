"""How much faster the walker is than the way the AWS sample consumer parses, on the same bytes in the same run.

    python tests/bench/bench_walker.py [FILE...]

The reference does what that consumer does: it collects 1024-byte reads, parses everything collected from its beginning
with a generic element parser after each of them, and delivers a fragment when the next EBML header turns up (so it
never delivers the last one). It is leaner than the original, which was measured at 14-23 MB/s on recordings.

Without a file, bytes like a camera's are made: 2 s fragments of 60 blocks.
"""

from __future__ import annotations

import random
import statistics
import struct
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
KINDS = {0x4286: "number", 0x42F7: "number", 0x42F2: "number", 0x42F3: "number", 0x4287: "number", 0x4285: "number"}
CHILDREN = {
    SEGMENT: {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1254C367, 0xEC, 0xBF},
    CLUSTER: {0xE7, 0x5854, 0xA7, 0xAB, SIMPLE_BLOCK, 0xA0, 0xAF, 0xEC, 0xBF},
}


class Element:
    """One element of a generic parser that reads from a file-like object and knows its kinds from a schema."""

    def __init__(self, stream: BytesIO, offset: int, size: int | None, start: int, kind: str) -> None:
        self.stream, self.offset, self.start, self.kind = stream, offset, start, kind
        self.value: object = None
        self.id = 0
        self._size = size

    @property
    def size(self) -> int:
        """Where it is not said: iterate over the children until one cannot be a child, or the bytes end."""
        if self._size is None:
            pos = self.start
            while True:
                self.stream.seek(pos)
                try:
                    child, following = parse(self.stream)
                except ValueError:
                    break
                if child.id not in CHILDREN[self.id]:
                    break
                pos = following
            self._size = pos - self.start
        return self._size

    def children(self) -> Iterator[Element]:
        pos, end = self.start, self.start + self.size
        while pos < end:
            self.stream.seek(pos)
            try:
                child, pos = parse(self.stream)
            except ValueError:
                return
            yield child

    def dump(self) -> dict[str, object]:
        """All values in it, read from the stream."""
        values: dict[str, object] = {}
        for child in self.children():
            child.stream.seek(child.start)
            raw = child.stream.read(child.size)
            values[child.kind] = (
                int.from_bytes(raw, "big") if child.kind == "number" else raw.decode("utf-8", "replace")
            )
        return values


def read_integer(stream: BytesIO, keep_marker: bool) -> tuple[int, int]:
    head = stream.read(1)
    if not head or head == b"\0":
        raise ValueError("no element")
    width = 9 - head[0].bit_length()
    raw = head + stream.read(width - 1)
    if len(raw) < width:
        raise ValueError("no element")
    value = struct.unpack(">Q", raw.rjust(8, b"\0"))[0]
    return (value if keep_marker else value & (1 << 7 * width) - 1), width


def parse(stream: BytesIO) -> tuple[Element, int]:
    """The element at the stream's position, and where the next one is."""
    offset = stream.tell()
    id_, id_width = read_integer(stream, keep_marker=True)
    size, width = read_integer(stream, keep_marker=False)
    unknown = size == (1 << 7 * width) - 1
    start = offset + id_width + width
    element = Element(stream, offset, None if unknown else size, start, KINDS.get(id_, "binary"))
    element.id = id_
    return element, start + element.size


def roots(data: bytes) -> list[Element]:
    """A document's elements; like the original it reads the header's values first, for every document."""
    stream = BytesIO(data)
    found: list[Element] = []
    end, pos = len(stream.getvalue()), 0
    while pos < end:
        stream.seek(pos)
        try:
            element, pos = parse(stream)
        except ValueError:
            break
        if not found and element.id == EBML:
            element.value = element.dump()
        found.append(element)
    return found


def sample_way(data: bytes) -> list[int]:
    """Blocks of each fragment that is delivered."""
    collected, counts = bytearray(), []
    for at in range(0, len(data), SAMPLE_READ):
        collected.extend(data[at : at + SAMPLE_READ])
        headers = [element.offset for element in roots(collected) if element.id == EBML]
        if len(headers) > 1:
            counts.append(count_blocks(collected[: headers[1]]))
            collected = collected[headers[1] :]
    return counts


def count_blocks(fragment: bytes) -> int:
    count, todo = 0, roots(fragment)
    while todo:
        element = todo.pop()
        count += element.id == SIMPLE_BLOCK
        if element.id in CHILDREN:
            todo += element.children()
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
