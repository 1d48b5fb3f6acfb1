"""Objects in an S3 bucket. The first writer of a key wins, and S3 itself decides who that was.

Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from streamproc.errors import AccessDenied, ConfigurationError, StoreUnavailable, StreamprocError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CONFLICT_TRIES = 3  # at once; who calls waits before it tries again
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
_DENIED = {"AccessDenied", "AllAccessDisabled", "Forbidden", "403"}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
    "401",
}
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_MISSING = {"404", "NoSuchKey", "NotFound"}


class S3Store:
    """Objects under ``prefix`` in ``bucket``. Safe to use from several threads, as the client is.

    Args:
        client: An S3 client; its own retries (for time-outs and 5xx) do no harm: a PUT of ours that has landed unseen
            answers "taken", and the caller compares the metadata.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._shown = bucket.rpartition("@")[2]  # s3://user:password@bucket is no bucket, and not to be repeated
        self._prefix = prefix.strip("/")

    def describe(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._shown}/{self._prefix}" if self._prefix else f"s3://{self._shown}"

    def check(self) -> None:
        """Raise if the bucket does not exist, is elsewhere, or nobody can sign for it.

        A refusal is let pass: whoever may only write objects may not look at the bucket (s3:ListBucket).
        """
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) in _DENIED:
                return
            if _code(error) in _MISSING:
                raise StoreUnavailable(
                    f"HEAD s3://{self._shown}: there is no such bucket; create it, or correct the output"
                ) from error
            raise self._error("HEAD", "", error) from error
        except BotoCoreError as error:
            raise self._error("HEAD", "", error) from error

    def put_new(self, key: str, body: bytes, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Create an object; False if the key is taken, also by an earlier try of this very call."""
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentType=content_type,
                    Metadata=dict(metadata),
                    ChecksumAlgorithm="SHA256",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                code = _code(error)
                if code in {"PreconditionFailed", "412"}:
                    return False
                # Another conditional write to the key is under way; S3 asks to upload again.
                if code in {"ConditionalRequestConflict", "409"} and attempt + 1 < _CONFLICT_TRIES:
                    continue
                raise self._error("PUT", key, error) from error
            except BotoCoreError as error:
                raise self._error("PUT", key, error) from error
            return True
        raise AssertionError("the last attempt returns or raises")

    def put(self, key: str, body: bytes, content_type: str, cache_control: str = "") -> None:
        """Create or replace an object."""
        try:
            if cache_control:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentType=content_type,
                    CacheControl=cache_control,
                    ChecksumAlgorithm="SHA256",
                )
            else:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentType=content_type,
                    ChecksumAlgorithm="SHA256",
                )
        except (ClientError, BotoCoreError) as error:
            raise self._error("PUT", key, error) from error

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """The object's metadata (needs s3:GetObject), or None if there is no such object."""
        try:
            return self._client.head_object(Bucket=self._bucket, Key=self._key(key))["Metadata"]
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise self._error("HEAD", key, error) from error
        except BotoCoreError as error:
            raise self._error("HEAD", key, error) from error

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _error(self, verb: str, key: str, error: Exception) -> StreamprocError:
        """One line: what, where, what to do. The service's own text is left out: it may name a person."""
        what = f"{verb} s3://{self._shown}" + (f"/{self._key(key)}" if key else "")
        if isinstance(error, _NO_CREDENTIALS):
            return AccessDenied(f"{what}: no AWS credentials; set AWS_PROFILE or run under a role")
        if isinstance(error, ParamValidationError):
            return ConfigurationError(f"{what}: not a valid bucket or key; correct the output")
        if not isinstance(error, ClientError):
            return StoreUnavailable(f"{what}: {type(error).__name__}; check the network, the region and the endpoint")
        code = _code(error)
        if code in _DENIED or code.startswith("KMS."):
            needed = "s3:PutObject" if verb == "PUT" else "s3:GetObject"
            return AccessDenied(
                f"{what}: access denied ({code}); allow {needed} and the bucket's key to these credentials"
            )
        if code in _BAD_CREDENTIALS:
            return AccessDenied(f"{what}: the AWS credentials are not valid ({code}); renew them")
        if code == "NoSuchBucket":
            return StoreUnavailable(f"{what}: there is no such bucket; create it, or correct the output")
        if code in _OTHER_REGION:
            return StoreUnavailable(f"{what}: the bucket is in another region ({code}); set AWS_REGION to the bucket's")
        if code == "RequestTimeTooSkewed":
            return StoreUnavailable(f"{what}: this machine's clock is wrong ({code}); set it")
        if code in {"NotImplemented", "501"}:
            return ConfigurationError(f"{what}: the store knows no conditional writes ({code}); use one that does")
        return StoreUnavailable(f"{what}: refused ({code}, HTTP {_status(error)}); it is worth trying again")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
