"""What a run's folder holds: logs of its stages, results of tools, exits and predictions, found by what they
are and not by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine.stages import read_record
from ..evaluation import PredictionsError, read_predictions
from ..exits import Calibration, ExitsFileError, read_exits

__all__ = ['RunFolder', 'StageLog', 'read_run']

Row = dict[str, Any]
LARGEST_RESULT = 64 * 2**20
"""Bytes; a larger .json file is no result of a tool."""


@dataclass(frozen=True)
class StageLog:
    """The scalars that mmengine's loggers wrote of one stage.

    Attributes:
        name: of the stage; '' in a run without stages.
        train: rows with ``iter`` (from 1), ``epoch``, ``loss`` and the like, in order.
        validated: rows of validations, whose ``iter`` is that of the last training row before.
    """

    name: str
    train: list[Row]
    validated: list[Row]

    @property
    def iterations(self) -> int:
        """Up to the last logged one."""
        return max((int(row['iter']) for row in self.train), default=0)


@dataclass
class RunFolder:
    """What was found in a run's folder.

    Attributes:
        name: what to call it.
        folder: where it is.
        stages: in the order they were trained in.
        tests: contents of ``test_results.json``, by file.
        exits: of ``tools/calibrate.py``, by file.
        controls: of ``controls.py --out``, by file.
        curves: of ``budget_curve.py``, by file.
        dumps: predictions of ``tools/test.py --dump``, one dict a clip, by file.
        checkpoint: the last one of the last stage, or the one that was tested; None if neither is there.
        faults: files that could not be read, and why.
    """

    name: str
    folder: Path
    stages: list[StageLog] = field(default_factory=list)
    tests: dict[Path, Row] = field(default_factory=dict)
    exits: dict[Path, Calibration] = field(default_factory=dict)
    controls: dict[Path, Row] = field(default_factory=dict)
    curves: dict[Path, Row] = field(default_factory=dict)
    dumps: dict[Path, list[Row]] = field(default_factory=dict)
    checkpoint: Path | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def config(self) -> str:
        """The config file as it was named when the run was tested, else the copy in its folder, else
        'CONFIG'."""
        named = [str(one['config']) for one in (*self.tests.values(), *self.controls.values())]
        named += [str(one.source['config']) for one in self.exits.values() if one.source.get('config')]
        if self.stages:  # mmengine leaves a copy in the folder of a stage
            named += map(str, sorted((self.folder / self.stages[-1].name).glob('*.py')))
        return next((one for one in named if one != 'None'), 'CONFIG')


def read_run(folder: str | Path, name: str | None = None) -> RunFolder:
    """Read a work dir of ``tools/train.py`` and whatever tools wrote below it.

    Args:
        folder: of the run: stages in folders below it, or logs directly in it.
        name: what to call it; None for the folder's own name.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if nothing in it is of a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'no run at {folder}: give the --work-dir of tools/train.py')
    run = RunFolder(name or folder.resolve().name, folder, _stages(folder))
    for path in sorted(folder.rglob('*.json')):
        if 'vis_data' not in path.parts and path.stat().st_size <= LARGEST_RESULT:
            _take_result(run, path)
    for path in sorted(folder.rglob('*.pkl')):
        try:
            run.dumps[path] = read_predictions(path)
        except PredictionsError as error:
            run.faults.append(str(error))
    run.checkpoint = _checkpoint(run)
    if not (run.stages or run.tests or run.exits or run.controls or run.curves or run.dumps):
        raise ValueError(
            f'{folder} holds no log of a training, no test_results.json, exits.json or predictions: give the'
            ' --work-dir of tools/train.py'
        )
    return run


def _take_result(run: RunFolder, path: Path) -> None:
    """Keep a .json file where it belongs; others are none of ours."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError):
        return
    keys = set(content) if isinstance(content, dict) else set()
    if {'metrics', 'checkpoint', 'dataset'} <= keys and isinstance(content['metrics'], dict):
        run.tests[path] = content
    elif {'rows', 'draws', 'data'} <= keys:
        run.controls[path] = content
    elif {'curves', 'fit', 'judge'} <= keys:
        run.curves[path] = content
    elif {'format', 'sweep', 'kind'} <= keys:
        try:
            run.exits[path] = read_exits(path)
        except ExitsFileError as error:
            run.faults.append(str(error))


# ----------------------------------------------------------------------------------------------------- stages


def _stages(folder: Path) -> list[StageLog]:
    """Each folder with logs of a training, the first begun first."""
    logs: dict[Path, list[Path]] = {}
    for file in folder.rglob('vis_data/scalars.json'):
        logs.setdefault(file.parents[2], []).append(file)
    # the folder above vis_data is named by the second its run began in
    begun = sorted(logs.items(), key=lambda item: (min(file.parents[1].name for file in item[1]), item[0]))
    stages = []
    for place, files in begun:
        name = '' if place == folder else place.relative_to(folder).as_posix()
        stage = _joined(name, sorted(files, key=lambda file: file.parents[1].name))
        if stage.train:  # a test logs, too
            stages.append(stage)
    return stages


def _joined(name: str, files: list[Path]) -> StageLog:
    """The logs of a stage that was cut off and gone on with: what a later one has again, it has right."""
    train: list[Row] = []
    validated: list[Row] = []
    for file in files:
        first = True
        for row in _rows(file):
            if 'iter' in row and 'loss' in row:
                if first:
                    train = [one for one in train if one['iter'] < row['iter']]
                    validated = [one for one in validated if one['iter'] < row['iter']]
                    first = False
                train.append(row)
            elif 'loss' not in row and 'iter' not in row:
                validated.append(row | dict(iter=train[-1]['iter'] if train else 0))
    return StageLog(name, train, validated)


def _rows(file: Path) -> Iterator[Row]:
    """JSON objects a line; a last line that was cut off is left out."""
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _checkpoint(run: RunFolder) -> Path | None:
    for stage in reversed(run.stages):
        record = read_record(run.folder / stage.name)
        if record is not None and (run.folder / stage.name / record.checkpoint).is_file():
            return run.folder / stage.name / record.checkpoint
    tested = [Path(str(test['checkpoint'])) for test in run.tests.values()]
    return next((path for path in tested if path.is_file()), None)
