"""Reads a bucket's objects for the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from streamproc.console.app import Piece, Span
from streamproc.errors import StoreUnavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_MISSING = {"NoSuchKey", "NoSuchBucket", "404", "NotFound"}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class BucketObjects:
    """Objects under ``prefix`` in ``bucket``, read-only."""

    def __init__(self, client: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/")

    def read(self, key: str, span: Span | None = None) -> Piece | None:
        """An object or a part of it, None if it is not there. Raises IndexError and ``StoreUnavailable``."""
        name = f"{self._prefix}/{key}" if self._prefix else key
        try:
            if span is None:
                found = self._client.get_object(Bucket=self._bucket, Key=name)
            else:
                found = self._client.get_object(Bucket=self._bucket, Key=name, Range=_range(span))
            data = found["Body"].read()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _MISSING:
                return None
            if code in {"InvalidRange", "416"}:
                raise IndexError(key) from None
            raise StoreUnavailable(f"GET s3://{self._bucket}/{name}: {code}") from None
        except BotoCoreError as error:
            raise StoreUnavailable(f"GET s3://{self._bucket}/{name}: {type(error).__name__}") from None
        match = _CONTENT_RANGE.fullmatch(found.get("ContentRange", ""))
        if match is None:
            return Piece(data, 0, len(data))
        return Piece(data, int(match[1]), int(match[2]))


def _range(span: Span) -> str:
    if span.first < 0:
        return f"bytes={span.first}"
    return f"bytes={span.first}-{'' if span.last is None else span.last}"
