"""Videos that PyAV itself makes, read by the program."""

import io
import json
import math
import subprocess
import sys
from array import array
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
import video_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from video_frames import Limits, NotHere, Undecodable, Video, evenly_spaced, read_video

PROGRAM = Path(video_frames.__file__)


def video_file(
    codec: str = "libx264",
    container: str = "mp4",
    size: tuple[int, int] = (96, 64),
    frames: int = 40,
    rate: int = 20,
    bright: int | None = None,
    tone: float | None = None,
    **options: str,
) -> bytes:
    """A video whose frame n is grey 40 + 4n; frame `bright` is white. `tone` is a sine in hertz."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = 12
        sound = (
            None
            if tone is None
            else file.add_stream("aac" if container == "mp4" else "libopus", rate=48_000, layout="mono")
        )
        for n in range(frames):
            frame = av.VideoFrame(*size, "rgb24")
            grey = 255 if n == bright else 40 + 4 * n
            plane = frame.planes[0]
            plane.update(bytes([grey]) * plane.buffer_size)
            frame.pts, frame.time_base = n, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None and tone is not None:
            for frame in tone_frames(tone, frames / rate):
                file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return out.getvalue()


def tone_frames(hertz: float, seconds: float) -> list[av.AudioFrame]:
    made = []
    for at in range(0, int(seconds * 48_000), 960):
        samples = array("f", (0.5 * math.sin(2 * math.pi * hertz * (at + n) / 48_000) for n in range(960)))
        frame = av.AudioFrame(format="fltp", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        made.append(frame)
    return made


def read(data: bytes, limits: Limits | None = None) -> Video:
    return read_video(io.BytesIO(data), limits)


def greys(video: Video) -> list[float]:
    return [sum(frame) / len(frame) for frame in video.frames]


@pytest.mark.parametrize(
    ("codec", "container", "name"),
    [
        ("mpeg4", "mp4", "mpeg4"),
        ("libx264", "mp4", "h264"),
        ("libx264", "mov", "h264"),
        ("libvpx-vp9", "webm", "vp9"),
        ("libvpx", "webm", "vp8"),
        ("libsvtav1", "mp4", "av1"),
    ],
)
def test_facts_and_frames_are_those_that_were_written(codec: str, container: str, name: str) -> None:
    video = read(video_file(codec, container))
    header = video.header
    assert (name in header.codec) or header.codec == "libdav1d"
    assert (header.width, header.height, header.frame_count, header.has_audio) == (96, 64, 40, False)
    assert header.frame_rate == pytest.approx(20, abs=0.01)
    assert header.seconds == pytest.approx(2, abs=0.051)
    wanted = evenly_spaced(40, 16)
    assert header.frames.seconds == pytest.approx([n / 20 for n in wanted], abs=0.002)
    assert greys(video) == pytest.approx([40 + 4 * n for n in wanted], abs=5)


def test_equal_videos_give_equal_frames_and_one_frame_that_differs_is_that_one() -> None:
    one, again, other = read(video_file()), read(video_file()), read(video_file(bright=wanted_frame(5)))
    assert one == again
    differing = [n for n, (a, b) in enumerate(zip(greys(one), greys(other), strict=True)) if abs(a - b) > 20]
    assert differing == [5]


def wanted_frame(nth: int) -> int:
    return evenly_spaced(40, 16)[nth]


def test_frames_behind_seeks_are_those_of_a_whole_decoding() -> None:
    data = video_file(frames=50, bf="3", refs="3")
    video = read(data, Limits(frames=3))
    with av.open(io.BytesIO(data)) as file:
        whole = [video_frames._rgb(frame, 96, 64) for frame in file.decode(video=0)]
    assert video.frames == [whole[n] for n in evenly_spaced(50, 3)]


def test_large_frames_are_scaled_and_rows_have_no_padding() -> None:
    video = read(video_file("mpeg4", size=(700, 350), frames=2))
    assert (video.header.width, video.header.height) == (700, 350)
    assert (video.header.frames.width, video.header.frames.height) == (512, 256)
    odd = read(video_file("mpeg4", size=(98, 50), frames=2))
    assert [len(frame) for frame in odd.frames] == [98 * 50 * 3] * 2


def test_sound_is_given_as_samples_of_each_channel() -> None:
    video = read(video_file(tone=1_000))
    sound = video.header.sound
    assert sound is not None
    assert video.header.has_audio
    assert (sound.sample_rate, sound.channels) == (48_000, 1)
    samples = array("f", video.sound)
    assert len(samples) == sound.samples == pytest.approx(96_000, abs=3_000)
    crossings = sum(a < 0 <= b for a, b in pairwise(samples))
    assert crossings == pytest.approx(2_000, rel=0.03)


def test_long_sound_is_left_out_and_said_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames, "MAXIMUM_SAMPLES", 1_000)
    header = read(video_file(tone=1_000)).header
    assert header.has_audio
    assert header.sound is None


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.9])
def test_an_mp4_that_is_cut_short_cannot_be_decoded(part: float) -> None:
    data = video_file()
    with pytest.raises(Undecodable):
        read(data[: int(len(data) * part)])


def test_a_webm_that_is_cut_short_has_fewer_frames_or_cannot_be_decoded() -> None:
    data = video_file("libvpx-vp9", "webm")
    assert read(data[: len(data) * 2 // 3]).header.frame_count < 40


@pytest.mark.parametrize("data", [b"", b"no video", b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3"])
def test_what_is_no_video_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable):
        read(data)


def test_other_containers_are_not_opened() -> None:
    with pytest.raises(Undecodable):
        read(video_file(container="mpegts"))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile clip.ts\n",
    ],
)
def test_playlists_are_not_followed(playlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.ts").write_bytes(video_file(container="mpegts"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Undecodable):
        read(playlist.encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 3_000))
def test_a_damaged_video_is_read_or_refused(damage: bytes, at: int) -> None:
    data = bytearray(SMALL)
    at %= len(data)
    data[at : at + len(damage)] = damage
    try:
        header = read(bytes(data), Limits(seconds=20)).header
    except (Undecodable, NotHere):
        return
    assert header.frame_count > 0


SMALL = video_file("mpeg4", frames=4, size=(32, 32))


def test_limits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotHere, match="longer than 1e-09 s"):
        read(SMALL, Limits(seconds=1e-9))
    monkeypatch.setattr(video_frames, "MAXIMUM_PIXELS", 100)
    with pytest.raises(NotHere, match="32 x 32"):
        read(SMALL)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NotHere, match="PyAV"):
        read(SMALL)


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_sampled_frames_are_evenly_spaced(count: int, wanted: int) -> None:
    places = evenly_spaced(count, wanted)
    assert len(places) == len(set(places)) == min(count, wanted)
    assert places[0] == 0
    if wanted > 1:
        assert places[-1] == count - 1
        gaps = [b - a for a, b in pairwise(places)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def run(arguments: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", PROGRAM, *arguments], input=data, capture_output=True, check=False
    )


def test_the_program_writes_a_line_of_json_then_frames(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(SMALL)
    for done in [
        run([str(tmp_path / "a.mp4"), "--frames", "2", "--pixels", "16"]),
        run(["-", "--frames", "2", "--pixels", "16"], SMALL),
    ]:
        assert done.returncode == 0, done.stderr
        line, rest = done.stdout.split(b"\n", 1)
        assert json.loads(line)["frames"] == {"width": 16, "height": 16, "seconds": [0, 0.15]}
        assert len(rest) == 2 * 16 * 16 * 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-"], video_frames.UNDECODABLE, b"It cannot be decoded: "),
        (["nowhere.mp4"], video_frames.NOT_HERE, b"nowhere.mp4 cannot be read"),
        (["-", "--frames", "0"], 2, b"--frames"),
    ],
)
def test_the_program_says_what_is_wrong_in_a_line(arguments: list[str], status: int, message: bytes) -> None:
    done = run(arguments, b"no video")
    assert (done.returncode, done.stdout) == (status, b"")
    assert message in done.stderr.splitlines()[-1]


def test_the_program_ends_in_silence_when_nobody_reads_on() -> None:
    data = video_file("mpeg4", size=(512, 512), frames=2)
    command = [sys.executable, "-I", PROGRAM, "-"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1) as program:
        assert program.stdin
        assert program.stdout
        assert program.stderr
        program.stdout.close()
        program.stdin.write(data)
        program.stdin.close()
        assert program.stderr.read() == b""
