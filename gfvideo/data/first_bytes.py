"""What the first bytes of a file tell of how its pictures are shown, read in less time than a frame is
decoded.

PyAV tells a display matrix, and that a left edge is cut off, with a decoded frame alone. The tests here rule
both out for ordinary files; where they cannot, the answer is "maybe", and a frame has to be decoded.
"""

from __future__ import annotations

import io
import re

__all__ = ['may_cut_left', 'may_turn']

PLAIN = b''.join(number.to_bytes(4, 'big') for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
"""The display matrix of a picture that is shown as it is stored."""
MOST = 1 << 24
"""Bytes of a table of contents that are looked through; longer ones are those of many hours."""
HEAD = 1 << 14
"""Bytes at the start of a Matroska file in which its tracks are looked for."""


def may_turn(path: str, content: bytes | None = None) -> bool:
    """Whether an MP4, MOV or Matroska file may have a display matrix other than the plain one.

    Args:
        path: of the file.
        content: all its bytes, where it is not a file of its own.
    """
    with open(path, 'rb') if content is None else io.BytesIO(content) as file:
        start = file.read(HEAD)
        if start[:4] == b'\x1a\x45\xdf\xa3':
            tracks, clusters = start.find(b'\x16\x54\xae\x6b'), start.find(b'\x1f\x43\xb6\x75')
            # the projection of a track
            return not 0 <= tracks < clusters or b'\x76\x70' in start[tracks:clusters]
        moov, at = b'', 0
        while True:
            file.seek(at)
            head = file.read(16)
            if len(head) < 8:
                return not _all_plain(moov)
            size = int.from_bytes(head[:4], 'big')
            size = int.from_bytes(head[8:16], 'big') if size == 1 else size
            if size < 8:  # the last box, of unknown size
                return True
            if head[4:8] == b'moov':
                if moov or size > MOST:
                    return True
                file.seek(at)
                moov = file.read(size)
            at += size


def _all_plain(moov: bytes) -> bool:
    """Whether the film and all its tracks have the plain matrix (ISO 14496-12, 8.2.2 and 8.3.2)."""
    if b'cmov' in moov:  # it is compressed
        return False
    headers = list(re.finditer(b'(mvhd|tkhd)(.)', moov, re.DOTALL))
    # version 1 has three numbers of 8 bytes where others have 4
    places = [
        header.end(1) + (36 if header[1] == b'mvhd' else 40) + 12 * (header[2] == b'\1') for header in headers
    ]
    return len(places) >= 2 and all(moov[at : at + 36] == PLAIN for at in places)


LONG_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


def may_cut_left(codec: str, extradata: bytes) -> bool:
    """Whether a codec's header may say that coded pictures are wider, on the left, than what is shown of
    them."""
    if codec != 'h264':
        return codec == 'hevc'
    # not in MP4's form, or several of them
    if len(extradata) < 9 or extradata[0] != 1 or extradata[5] & 31 != 1:
        return True
    size = int.from_bytes(extradata[6:8], 'big')
    unit = extradata[9 : 8 + size].replace(b'\0\0\3', b'\0\0')
    try:
        return _cuts_left(unit)
    except StopIteration:
        return True


def _cuts_left(unit: bytes) -> bool:
    """The sequence parameter set of H.264 (7.3.2.1.1), read as far as the left edge; True if it holds what is
    rare."""
    bits = (byte >> place & 1 for byte in unit for place in range(7, -1, -1))

    def fixed(count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + next(bits)
        return value

    def varying() -> int:
        """An Exp-Golomb number without sign (9.1); as many bits as one with a sign."""
        zeros = 0
        while not next(bits):
            zeros += 1
        return (1 << zeros) - 1 + fixed(zeros)

    profile = fixed(24) >> 16
    varying()  # its number
    if profile in LONG_PROFILES:
        if varying() == 3:  # 4:4:4
            fixed(1)
        varying(), varying(), fixed(1)  # bits of a sample, lossless
        if fixed(1):  # matrices of scales
            return True
    varying()
    order = varying()
    if order == 0:
        varying()
    elif order == 1:
        return True
    varying(), fixed(1), varying(), varying()  # references, gaps, width, height
    if not fixed(1):  # fields
        fixed(1)
    fixed(1)
    return bool(fixed(1)) and varying() > 0
