"""Frames of a video file or of a folder of images, at given indices, behind one protocol.

The same index gives the same picture from every reader, turned and mirrored as the file says and cut to the
size it says, or there is a :class:`VideoError`; nothing is ever substituted. On 8-bit video the pictures are
equal bit for bit, interlaced ones too. The readers upsample the colour of 10-bit video differently: there,
pictures of one frame differ by up to 5 of 255 on average on a saturated test chart, and less on natural
pictures.

====================  ========================================================================================
``'pyav'``            reads what is in a container of its own, also with damaged packets or without times
``'auto'``            PyAV: it reads most, and skips the pictures of H.264 that no wanted one is decoded from
``'torchcodec'``      optional, needs FFmpeg's libraries; refuses what its packets, or its first picture, tell
                      that PyAV alone reads
``'decord'``          refuses the same and some more
====================  ========================================================================================

=================================================  ==========  ==========  ==========
a file                                             pyav        torchcodec  decord
=================================================  ==========  ==========  ==========
damaged packets, no times, a codec that packs      yes         refuses     refuses
several frames or none in a packet (AVI, MPEG-TS)
pictures hidden by an edit list                    yes         refuses     refuses
open groups of pictures                            yes         refuses     refuses
turned by quarters                                 yes         yes         MP4 and MOV
mirrored                                           yes         refuses     refuses
turned by less than a quarter, sheared             refuses     refuses     refuses
turned by messages of H.264 or HEVC                refuses     refuses     refuses
a left edge to be cut off (H.264, HEVC)            yes         refuses     refuses
a list of other files (concat, HLS, DASH, SDP)     refuses     refuses     refuses
AV1, odd heights, a header that counts too many    yes         yes         refuses
=================================================  ==========  ==========  ==========

How a container alone crops pictures (Matroska's PixelCrop, the clean aperture of MP4) no reader heeds.
"""

from ..video_index import VideoError
from .array import ArrayReader
from .base import IndexedReader, Make, Reader
from .decord import DecordReader
from .folder import FolderReader
from .image import ImageReader, is_image, read_image
from .memory import BytesReader, Decoder, DecoderReader, HeldVideo, channels_last, open_held
from .opening import READERS, open_video
from .pyav import PyAVReader
from .torchcodec import TorchCodecReader

__all__ = [
    'READERS',
    'ArrayReader',
    'BytesReader',
    'Decoder',
    'DecoderReader',
    'DecordReader',
    'FolderReader',
    'HeldVideo',
    'ImageReader',
    'IndexedReader',
    'Make',
    'PyAVReader',
    'Reader',
    'TorchCodecReader',
    'VideoError',
    'channels_last',
    'is_image',
    'open_held',
    'open_video',
    'read_image',
]
