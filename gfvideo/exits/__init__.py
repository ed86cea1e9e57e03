"""Early exit: confidence, thresholds, replay, and the runtime that really skips. It needs torch alone."""

from .calibration import Calibration, Costs, Setting, calibrate_steps, calibrate_stream
from .confidence import (
    CRITERIA,
    STATE_CRITERIA,
    confidence,
    fit_temperature,
    known_criterion,
    register_criterion,
    state_score,
)
from .file import ExitsFileError, read_exits, write_exits
from .replay import (
    ExitTable,
    Replay,
    exit_positions,
    replay,
    replay_clips,
    replay_stream,
    step_table,
    stream_table,
)
from .rules import Decision, ExitRule, StepExits, StreamExits
from .runtime import ClipExit, ClipTrace, StreamExit, record_clips, run_clips, run_stream
from .thresholds import GEOMETRIC_RATIOS, Frontier, direct_search, geometric_fractions, geometric_thresholds

__all__ = [
    'CRITERIA',
    'STATE_CRITERIA',
    'Calibration',
    'ClipExit',
    'ClipTrace',
    'Costs',
    'Decision',
    'ExitRule',
    'ExitTable',
    'ExitsFileError',
    'Frontier',
    'GEOMETRIC_RATIOS',
    'Replay',
    'Setting',
    'StepExits',
    'StreamExit',
    'StreamExits',
    'calibrate_steps',
    'calibrate_stream',
    'confidence',
    'direct_search',
    'exit_positions',
    'fit_temperature',
    'geometric_fractions',
    'geometric_thresholds',
    'known_criterion',
    'read_exits',
    'record_clips',
    'register_criterion',
    'replay',
    'replay_clips',
    'replay_stream',
    'run_clips',
    'run_stream',
    'state_score',
    'step_table',
    'stream_table',
    'write_exits',
]
