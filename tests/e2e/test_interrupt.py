"""What Ctrl-C does to a run: the first drains it, the second ends it at once, also while the store hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from e2e.live_run import LiveRun, camera, filmed, numbers, seen

from streamproc.standin import StandIn

AT_ONCE_S = 5


class HangingStore:
    """An S3 that has the bucket and no object, and never answers a PUT; ``mute`` answers nothing at all."""

    def __init__(self, mute: bool = False) -> None:
        self.asked = threading.Event()
        self._ended = threading.Event()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                if mute:
                    self.do_PUT()
                    return
                self.send_response(200 if self.path.strip("/").count("/") == 0 else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_PUT(self) -> None:
                store.asked.set()
                store._ended.wait(60)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HangingStore:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


def interrupt(run: LiveRun) -> None:
    """Ctrl-C, and wait until the process has taken it: two at once would count as one."""
    run.process.send_signal(signal.SIGINT)
    until = time.monotonic() + AT_ONCE_S
    while run.process.poll() is None and pending(run.process.pid) & 1 << signal.SIGINT - 1:
        assert time.monotonic() < until, "the process does not take the signal"
        time.sleep(0.01)


def pending(pid: int) -> int:
    """The signals that wait for the process, as bits."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd:", "SigPnd:")))


def test_one_interrupt_drains_and_ends_with_0(tmp_path):
    with StandIn(seen) as server:
        server.add_stream("cam", camera(filmed(count=250)))
        with LiveRun(server.environment(), tmp_path, "--from", "earliest") as run:
            run.wait_for_segments(1)
            interrupt(run)
            assert run.wait(30) == 0, run.said
    found = numbers(run.output.pictures())
    assert found == list(range(len(found)))
    assert run.summary["frames"]["out"] == len(found) > 0
    assert "#EXT-X-ENDLIST" in run.output.playlist.read_text()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc to see that a signal was taken")
def test_a_second_interrupt_ends_at_once_with_130_while_the_store_hangs(tmp_path):
    with StandIn(seen) as server, HangingStore() as store:
        server.add_stream("cam", camera(filmed(count=250)), archive=True)
        environment = {**server.environment(), "AWS_ENDPOINT_URL_S3": store.url}
        with LiveRun(environment, tmp_path, "--from", "earliest", output="s3://bucket/x") as run:
            assert store.asked.wait(30), run.said
            interrupt(run)
            begin = time.monotonic()
            interrupt(run)
            assert run.wait(30) == 130, run.said
            assert time.monotonic() - begin < AT_ONCE_S
    assert "Traceback" not in run.said


def test_one_interrupt_before_the_run_has_begun_ends_it_with_130(tmp_path):
    with StandIn(seen) as server, HangingStore(mute=True) as store:
        environment = {**server.environment(), "AWS_ENDPOINT_URL_S3": store.url}
        with LiveRun(environment, tmp_path, output="s3://bucket/x") as run:
            assert store.asked.wait(30), run.said
            begin = time.monotonic()
            interrupt(run)
            assert run.wait(30) == 130, run.said
            assert time.monotonic() - begin < AT_ONCE_S
    assert "Traceback" not in run.said
