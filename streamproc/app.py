"""The wiring: settings become clients, stores, detectors and a pipeline. The only place that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, InvalidRegionError, NoRegionError, ProfileNotFound

from streamproc.detect.fanout import FanOut
from streamproc.detect.local import CenterFace
from streamproc.detect.rekognition import RekognitionFaces, client_config
from streamproc.encode.pyav import EncodeOptions
from streamproc.errors import AccessDenied, ConfigurationError, SegmentTaken, shown_text, shown_url
from streamproc.ingest.getmedia import GetMediaSource, SessionNote
from streamproc.ingest.resume import EARLIEST, NOW, Selector, StartSelector, parse_start
from streamproc.ingest.walker import Limits
from streamproc.model.segment import Checkpoint, Gap
from streamproc.pipeline.live import LivePipeline
from streamproc.pipeline.tally import Tally
from streamproc.pipeline.work import CoverOptions, LiveOptions
from streamproc.ports import Clock, Detector, ObjectStore
from streamproc.progress.files import FileCheckpointStore
from streamproc.publish.files import DirectoryStore
from streamproc.publish.publisher import Publisher
from streamproc.publish.s3 import S3Store
from streamproc.redact.effects import Effect
from streamproc.redact.redaction import Redaction
from streamproc.settings import Settings

# The sampler's looks may stand this much further apart than 1 / calls_per_second.
_WIDEST_LOOKS = 1.3
_SEGMENT_STRETCH = 1.25
_SAME_PLACE_PAUSE_S = 5.0
_M_ARENA_MAX = -8  # <malloc.h>


def keep_memory_small() -> None:
    """Tell glibc to keep two heaps instead of eight a core: each holds on to what pictures of one thread once took."""
    with contextlib.suppress(OSError, AttributeError):  # another C library: it only costs some memory
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


class SystemClock:
    """The real time."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One live stream to redact.

    Attributes:
        output: ``s3://bucket/prefix`` or a folder.
        start: As on the command line; None for the checkpoint, or now where there is none.
        until_idle_s: End by itself after so many seconds without media.
    """

    stream: str
    output: str
    settings: Settings
    start: str | None = None
    until_idle_s: float | None = None


class LiveRun:
    """One run of one stream, from its checkpoint to the end of its drain.

    Args:
        note: Told in one line what people should know.

    Raises:
        ConfigurationError, UnavailableError: Before anything is read, if the run cannot work at all.
    """

    def __init__(self, request: RunRequest, note: Callable[[str], None], clock: Clock | None = None) -> None:
        self._request = request
        self._note = note
        self._clock = clock or SystemClock()
        settings = request.settings
        self._start = None if request.start in (None, "checkpoint") else parse_start(str(request.start))
        self._session = _session()
        self._video = _client(self._session, "kinesisvideo", read_timeout=10)
        self._store = store_for(request.output, self._session)
        self._store.check()
        self._detector = detector_for(settings, self._session, note)
        self._progress = FileCheckpointStore(settings.state.dir)
        if settings.effect.weak:
            note(f"weaker than advised, and every audit record says so: {', '.join(settings.effect.weak)}")
        self.tally = Tally()
        self._pipeline: LivePipeline | None = None
        self._fanout: FanOut | None = None
        self._stopping = False

    def close(self) -> None:
        """Let go of the stream's lock."""
        self._progress.close()

    def stop(self) -> None:
        """Drain and end. From the event loop."""
        self._stopping = True
        if self._pipeline is not None:
            self._pipeline.stop()

    async def run(self) -> None:
        """Until stopped or idle. Raises what the pipeline raises."""
        settings = self._request.settings
        self._fanout = FanOut(self._detector, settings.detect.concurrency, self._clock)
        try:
            checkpoint = await asyncio.to_thread(self._checkpoint)
            while True:
                try:
                    await self._run_from(checkpoint)
                    return
                except SegmentTaken as taken:
                    self._note(f"{taken}; going on behind it")
                    before, checkpoint = checkpoint, self._publisher.checkpoint
                    if self._stopping:
                        return
                    if checkpoint.position == before.position:
                        await asyncio.sleep(_SAME_PLACE_PAUSE_S)
                    self._start = None
        finally:
            self._fanout.close()

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        return {**self._names(), **self.tally.summary(self._calls())}

    def status(self) -> dict[str, Any]:
        """What is done now, ready for JSON: the summary so far, the stream's state and its newest segment.

        From the event loop, or when the run is over.
        """
        return {**self._names(), **self.tally.status(self._clock.now_us(), self._calls())}

    def _names(self) -> dict[str, str]:
        return {"stream": self._request.stream, "output": self._store.describe()}

    def _calls(self) -> dict[str, dict[str, int]]:
        counts = self._fanout.counts() if self._fanout is not None else {}
        return {
            api: {"ok": c.ok, "failed": c.failed, "throttled": c.throttled, "shed": c.shed, "late": c.late}
            for api, c in counts.items()
        }

    async def _run_from(self, checkpoint: Checkpoint) -> None:
        settings, stream = self._request.settings, self._request.stream
        self._publisher = Publisher(
            self._store,
            self._progress,
            stream,
            _policy(settings),
            settings.playlist.window_segments,
            self._clock,
            checkpoint,
            target_s=-int(-settings.segment.seconds * _SEGMENT_STRETCH // 1),
        )
        await asyncio.to_thread(self._publisher.recover)
        source = self._source(checkpoint)
        self._pipeline = LivePipeline(
            stream,
            source,
            self._fanout_checked(),
            self._publisher,
            self._progress,
            self._clock,
            _live_options(settings, self._request.until_idle_s),
            self.tally,
            self._note,
            skips=self._request.start or "" if self._start_counts(checkpoint) else "",
        )
        if self._stopping:
            self._pipeline.stop()
        try:
            await self._pipeline.run()
        finally:
            self.tally.sessions += source.sessions
            self.tally.fragments_duplicate += source.duplicates
        if source.trouble is not None and not source.answered:
            raise source.trouble

    def _fanout_checked(self) -> FanOut:
        assert self._fanout is not None
        return self._fanout

    def _checkpoint(self) -> Checkpoint:
        """Where to go on; a stream made anew under the same name does not inherit."""
        stream = self._request.stream
        created = self._created()
        found = self._progress.load(stream)
        if found is None or (found.created and created and found.created != created):
            if found is not None:
                self._note(f"stream {stream} was made anew; its old checkpoint does not count")
            return Checkpoint(stream, created)
        return replace(found, created=created or found.created)

    def _created(self) -> str:
        """The stream's creation time; "" where the service does not tell us (it is only a safeguard)."""
        try:
            info = self._video.describe_stream(StreamName=self._request.stream)["StreamInfo"]
            return str(info["CreationTime"].isoformat())
        except (BotoCoreError, ClientError, KeyError, AttributeError):
            return ""  # GetDataEndpoint comes next, and says what is wrong

    def _source(self, checkpoint: Checkpoint) -> GetMediaSource:
        settings = self._request.settings
        limits = settings.limits
        idle_s = settings.ingest.idle_timeout_s
        selector = self._selector(checkpoint)
        return GetMediaSource(
            self._video,
            lambda endpoint: _client(
                self._session,
                "kinesis-video-media",
                endpoint_url=endpoint,
                read_timeout=idle_s + 5,  # the source itself ends quiet sessions
                attempts=1,
            ),
            self._request.stream,
            selector,
            clock=self._clock,
            random=random.random,
            on_gap=lambda gap: self._on_gap(gap),
            on_session=self._on_session,
            limits=Limits(
                element_bytes=limits.element_bytes,
                fragment_bytes=limits.fragment_bytes,
                fragment_us=round(limits.fragment_seconds * 1_000_000),
                max_pixels=limits.max_pixels,
            ),
            idle_timeout_s=idle_s,
        )

    def _on_session(self, session: SessionNote) -> None:
        self.tally.connected = session.kind in ("streaming", "waiting")
        self._note(session.message)

    def _on_gap(self, gap: Gap) -> None:
        if self._pipeline is not None:
            self._pipeline.gap(gap)

    def _start_counts(self, checkpoint: Checkpoint) -> bool:
        """Whether the run begins where it was told to, and not behind its checkpoint."""
        if checkpoint.position is None:
            return False
        return self._start is not None and self._start.kind is not Selector.EARLIEST

    def _selector(self, checkpoint: Checkpoint) -> StartSelector:
        position, start = checkpoint.position, self._start
        if position is not None and not self._start_counts(checkpoint):
            if position.after:
                return StartSelector(Selector.AFTER_FRAGMENT, position.after)
            if position.server_us:
                return StartSelector(Selector.SERVER_TIMESTAMP, time_us=position.server_us)
            return EARLIEST
        if start is not None:
            return start
        return EARLIEST if self._request.start == "checkpoint" else NOW


def store_for(output: str, session: boto3.Session) -> ObjectStore:
    """The store behind ``s3://bucket/prefix`` or a folder. Raises ``ConfigurationError`` for anything else."""
    if "://" not in output:
        return DirectoryStore(Path(output))
    parts = urlsplit(output)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"--output {shown_text(output.partition('://')[0])}://...: should be s3://bucket/prefix or a folder"
        )
    return S3Store(_client(session, "s3", read_timeout=10, attempts=3), parts.netloc, parts.path)


def detector_for(settings: Settings, session: boto3.Session, note: Callable[[str], None]) -> Detector:
    """Who looks at the pictures. Raises ``ConfigurationError`` for a model that cannot be used."""
    detect = settings.detect
    if detect.kind == "local":
        assert detect.model is not None  # the settings see to that
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported
        return CenterFace(detect.model, detect.min_confidence, threads=min(2, detect.concurrency))
    client = _client(session, "rekognition", config=client_config(detect.concurrency, detect.deadline_ms))
    return RekognitionFaces(client, detect.min_confidence, on_problem=note)


def _session() -> boto3.Session:
    """Credentials and region as boto3 finds them, but AWS_REGION first, as the other SDKs do: ECS sets only that.

    Raises ``ConfigurationError`` if AWS_PROFILE names no profile.
    """
    try:
        return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    except ProfileNotFound:
        raise ConfigurationError("AWS_PROFILE: there is no such profile in the AWS configuration") from None


def _client(
    session: boto3.Session,
    service: str,
    *,
    endpoint_url: str | None = None,
    read_timeout: float = 10,
    attempts: int = 3,
    config: Config | None = None,
) -> Any:
    config = config or Config(
        connect_timeout=3,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        tcp_keepalive=True,
    )
    try:
        client = session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]
        _ = urlsplit(client.meta.endpoint_url).port  # botocore would stumble over it in the first call
        return client
    except NoRegionError:
        raise ConfigurationError("no AWS region: set AWS_REGION, or a region in the AWS profile") from None
    except InvalidRegionError:
        raise ConfigurationError("the AWS region is no region's name: correct AWS_REGION or the AWS profile") from None
    except BotoCoreError as error:  # its text may hold the endpoint, and that a password
        raise AccessDenied(
            f"cannot make a client for {service} ({type(error).__name__}): check the AWS variables and profile"
        ) from None
    except ValueError:
        if endpoint_url is not None:
            raise AccessDenied(f"{service}: the service named {shown_url(endpoint_url)} as endpoint") from None
        raise ConfigurationError(
            f"cannot make a client for {service}: an AWS setting has a value that cannot be used; "
            "most likely AWS_ENDPOINT_URL_* or AWS_ENDPOINT_URL, or endpoint_url in the AWS profile, is not a valid URL"
        ) from None


def cover_options(settings: Settings) -> CoverOptions:
    """What the rule of covering is told, live and over recordings."""
    detect = settings.detect
    dial = settings.dial
    apart_us = max(1_000_000 / detect.calls_per_second, dial.every_ms * 1000)
    return CoverOptions(
        calls_per_second=detect.calls_per_second,
        lookahead_us=max(settings.lookahead.duration_us, round(_WIDEST_LOOKS * apart_us)),
        margin=settings.cover.margin,
        extend_us=settings.cover.extend_ms * 1000,
        every_us=dial.every_ms * 1000,
        ask_us=dial.ask_ms * 1000,
        calm_us=dial.calm_ms * 1000,
    )


def redaction_for(settings: Settings) -> Redaction:
    """What covers frames as the settings say."""
    return Redaction(_live_options(settings, None).effect)


def _live_options(settings: Settings, until_idle_s: float | None) -> LiveOptions:
    detect = settings.detect
    return LiveOptions(
        segment_s=settings.segment.seconds,
        cover=cover_options(settings),
        deadline_s=detect.deadline_ms / 1000,
        long_side_px=detect.long_side_px,
        jpeg_quality=detect.jpeg_quality,
        effect=_effect(settings),
        encode=EncodeOptions(settings.encode.preset, settings.encode.crf),
        keep_audio=settings.audio == "keep",
        max_pixels=settings.limits.max_pixels,
        until_idle_s=until_idle_s,
    )


def _effect(settings: Settings) -> Effect:
    effect = settings.effect
    return Effect(effect.kind, effect.shape, effect.cells, effect.sigma, effect.plates)


def _policy(settings: Settings) -> dict[str, object]:
    """What decides how well things are covered; a hash of it stands in every audit record, and so does ``weak``."""
    return {
        "effect": asdict(_effect(settings)),
        "weak": settings.effect.weak,
        "cover": {**settings.cover.model_dump(), **settings.dial._asdict()},
        "detect": settings.detect.model_dump(include={"kind", "calls_per_second", "min_confidence", "long_side_px"}),
    }


def run_live(
    live: LiveRun, seconds: float | None, on_tick: Callable[[], None] | None = None, tick_s: float = 1.0
) -> None:
    """Run to the end on an event loop of its own; SIGTERM and SIGINT drain it, a second SIGINT ends it at once.

    Args:
        seconds: Drain after so long; None for never.
        on_tick: Called on the event loop every ``tick_s`` seconds.
    """

    keep_memory_small()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        interrupted = False
        task = asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupted
            if interrupted and task is not None:
                task.cancel()
            interrupted = True
            live.stop()

        loop.add_signal_handler(signal.SIGTERM, live.stop)
        loop.add_signal_handler(signal.SIGINT, interrupt)
        if seconds is not None:
            loop.call_later(seconds, live.stop)
        ticking = asyncio.create_task(_tick(on_tick, tick_s)) if on_tick is not None else None
        try:
            await live.run()
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            if ticking is not None:
                ticking.cancel()

    try:
        asyncio.run(main())
    finally:
        live.close()


async def _tick(call: Callable[[], None], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        call()
