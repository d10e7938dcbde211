"""Reads sampled frames and the sound of one video: what `ryla migrate compare` judges.

    python video_frames.py FILE      (`-` for stdin)

Standard output is one line of JSON (see `Header`), then the frames (8-bit RGB, row by row, one after the other), then the sound
(32-bit little-endian floats, channel after channel). Errors are one line on standard error, told apart by the exit status:
3, the file is no video that can be decoded; 4, it cannot be decoded here (PyAV is missing, or a limit was reached).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

UNDECODABLE = 3
NOT_HERE = 4

#: Containers that are opened. Playlists and the like are not: they name other files and addresses, which would be read.
CONTAINERS = "mov,mp4,matroska,webm,avi"

#: Pixels of one frame from which a video is refused; 8K has 33 million, and a decoder keeps up to 16 frames.
MAXIMUM_PIXELS = 64 * 1024 * 1024

#: Samples of all channels together from which the sound is left out: 128 MiB, six minutes of 48 kHz stereo.
MAXIMUM_SAMPLES = 32 * 1024 * 1024

#: Bytes of address space: what a hostile file may take at most.
MAXIMUM_MEMORY = 4 * 1024**3


class Undecodable(Exception):
    """The file is no video, or a broken one."""


class NotHere(Exception):
    """The file may be a video, but it is not decoded here."""


@dataclass(frozen=True)
class Limits:
    """`frames` and `pixels` (of the longer side) of what is given back, `seconds` that it may take."""

    frames: int = 16
    pixels: int = 512
    seconds: float = 60.0


@dataclass(frozen=True)
class SampledFrames:
    """The sampled frames: size in pixels, and seconds from the first frame."""

    width: int
    height: int
    seconds: list[float]


@dataclass(frozen=True)
class Sound:
    """The sound: `samples` of each channel."""

    sample_rate: int
    channels: int
    samples: int


@dataclass(frozen=True)
class Header:
    """Facts of the video; `seconds` from its first frame to the end of its last, `frame_rate` on average (0: not told)."""

    codec: str
    width: int
    height: int
    seconds: float
    frame_rate: float
    frame_count: int
    has_audio: bool
    frames: SampledFrames
    sound: Sound | None


@dataclass(frozen=True)
class Video:
    """A video as far as it was read; `frames` are RGB, `sound` is planar."""

    header: Header
    frames: list[bytes]
    sound: bytes


class Deadline:
    """Ends the work when the time is up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """:raises NotHere: when the time is up."""
        if time.monotonic() > self._end:
            raise NotHere(f"Decoding took longer than {self._seconds:g} s.")


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` things, evenly spaced, the first and the last among them; all where there are no more."""
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [0]
    return [round(at * (count - 1) / (wanted - 1)) for at in range(wanted)]


def read_video(file: BinaryIO, limits: Limits | None = None) -> Video:
    """Reads the facts, the sampled frames and the sound.

    :param file: the whole file; it must be seekable.
    :raises Undecodable: for what is no video, or a broken one.
    :raises NotHere: without PyAV, for frames that are too large, and when the time is up.
    """
    limits = limits or Limits()
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise NotHere(f"PyAV cannot be loaded ({error}).") from error
    deadline = Deadline(limits.seconds)
    try:
        options = {"format_whitelist": CONTAINERS}
        with av.open(file, "r", options=options, metadata_errors="replace") as container:
            return _read(container, limits, deadline)
    except FFmpegError as error:
        raise Undecodable(f"It cannot be decoded: {error.strerror}.") from error
    except MemoryError as error:
        raise NotHere(f"It needs more than {MAXIMUM_MEMORY >> 30} GiB of memory.") from error


def _read(container: InputContainer, limits: Limits, deadline: Deadline) -> Video:
    if not container.streams.video:
        raise Undecodable("It has no video.")
    stream = container.streams.video[0]
    if _has_no_decoder(stream):
        raise Undecodable("Its codec is not known.")
    if stream.width * stream.height > MAXIMUM_PIXELS:
        raise NotHere(f"Its frames are too large: {stream.width} x {stream.height} pixels.")
    index = _index(container, stream, deadline)
    frames: list[bytes] = []
    times: list[float] = []
    width = height = 0
    for frame in _frames_at(container, stream, index, limits.frames, deadline):
        # All frames get the size of the first one, as a player shows them.
        if not frames:
            width, height = _fitting(frame.width, frame.height, limits.pixels)
        frames.append(_rgb(frame, width, height))
        times.append(round(float(((frame.pts or 0) - index.times[0]) * index.time_base), 6))
    sound, samples = _sound(container, deadline)
    rate = stream.average_rate or stream.guessed_rate
    header = Header(
        codec=stream.codec_context.name,
        width=stream.width,
        height=stream.height,
        seconds=round(float((index.end - index.times[0]) * index.time_base), 6),
        frame_rate=round(float(rate or 0), 3),
        frame_count=len(index.times),
        has_audio=len(container.streams.audio) > 0,
        frames=SampledFrames(width, height, times),
        sound=sound,
    )
    return Video(header, frames, samples)


def _has_no_decoder(stream: VideoStream | AudioStream) -> bool:
    # PyAV's stubs do not tell of it.
    return getattr(stream, "codec_context", None) is None


@dataclass(frozen=True)
class _Index:
    """Presentation times of all frames and of the key frames, in order, in units of `time_base` seconds."""

    times: list[int]
    keys: list[int]
    end: int
    time_base: float


def _index(container: InputContainer, stream: VideoStream, deadline: Deadline) -> _Index:
    """Reads the packets without decoding them: not every container says how many frames it holds."""
    times: list[int] = []
    keys: list[int] = []
    end = 0
    for packet in container.demux(stream):
        deadline.check()
        at = packet.pts if packet.pts is not None else packet.dts
        if packet.size == 0 or packet.is_discard or at is None:
            continue
        times.append(at)
        end = max(end, at + (packet.duration or 0))
        if packet.is_keyframe:
            keys.append(at)
    if not times or stream.time_base is None:
        raise Undecodable("It has no frames.")
    return _Index(sorted(times), sorted(keys), end, float(stream.time_base))


def _frames_at(
    container: InputContainer, stream: VideoStream, index: _Index, wanted: int, deadline: Deadline
) -> Iterator[VideoFrame]:
    """The wanted frames, one after the other: whole ones are large. It seeks only where a key frame lies between two of them, so none is decoded twice."""
    frames = None
    frame: VideoFrame | None = None
    for place in evenly_spaced(len(index.times), wanted):
        target = index.times[place]
        key = _key_before(index, target)
        if frames is None or frame is None or frame.pts is None or (key is not None and frame.pts < key):
            container.seek(index.times[0] if key is None else key, stream=stream)
            frames, frame = container.decode(stream), None
        while frame is None or frame.pts is None or frame.pts < target:
            deadline.check()
            following = next(frames, None)
            if following is None:
                break
            frame = following
        # Packets of VP8 need not be shown: the frame before such a last one is the last.
        if frame is None:
            raise Undecodable(
                f"The frame at {(target - index.times[0]) * index.time_base:.2f} s cannot be decoded."
            )
        yield frame


def _key_before(index: _Index, target: int) -> int | None:
    at = bisect_right(index.keys, target)
    return index.keys[at - 1] if at > 0 else None


def _fitting(width: int, height: int, pixels: int) -> tuple[int, int]:
    scale = min(1.0, pixels / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _rgb(frame: VideoFrame, width: int, height: int) -> bytes:
    """Red, green, blue, without the padding that FFmpeg has at the end of rows."""
    plane = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").planes[0]
    rows = memoryview(bytes(plane))
    return b"".join(rows[at : at + width * 3] for at in range(0, height * plane.line_size, plane.line_size))


def _sound(container: InputContainer, deadline: Deadline) -> tuple[Sound | None, bytes]:
    """The first sound track; nothing where there is none, or a long one."""
    import av

    if not container.streams.audio or _has_no_decoder(container.streams.audio[0]):
        return None, b""

    stream = container.streams.audio[0]
    channels = stream.codec_context.channels
    planes = [bytearray() for _ in range(channels)]
    resampler = av.AudioResampler(format="fltp", layout=stream.codec_context.layout, rate=stream.sample_rate)
    container.seek(0)
    for frame in container.decode(stream):
        deadline.check()
        for part in resampler.resample(frame):
            _append(part, planes)
        if sum(len(plane) for plane in planes) > MAXIMUM_SAMPLES * 4:
            return None, b""
    for part in resampler.resample(None):
        _append(part, planes)
    samples = b"".join(_little_endian(plane) for plane in planes)
    return Sound(stream.sample_rate, channels, len(planes[0]) // 4), samples


def _append(frame: av.AudioFrame, planes: list[bytearray]) -> None:
    for plane, samples in zip(planes, frame.planes, strict=True):
        plane += memoryview(bytes(samples))[: frame.samples * 4]


def _little_endian(samples: bytearray) -> bytes:
    if sys.byteorder == "little":
        return bytes(samples)
    swapped = array("f", bytes(samples))
    swapped.byteswap()
    return swapped.tobytes()


def write_video(video: Video, out: BinaryIO) -> None:
    """Writes the header, the frames and the sound."""
    out.write(json.dumps(asdict(video.header)).encode() + b"\n")
    for frame in video.frames:
        out.write(frame)
    out.write(video.sound)
    out.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Sampled frames and the sound of one video, on standard output."
    )
    parser.add_argument("file", help="a video (MP4, MOV, WebM, Matroska, AVI); - for standard input")
    parser.add_argument("--frames", type=int, default=16, help="frames at most, evenly spaced (16)")
    parser.add_argument(
        "--pixels", type=int, default=512, help="pixels of a frame's longer side at most (512)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds that it may take (60)")
    given = parser.parse_args(arguments)
    if given.frames < 1 or given.pixels < 1 or given.seconds <= 0:
        parser.error("--frames and --pixels are 1 or more, --seconds is above 0")
    try:
        data = sys.stdin.buffer.read() if given.file == "-" else _content(given.file)
        video = read_video(io.BytesIO(data), Limits(given.frames, given.pixels, given.seconds))
    except Undecodable as error:
        print(error, file=sys.stderr)
        return UNDECODABLE
    except NotHere as error:
        print(error, file=sys.stderr)
        return NOT_HERE
    write_video(video, sys.stdout.buffer)
    return 0


def _content(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise NotHere(f"{file} cannot be read: {error.strerror}.") from error


def _limit_memory() -> None:
    # macOS and Windows have no such limit.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAXIMUM_MEMORY, MAXIMUM_MEMORY))


if __name__ == "__main__":
    _limit_memory()
    # Ended in silence by a reader that has seen enough, such as `head`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
