"""Many trainings of one experiment: each a child process with its folder and its log, some at a time, that go
on where they were when the same command is given again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..files import write_atomically
from ..progress import StatusLine

__all__ = ['Training', 'TrainingError', 'train_all']


class TrainingError(RuntimeError):
    """A training ended without a result."""


@dataclass
class Training:
    """A network to train.

    Attributes:
        name: told while it runs; of one experiment no two have the same.
        tool: path of the tool that trains, ``tools/train.py``.
        config: path of its config.
        folder: where logs and checkpoints go; what the process prints goes to ``<folder>.log``.
        arguments: more arguments of the tool.
        after: name of the training whose checkpoint it starts from; None if it needs none.
        process, status: of the run.
        stage: the one it is in, as far as its log has told; '' before.
    """

    name: str
    tool: Path
    config: Path
    folder: Path
    arguments: list[str] = field(default_factory=list)
    after: str | None = None
    process: subprocess.Popen | None = None
    status: str = 'waiting'
    stage: str = ''

    @property
    def log(self) -> Path:
        return self.folder.with_name(self.folder.name + '.log')

    @property
    def record(self) -> Path:
        """Holds the command and whether it is over, so that another command trains anew."""
        return self.folder / 'training.json'

    def command(self) -> list[str]:
        return [str(self.tool), str(self.config), '--work-dir', str(self.folder), *self.arguments]

    def recorded(self) -> str | None:
        """'started' or 'done' if this very command was; else None."""
        if not self.record.is_file():
            return None
        written = json.loads(self.record.read_text())
        return written['status'] if written['command'] == self.command() else None

    def _write(self, status: str) -> None:
        content = dict(command=self.command(), status=status)
        write_atomically(self.record, json.dumps(content, indent=1).encode())

    def start(self, env: Mapping[str, str], cwd: Path | None = None) -> None:
        """Start the process; it goes on where it was, if this very command was cut off."""
        more = ['--resume'] if self.recorded() else []
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write('started')
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command(), *more],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
            )
        self.status = 'running'

    def finish(self) -> None:
        """Check how the process ended.

        Raises:
            TrainingError: with the end of the log, if it failed.
        """
        assert self.process is not None  # started
        if self.process.returncode:
            raise TrainingError(
                f'training {self.name} failed with exit status {self.process.returncode}; the end of'
                f' {self.log}:\n' + '\n'.join(self.log.read_text(errors='replace').splitlines()[-15:])
            )
        self._write('done')
        self.status = 'done'

    def read_status(self) -> str:
        """Stage, epoch, loss and validation accuracy, from the end of the log."""
        if not self.log.is_file():
            return self.status
        with self.log.open('rb') as file:
            file.seek(max(0, self.log.stat().st_size - 20000))
            text = file.read().decode(errors='replace')
        stages = re.findall(r'stage (\d+ of \d+: \w+)', text)
        self.stage = stages[-1] if stages else self.stage  # told once, while what is read is the end
        steps = re.findall(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\].*?(?:  (loss: [\d.]+)|$)', text)
        accuracies = re.findall(r'Epoch\(val\).*?top1: ([\d.]+)', text)
        parts = [f'stage {self.stage},'] if self.stage else []
        if steps:
            epoch, done, of, loss = steps[-1]
            parts.append(f'epoch {epoch} {int(done) * 100 // int(of)} %' + (f' {loss}' if loss else ''))
        if accuracies:
            parts.append(f'val top-1 {100 * float(accuracies[-1]):.0f} %')
        return ' '.join(parts) or 'starting'


def train_all(
    trainings: Sequence[Training], jobs: int, env: Mapping[str, str], cwd: Path | None = None
) -> None:
    """Train, ``jobs`` at a time, and tell how far they are; what is done already is left out.

    Where this is interrupted or a training fails, the running ones are ended.

    Args:
        trainings: in the order in which they start, as soon as the ones that they come after are done.
        jobs: processes at a time, 1 or more.
        env: environment of the processes.
        cwd: where they run; None for here.

    Raises:
        TrainingError: if one failed.
        ValueError: if one waits for a training that is not among them, or ``jobs`` is none.
    """
    if jobs < 1:
        raise ValueError(f'jobs={jobs} must be 1 or more')
    names = {training.name for training in trainings}
    for training in trainings:
        if training.after is not None and training.after not in names:
            raise ValueError(f'{training.name} must come after one that is trained, not {training.after!r}')
    began = time.monotonic()
    for training in trainings:
        training.status = 'done' if training.recorded() == 'done' else 'waiting'
    try:
        with StatusLine() as line:
            while any(training.status != 'done' for training in trainings):
                for training in trainings:
                    if training.status == 'waiting' and _may_start(training, trainings, jobs):
                        training.start(env, cwd)
                    elif (
                        training.status == 'running'
                        and training.process is not None
                        and training.process.poll() is not None
                    ):
                        training.finish()
                        passed = time.monotonic() - began
                        line.say(f'[{passed:4.0f} s] {training.name}: trained, {training.read_status()}')
                running = [f'{one.name}: {one.read_status()}' for one in trainings if one.status == 'running']
                if running:
                    line.show(f'[{time.monotonic() - began:4.0f} s] {" | ".join(running)}')
                    time.sleep(0.5)
    finally:
        for training in trainings:
            if training.process is not None and training.process.poll() is None:
                training.process.terminate()
                training.process.wait(20)


def _may_start(training: Training, trainings: Sequence[Training], jobs: int) -> bool:
    """Whether a place is free for it, and the one that it starts from is trained."""
    before = [other for other in trainings if other.name == training.after]
    running = sum(other.status == 'running' for other in trainings)
    return running < jobs and all(other.status == 'done' for other in before)
