"""The command ``python -m streamproc.standin``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from standin_media import decoded, jpeg, video

from streamproc.standin.__main__ import main


def test_plain_clients_find_it_by_the_printed_environment(tmp_path: Path) -> None:
    file = tmp_path / "cam.mkv"
    file.write_bytes(video())
    command = [sys.executable, "-m", "streamproc.standin", "--stream", f"cam={file}", "--port", "0", "--archive",
               "--idle-seconds", "0.2", "--latency-ms", "0", "--faces", "fixed:0.1,0.2,0.3,0.4"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        variables: dict[str, str] = {}
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                variables[name] = value
            if line.startswith("export AWS_DEFAULT_REGION"):
                break
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            session = boto3.Session()
            endpoint = session.client("kinesisvideo").get_data_endpoint(StreamName="cam", APIName="GET_MEDIA")
            media = session.client("kinesis-video-media", endpoint_url=endpoint["DataEndpoint"])
            answer = media.get_media(StreamName="cam", StartSelector={"StartSelectorType": "EARLIEST"})
            assert decoded(answer["Payload"].read()) == 30
            faces = session.client("rekognition").detect_faces(Image={"Bytes": jpeg()})["FaceDetails"]
            assert len(faces) == 1
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=5)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "DetectFaces 1; at most 1 in flight" in rest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--stream", "cam=/no/such/file.mkv"], "/no/such/file.mkv", id="no file"),
        pytest.param(["--stream", f"cam={__file__}"], "not a video", id="no video"),
        pytest.param(["--stream", "cam"], "NAME=FILE", id="no name"),
        pytest.param(["--faces", "sharp"], "sharp", id="no eyes"),
        pytest.param(["--fault", "explode"], "explode", id="no fault"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["--port", "0", *arguments])
    assert result.exit_code == 1
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_help_needs_neither_codec_nor_picture_library() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from streamproc.standin.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('av', 'cv2', 'boto3', 'numpy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert output.stdout.splitlines()[-1] == "[]"
