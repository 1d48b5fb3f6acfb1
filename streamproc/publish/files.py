"""Objects as files under a folder: whole or not there, also after ``kill -9`` and power loss.

A file gets its name only when its bytes are on the disk, so whoever lists ``*.mp4``, ``*.m3u8`` or ``*.jsonl.gz``
never meets a part of one. Metadata stands in a hidden folder ``.meta`` beside the files.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from streamproc.errors import StoreUnavailable

_HINTS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EACCES: "permission denied; allow this user to write there, or choose another output",
    errno.EPERM: "not permitted; allow this user to write there, or choose another output",
    errno.EROFS: "the file system is read-only; choose another output",
    errno.ENOTDIR: "a part of the path is a file; choose another output",
    errno.EEXIST: "a file stands where a folder should be; choose another output",
}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class DirectoryStore:
    """Objects under ``root``. Several processes of one machine may share it: the first writer of a key wins."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def describe(self) -> str:
        """The folder's path."""
        return str(self._root)

    def check(self) -> None:
        """Create the folder if need be; raise ``StoreUnavailable`` if it cannot be or refuses a file."""
        probe = self._root / ".streamproc.tmp"
        with self._errors("create", self._root), _locked_folder(self._root):
            _write(probe, b"")
            probe.unlink()

    def put_new(self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Create a file with its metadata; False if the name is taken. Durable on return."""
        path = self._path(key)
        meta = _meta_path(path)
        # The lock makes the metadata that of the winner: nobody else writes here between the look and the link.
        with self._errors("write", path), _locked_folder(path.parent):
            if path.exists():
                return False
            if metadata:
                _make_folder(meta.parent)
                _replace(meta, json.dumps(dict(metadata), sort_keys=True).encode())
            else:
                meta.unlink(missing_ok=True)  # left behind by a writer that died before its link
            temp = _temp_path(path)
            _write(temp, body)
            try:
                created = _link(temp, path)
            finally:
                temp.unlink(missing_ok=True)
            _sync_folder(path.parent)
            return created

    def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        """Create or replace a file in one step: a reader sees the old one or the new one."""
        path = self._path(key)
        with self._errors("write", path), _locked_folder(path.parent):
            _replace(path, body)

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """The file's metadata, empty if it has none; None if there is no such file."""
        path = self._path(key)
        with self._errors("read", path):
            if not path.exists():
                return None
            try:
                found = json.loads(_meta_path(path).read_bytes())
            except FileNotFoundError:
                return {}
            except ValueError:
                return {}
            return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise ValueError(f"not a key: {key!r}")
        return self._root.joinpath(*parts)

    @contextmanager
    def _errors(self, verb: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, f"{error.strerror}; check the disk, or choose another output")
            raise StoreUnavailable(f"{verb} {path}: {hint}") from error


def _meta_path(path: Path) -> Path:
    return path.parent / ".meta" / f"{path.name}.json"


def _temp_path(path: Path) -> Path:
    # One name per file is enough under the folder's lock, and a dead writer's rest is written over.
    return path.parent / f".{path.name}.tmp"


def _replace(path: Path, body: bytes) -> None:
    temp = _temp_path(path)
    try:
        _write(temp, body)
        temp.replace(path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write(path: Path, body: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)  # do not fill a full disk with rests
        raise


def _link(temp: Path, path: Path) -> bool:
    try:
        os.link(temp, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        temp.rename(path)  # a file system without hard links; the lock keeps others of us away
    return True


def _make_folder(folder: Path) -> None:
    """Create the folder and its parents, each durable before the next."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    _make_folder(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
