"""How much faster the walker is than the way the AWS sample consumer parses, on the same bytes in the same run.

    python tests/bench/bench_walker.py [FILE...]

The reference does what that consumer does: after each 1024-byte read it makes a document of everything collected with
a generic element library, counts the EBML headers in it, and delivers a fragment when the next header turns up (so it
never delivers the last one). With the library that it carries (``pip install ebmlite``) the reference is the real
one; else it is a parser here that does the same work element by element, within a few percent of its speed.

Without a file, bytes like a camera's are made: 2 s fragments of 60 blocks, once of 8-16 kB and once of 2-3.5 kB.
"""

from __future__ import annotations

import random
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from matroska_writer import Doc

from streamproc.ingest.walker import Limits, Walker
from streamproc.model.media import Block, FragmentEnd

try:
    from ebmlite import loadSchema
except ImportError:
    loadSchema = None

READ, SAMPLE_READ, ROUNDS, BAR = 65536, 1024, 5, 30
EBML, SEGMENT, CLUSTER, SIMPLE_BLOCK = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xA3
GLOBALS = {0xEC, 0xBF}
CHILDREN = {
    EBML: {0x4286, 0x42F7, 0x42F2, 0x42F3, 0x4287, 0x4285, 0x4282} | GLOBALS,
    SEGMENT: {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1254C367} | GLOBALS,
    CLUSTER: {0xE7, 0x5854, 0xA7, 0xAB, SIMPLE_BLOCK, 0xA0, 0xAF} | GLOBALS,
}
NUMBERS = {0x4286, 0x42F7, 0x42F2, 0x42F3, 0x4287, 0x4285, 0xE7, 0xA7, 0xAB}


class Element:
    """One element of a generic library: it reads from a file-like object, and has a class for each kind."""

    __slots__ = ("_value", "offset", "size", "start", "stream")
    id, name, at_once = 0, "", False

    def __init__(self, stream: BytesIO, offset: int, size: int | None, start: int) -> None:
        self.stream = stream
        self.offset = offset
        self.size: Any = size
        self.start = start
        self._value: Any = None

    def parse(self, stream: BytesIO, size: int) -> Any:
        return bytearray(stream.read(size))

    @property
    def value(self) -> Any:
        if self._value is None:
            self.stream.seek(self.start)
            self._value = self.parse(self.stream, self.size)
        return self._value

    def dump(self) -> Any:
        return self.value


class Other(Element):
    """One whose kind the schema does not know."""

    __slots__ = ("id",)

    def __init__(self, stream: BytesIO, offset: int, size: int | None, start: int, id_: int) -> None:
        super().__init__(stream, offset, size, start)
        self.id = id_


class Number(Element):
    """Read at once, as its library does to save a seek."""

    __slots__ = ()
    at_once = True

    def parse(self, stream: BytesIO, size: int) -> int:
        return int(struct.unpack(">Q", stream.read(size).rjust(8, b"\0"))[0])


class Master(Element):
    """One that holds others; of unknown size, its end is looked for by going through them."""

    __slots__ = ("_size",)

    @property
    def size(self) -> int:
        try:
            return self._size
        except AttributeError:
            end = pos = self.start
            while True:
                self.stream.seek(pos)
                end = pos
                try:
                    child, pos = next_element(self.stream, at_once=False)
                    if child.id not in CHILDREN[self.id]:
                        break
                except TypeError:  # the bytes end
                    break
            self._size = end - self.start
            return self._size

    @size.setter
    def size(self, size: int | None) -> None:
        if size is not None:
            self._size = size

    def __iter__(self) -> Iterator[Element]:
        pos, end = self.start, self.start + self.size
        while pos < end:
            self.stream.seek(pos)
            try:
                child, pos = next_element(self.stream)
                yield child
            except TypeError:
                break

    def dump(self) -> dict[str, Any]:
        return {child.name: child.dump() for child in self}


class Document(Master):
    """It reads its header's values when it is made, and the header again when it is gone through."""

    __slots__ = ("info",)

    def __init__(self, stream: BytesIO) -> None:
        super().__init__(stream, 0, len(stream.getvalue()), stream.tell())
        self.info: dict[str, Any] = {}
        try:
            first, _ = next_element(stream)
            if first.id == EBML:
                self.info = first.dump()
        except TypeError:
            pass

    def __iter__(self) -> Iterator[Element]:
        pos = self.start
        while True:
            self.stream.seek(pos)
            try:
                root, pos = next_element(self.stream)
                yield root
            except TypeError:
                break


def schema_class(id_: int) -> type[Element]:
    base = Master if id_ in CHILDREN else Number if id_ in NUMBERS else Element
    return type(f"Element{id_:X}", (base,), {"id": id_, "name": f"{id_:X}", "__slots__": ()})


CLASSES = {id_: schema_class(id_) for id_ in set(CHILDREN).union(*CHILDREN.values())}


def width_of(byte: int) -> tuple[int, int]:
    """An integer's width, and what its first byte is worth."""
    width = 9 - byte.bit_length() if byte else 8
    return width, byte & (0x100 >> width) - 1


def read_id(stream: BytesIO) -> tuple[int, int]:
    first = stream.read(1)
    width, value = width_of(ord(first))[0], ord(first)
    if width > 4:
        raise OSError("not an id")
    if width > 1:
        value = struct.unpack(">I", (first + stream.read(width - 1)).rjust(4, b"\0"))[0]
    return value, width


def read_size(stream: BytesIO) -> tuple[int | None, int]:
    width, value = width_of(ord(stream.read(1)))
    if width > 1:
        raw = chr(value).encode("latin-1") + stream.read(width - 1)
        value = struct.unpack(">Q", raw.rjust(8, b"\0"))[0]
    return (None if value == 2 ** (7 * width) - 1 else value), width


def next_element(stream: BytesIO, at_once: bool = True) -> tuple[Element, int]:
    """The element at the stream's position, and where the next one is. ``TypeError`` where the bytes end."""
    offset = stream.tell()
    id_, id_width = read_id(stream)
    size, width = read_size(stream)
    start = offset + id_width + width
    try:
        element = CLASSES[id_](stream, offset, size, start)
    except KeyError:
        element = Other(stream, offset, size, start, id_)
    if element.at_once and at_once:
        element._value = element.parse(stream, element.size)
    return element, start + element.size


def sample_way(data: bytes, load: Callable[[BytesIO], Any]) -> list[int]:
    """Blocks of each fragment that is delivered."""
    collected, counts = bytearray(), []
    for at in range(0, len(data), SAMPLE_READ):
        collected.extend(data[at : at + SAMPLE_READ])
        headers = [element for element in load(BytesIO(collected)) if element.id == EBML]
        if len(headers) > 1:
            first, second = headers[0].offset, headers[1].offset
            counts.append(count_blocks(load(BytesIO(collected[first:second]))))
            collected = collected[second:]
    return counts


def count_blocks(document: Any) -> int:
    return sum(
        block.id == SIMPLE_BLOCK
        for segment in document
        if segment.id == SEGMENT
        for cluster in segment
        if cluster.id == CLUSTER
        for block in cluster
    )


def library() -> tuple[str, Callable[[BytesIO], Any]]:
    """The element library of the reference: its name, and what makes a document of bytes."""
    if loadSchema is None:
        return "the sample's way", Document
    schema = loadSchema("matroska.xml")
    return "the sample's library", lambda stream: schema.load(stream, headers=True)


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


def made(smallest: int, largest: int) -> bytes:
    noise = random.Random(1)
    docs = []
    for number in range(1, 6):
        payloads = [noise.randbytes(noise.randint(smallest, largest)) for _ in range(60)]
        docs.append(Doc(str(91343852333181432392 + number), payloads=payloads).build())
    return b"".join(docs)


def measure(name: str, data: bytes, rounds: int = ROUNDS) -> float:
    """Print the line for these bytes. Returns how many times faster the walker is."""
    label, load = library()
    ours, theirs = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        delivered = sample_way(data, load)
        theirs.append(time.perf_counter() - began)
        for _ in range(5):  # as long as the other took, to be as exact
            began = time.perf_counter()
            mine = our_way(data)
            ours.append(time.perf_counter() - began)
        if mine[: len(delivered)] != delivered or len(mine) <= len(delivered):
            raise SystemExit(f"{name}: the walker says {mine}, the reference {delivered}")
    fast, slow = (len(data) / statistics.median(times) / 1e6 for times in (ours, theirs))
    print(
        f"{name}: walker {fast:.0f} MB/s, {label} {slow:.1f} MB/s, ratio {fast / slow:.0f} (bar {BAR}); "
        f"blocks {sum(mine)} in {len(mine)} fragments, the other delivers {sum(delivered)} in {len(delivered)}"
    )
    return fast / slow


def main(paths: list[str], rounds: int = ROUNDS) -> None:
    if not paths:
        measure("blocks of 8-16 kB", made(8_000, 16_000), rounds)
        measure("blocks of 2-3.5 kB", made(2_000, 3_500), rounds)
    for path in paths:
        measure(Path(path).name, Path(path).read_bytes(), rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
