"""What to do about the clips that failed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

__all__ = ['REMEDIES', 'report_failures']

logger = logging.getLogger('data_prep')

REMEDIES = {
    'missing': 'no file was found; download these clips, or name the folder that holds them in --videos',
    'ambiguous': (
        'several files could be the clip; keep one, or put it below a folder named as its split or class'
    ),
    'empty': 'the file or folder is empty; download it again',
    'not_a_video': 'the file is no video (an error page saved under its name?); download it again',
    'no_video_stream': 'the file holds sound alone; find another copy, or leave the clip out',
    'truncated': 'the download was cut off; download it again',
    'decode_error': 'the decoder reports damage; download it again, or leave the clip out',
    'missing_frames': 'images are missing from the folder or named in another way; unpack it again',
    'timeout': 'it was not done in time; run the same command again, with a longer --time-limit',
    'killed': (
        'the process that worked on it was killed again and again; run the command again, with fewer'
        ' --workers if memory is short'
    ),
    'unreadable': 'it may not be read; correct its permissions or its name',
    'damaged': 'its bytes changed since it was prepared; run the same command again to make it anew',
    'too_short': 'it has fewer frames than --min-frames; leave it out, or lower --min-frames',
}


def report_failures(failures: Counter, examples: Mapping[str, str], file: object) -> None:
    """Say for each reason how many clips failed, the first of them, and what to do."""
    if not failures:
        logger.info('every listed clip can be used')
        return
    logger.warning('%d clips cannot be used; %s lists each with its reason:', failures.total(), file)
    for reason, count in failures.most_common():
        logger.warning('  %7d %-15s e.g. %s: %s', count, reason, examples[reason], REMEDIES[reason])
