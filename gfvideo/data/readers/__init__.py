"""Frames of a video file or of a folder of images, at given indices, behind one protocol.

The same index is the same picture from every reader, turned as the file's rotation tag says, or there is a :class:`VideoError`; nothing
is ever substituted. On 8-bit video the pictures are equal bit for bit. The readers upsample the colour of 10-bit video differently:
there, pictures of one frame differ by up to 4 of 255 on average on a saturated test chart, and less on natural pictures.

====================  ===================================================================================================
``'pyav'``            reads what FFmpeg reads, also files with damaged packets or without times
``'torchcodec'``      optional, needs FFmpeg's libraries; refuses files whose packets are not their frames
``'decord'``          refuses the same, AV1, open groups of pictures (it gives wrong frames) and odd heights (other colours)
====================  ===================================================================================================
"""
from ..video_index import VideoError
from .array import ArrayReader
from .base import IndexedReader, Reader
from .decord import DecordReader
from .folder import FolderReader
from .opening import READERS, open_video
from .pyav import PyAVReader
from .torchcodec import TorchCodecReader

__all__ = ['READERS', 'ArrayReader', 'DecordReader', 'FolderReader', 'IndexedReader', 'PyAVReader', 'Reader', 'TorchCodecReader',
           'VideoError', 'open_video']
