#!/usr/bin/env python
"""Fit early exits of a checkpoint on held-out clips and write them, with all they depend on, to exits.json
beside it.

    python tools/calibrate.py CONFIG CHECKPOINT --split val  # a sweep; an accurate and sure setting is chosen
    python tools/calibrate.py CONFIG CHECKPOINT --split val --budget 0.6  # 0.6 GMACs per clip on average
    # 40 ms per clip on this machine, at batch 1
    python tools/calibrate.py CONFIG CHECKPOINT --split val --budget 40 --unit ms
    python tools/calibrate.py CONFIG CHECKPOINT --split val --accuracy 0.98  # the cheapest setting with 98 %
    python tools/calibrate.py CONFIG CHECKPOINT --split val --stream  # of a causal recognizer: frame by frame

The split must be one that the network has not learned from, and not the one it is judged on. Where there is
only one, fit on a part and test on the other: --fold 0/2 here, tools/test.py --exits ... --fold 1/2 there.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of it, or the work dir of its run')
    parser.add_argument(
        '--split', required=True, metavar='NAME', help='split of the prepared dataset to fit on'
    )
    parser.add_argument('--fold', metavar='K/N', help='only the K-th of N parts of the split, K from 0')
    target = parser.add_mutually_exclusive_group()
    target.add_argument('--budget', type=float, help='mean cost of a clip, in --unit')
    target.add_argument('--accuracy', type=float, help='accuracy to reach, a fraction')
    target.add_argument(
        '--sweep',
        action='store_true',
        help='choose the cheapest setting that is as accurate and sure as any (the default)',
    )
    parser.add_argument(
        '--unit', choices=['gmacs', 'ms'], default='gmacs', help='what budgets are in (default: gmacs)'
    )
    parser.add_argument(
        '--criterion',
        default='max_prob',
        metavar='NAME',
        help=(
            'max_prob (the default), entropy, margin; value, what the policy promises of the next look,'
            ' and its control inverted_value; or one that a module in the custom_imports'
            ' of CONFIG registers'
        ),
    )
    parser.add_argument(
        '--stream', action='store_true', help='exits of streams, look by look and frame by frame'
    )
    parser.add_argument(
        '--levels',
        choices=['both', 'step', 'frame'],
        default='both',
        help='of streams: allow step-level exits, frame-level exits, or both (default)',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='default: exits.json (of streams stream_exits.json) beside the checkpoint',
    )
    parser.add_argument('--batch-size', type=int, default=16, help='clips predicted at a time (default: 16)')
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--runtime',
        choices=['auto', 'eager', 'onnxruntime', 'compile'],
        default='eager',
        help='what computes the looks (default: %(default)s; see docs/performance.md)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        default={},
        help='override config values',
    )
    args = parser.parse_args(arguments)
    if args.levels != 'both' and not args.stream:
        parser.error(f'--levels {args.levels} is a choice for --stream; clips have step-level exits alone')
    args.command = shlex.join(
        ['python', 'tools/calibrate.py', *map(str, sys.argv[1:] if arguments is None else arguments)]
    )
    return args


def calibrate(args: argparse.Namespace) -> Path:
    """Predict the split, fit, write; the path of the file."""
    import torch

    from gfvideo.apis import init_recognizer
    from gfvideo.engine import checkpoint_of, describe_model
    from gfvideo.engine.predictions import SplitPredictions
    from gfvideo.exits import (
        STATE_CRITERIA,
        StepExits,
        calibrate_steps,
        calibrate_stream,
        known_criterion,
        write_exits,
    )

    args.checkpoint = checkpoint_of(args.checkpoint)
    model = init_recognizer(args.config, args.checkpoint, args.device, args.cfg_options, runtime=args.runtime)
    device = next(model.parameters()).device
    known_criterion(args.criterion)
    if args.stream:
        model.stream()  # says at once why this model cannot
    split = SplitPredictions(model, args.split, args.fold, args.batch_size)
    path = Path(
        args.out or Path(args.checkpoint).with_name('stream_exits.json' if args.stream else 'exits.json')
    )
    path.parent.mkdir(parents=True, exist_ok=True)  # now, not after minutes of predicting
    learned = (model.cfg.get('train_dataloader') or {}).get('dataset') or {}
    if learned.get('split') == args.split:
        print(
            f'WARNING: the config trains on split {args.split!r}. A network is surer of clips that it has'
            ' learned from, so exits fitted on them leave too early.',
            file=sys.stderr,
        )
    if model.draws:
        print(
            'WARNING: the looks are drawn at random, other ones every time, so no later run, and no replay,'
            ' repeats these predictions clip by clip.',
            file=sys.stderr,
        )
    machine = (
        torch.cuda.get_device_name(device)
        if device.type == 'cuda'
        else f'{device.type}, threads: {torch.get_num_threads()}'
    )
    machine += '' if args.runtime == 'eager' else f', runtime: {args.runtime}'
    source = dict(
        command=args.command,
        checkpoint=Path(args.checkpoint).name,
        config=args.config,
        model=describe_model(model),
        data=split.meta,
        measured_on=machine,
    )
    if args.stream:
        full = split.trace()
        labels, without = split.labels, full.logits
        result = calibrate_stream(
            lambda exits: split.trace(exits) if exits.asks else full,
            labels,
            split.costs('stream'),
            model.steps,
            args.unit,
            args.criterion,
            dict(source, levels=args.levels),
            levels=args.levels,
        )
        whole = {unit: sum(costs) * full.looks.shape[1] for unit, costs in result.costs.items()}
    else:
        scores = None
        if args.criterion in STATE_CRITERIA:
            step_logits, scores = split.record(StepExits((math.inf,) * model.steps, args.criterion))
        else:
            step_logits = split.step_logits()
        labels, without = split.labels, step_logits[:, -1]
        costs = split.costs('steps')
        result = calibrate_steps(step_logits, labels, costs, args.unit, args.criterion, source, scores=scores)
        whole = {unit: costs[-1] for unit, costs in result.costs.items()}
    accuracy = (without.argmax(1) == labels).double().mean().item()
    try:
        result = result.choose(args.budget, args.accuracy)
    except ValueError:
        print(report(result, accuracy, whole, len(labels)))  # what there is to choose from
        raise
    write_exits(path, result)
    print(report(result, accuracy, whole, len(labels)))
    print(f'written to {path}')
    return path


def report(result: Any, without: float, whole: dict[str, float], clips: int) -> str:
    """Lines of text: the sweep, thinned, and the chosen setting; accuracies are those on the clips that were
    fitted on."""
    name = 'frame' if result.kind == 'stream' else 'step'
    chosen = result.chosen % len(result.sweep)
    shown = sorted({round(i * (len(result.sweep) - 1) / 11) for i in range(12)} | {chosen})
    data = result.source['data']
    lines = [
        f'exits of {"streams" if result.kind == "stream" else "clips"}, fitted on {clips} clips of'
        f' {data.get("name")}, split {data.get("split")!r}'
        + (f', part {data["fold"]}' if data.get('fold') else ''),
        '',
        f'{"GMACs/clip":>12}{"ms/clip":>10}{"top-1 (%)":>11}{"true (%)":>10}'
        f'   clips that leave after {name} 0, 1, ...',
    ]
    for i in shown:
        setting = result.sweep[i]
        lines.append(
            f'{setting.costs["gmacs"]:>12.4f}{setting.costs["ms"]:>10.1f}{100 * setting.accuracy:>11.1f}'
            f'{100 * setting.probability:>10.1f}   '
            f'{" ".join(map(str, setting.counts))}{"   <- chosen" if i == chosen else ""}'
        )
    lines.append(f'{whole["gmacs"]:>12.4f}{whole["ms"]:>10.1f}{100 * without:>11.1f}{"":>10}   without exits')
    return '\n'.join(
        [
            *lines,
            '',
            f'ms: {result.source["measured_on"]}, batch 1, the model alone',
            'true: mean probability of the true class where clips leave; tells settings of equal top-1 apart',
            (
                'The accuracies are those on the clips that were fitted on; on others expect less'
                ' (tools/test.py --exits).'
            ),
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            calibrate(args)
        except ValueError as error:  # also of what was asked of the search
            sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
