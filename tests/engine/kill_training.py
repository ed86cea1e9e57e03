"""Train a config, kill the process at random moments and resume it, until it is done; a script of
test_killed_runs.py.

    python kill_training.py KILLS SEED CONFIG [arguments of tools/train.py]

Libraries are imported once; every start is a fork of the same process, as fresh as one of its own and ten
times sooner there. A run is killed, with its workers, a random moment after a random number of iterations.
The last line of the output says how often it was killed, and in which stages.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

import gfvideo.apis  # noqa: F401  what a training imports
import gfvideo.engine  # noqa: F401

TRAIN = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'


def start(arguments: list[str]) -> tuple[int, int]:
    """Process id of a training in a process group of its own, and where its output can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.setsid()
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    status = 1
    try:
        spec = importlib.util.spec_from_file_location('train_tool', TRAIN)
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        tool.main(arguments)
        status = 0
    except BaseException:  # this process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(arguments: list[str], iterations: int | None, delay: float) -> tuple[int, str]:
    """Let it come ``iterations`` far (None: to its end) and kill it; its exit status (negative: the signal)
    and what it printed."""
    child, reading = start(arguments)
    done, lines = 0, []
    with os.fdopen(reading, errors='replace') as output:
        for line in output:
            lines.append(line)
            done += 'Epoch(train)' in line
            if iterations is not None and done >= iterations:
                time.sleep(delay)
                break
        if iterations is not None and done >= iterations:
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    try:
        os.killpg(child, signal.SIGKILL)  # workers that outlive their run
    except ProcessLookupError:
        pass
    return os.waitstatus_to_exitcode(status), ''.join(lines)


def main() -> None:
    kills, seed, *arguments = sys.argv[1:]
    torch.set_num_threads(1)
    draw, killed = random.Random(int(seed)), []
    for _ in range(int(kills)):
        status, text = run(
            [*arguments, *(['--resume'] if killed else [])], draw.randint(1, 3), draw.random() * 0.3
        )
        if status == 0:
            break
        if status != -signal.SIGKILL:
            sys.exit(f'after {len(killed)} kills it ended with {status}:\n{text}')
        killed.append(
            (
                re.findall(r'to be saved to .*/(\w+)\.|Checkpoints will be saved to .*/(\w+)\.', text)
                or [('', '?')]
            )[-1][1]
        )
    else:
        status, text = run([*arguments, '--resume'], None, 0)
        if status:
            sys.exit(f'after {len(killed)} kills it ended with {status}:\n{text}')
    print(f'killed {len(killed)} times: {" ".join(killed)}')


if __name__ == '__main__':
    main()
