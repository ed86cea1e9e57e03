#!/usr/bin/env python
"""Draw accuracy against cost, in GMACs and in measured milliseconds: early exit, its controls, static
networks.

    python tools/analysis_tools/budget_curve.py CONFIG CHECKPOINT --fit val --judge test \\
        --control random=RANDOM_CHECKPOINT --control centre=CENTRE_CHECKPOINT \\
        --static TSM_CONFIG=TSM_CHECKPOINT --sizes 112 160 224 \\
        --stream CAUSAL_CONFIG=CAUSAL_CHECKPOINT --out curves

Exits are fitted on one set of clips and judged on another: --fit and --judge each name a split, or a part of
one (val:0/2 and val:1/2). Every method that can exit gets the same search for thresholds. With several
criteria CONFIG has a curve for each: --criterion max_prob value inverted_value says whether a policy's value
is an exit, with its control. A static network is one point an input size. A causal recognizer has three
curves: step-level exits alone (every frame is read), frame-level exits alone (every look is taken), and both.

Milliseconds are those of single clips through the network alone, measured look by look on this machine, the
methods by turns, and summed over the looks taken. Into --out go gmacs.png, ms.png and curves.json.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LEVELS = dict(both='both exits', frame='frame-level exits', step='step-level exits')
Point = dict[str, float]
ROUNDS = 5


def pair(text: str) -> tuple[str, str]:
    """'NAME=VALUE' -> (NAME, VALUE)."""
    name, found, value = text.partition('=')
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f'{text!r} must be of the form NAME=VALUE')
    return name, value


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config of the recognizer')
    parser.add_argument('checkpoint', help='checkpoint of it, or the work dir of its run')
    parser.add_argument(
        '--fit', required=True, metavar='SPLIT[:K/N]', help='clips that thresholds are fitted on'
    )
    parser.add_argument(
        '--judge', required=True, metavar='SPLIT[:K/N]', help='clips that accuracies are measured on'
    )
    parser.add_argument(
        '--control',
        type=pair,
        action='append',
        default=[],
        metavar='CENTRES=CHECKPOINT',
        help='the recognizer with random or centre patches, from this checkpoint; may be repeated',
    )
    parser.add_argument(
        '--static',
        type=pair,
        action='append',
        default=[],
        metavar='CONFIG=CHECKPOINT',
        help='a static network; may be repeated',
    )
    parser.add_argument(
        '--sizes',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help='test the static networks at these input sizes (default: that of their config)',
    )
    parser.add_argument('--stream', type=pair, metavar='CONFIG=CHECKPOINT', help='a causal recognizer')
    parser.add_argument(
        '--unit',
        choices=['gmacs', 'ms'],
        default='gmacs',
        help='what thresholds are searched for (default: gmacs)',
    )
    parser.add_argument(
        '--criterion',
        nargs='+',
        default=['max_prob'],
        metavar='NAME',
        help='of the exits of CONFIG: max_prob, entropy, margin, value, inverted_value (default: max_prob)',
    )
    parser.add_argument('--batch-size', type=int, default=16, help='clips predicted at a time (default: 16)')
    parser.add_argument(
        '--device', metavar='NAME', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    parser.add_argument('--title', default='', help='written over the pictures')
    parser.add_argument('--out', type=Path, default=Path('curves'), metavar='DIR', help='default: ./curves')
    args = parser.parse_args(arguments)
    args.command = shlex.join(
        [
            'python',
            'tools/analysis_tools/budget_curve.py',
            *map(str, sys.argv[1:] if arguments is None else arguments),
        ]
    )
    return args


class Method:
    """One recognizer, and the two sets of clips through it.

    Args:
        name: in the pictures.
        model: the recognizer.
        kind: 'clips' (exits after steps), 'stream' or 'static'.
        input_size: of a static network, to resize its frames to; None for what its config says.
        criteria: by which clips exit.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        kind: str,
        args: argparse.Namespace,
        input_size: int | None = None,
        criteria: Sequence[str] = ('max_prob',),
    ):
        from gfvideo.engine.predictions import SplitPredictions
        from gfvideo.models.arguments import as_size

        self.name, self.model, self.kind, self.unit, self.criteria = name, model, kind, args.unit, criteria
        self.input_size = None if input_size is None else as_size(input_size, 'input_size')
        self.fit, self.judge = (
            SplitPredictions(model, *named(text), args.batch_size) for text in (args.fit, args.judge)
        )
        self.runs: list[dict[str, list[float]]] = []

    def measure(self) -> None:
        """Time it once more."""
        from gfvideo.engine import costs_of

        self._set_size()
        self.runs.append(
            costs_of(
                self.model, self.judge.frames(1), 'stream' if self.kind == 'stream' else 'steps', repeats=5
            )
        )

    def _set_size(self) -> None:
        if self.input_size is not None:
            self.model.input_size = self.input_size

    @property
    def costs(self) -> dict[str, list[float]]:
        """Of each step (look), the median of the runs."""
        return {
            unit: [median(values) for values in zip(*(run[unit] for run in self.runs))]
            for unit in self.runs[0]
        }

    def curves(self) -> dict[str, list[Point]]:
        """Points of each curve of this method on the judged clips, cheapest first."""
        self._set_size()
        return dict(clips=self._of_clips, stream=self._of_streams, static=self._static)[self.kind]()

    def _point(self, accuracy: float, costs: dict[str, float]) -> Point:
        return dict(accuracy=accuracy, **costs)

    def _of_clips(self) -> dict[str, list[Point]]:
        judged, costs = self.judge.step_logits(), self.costs
        curves = {
            f'{self.name}, exits' + (f' by {criterion}' if len(self.criteria) > 1 else ''): self._exits_by(
                criterion, judged
            )
            for criterion in self.criteria
        }
        whole = self._point(
            share_right(judged[:, -1], self.judge.labels),
            {unit: values[-1] for unit, values in costs.items()},
        )
        return {**curves, f'{self.name}, all looks': [whole]}

    def _exits_by(self, criterion: str, judged: Any) -> list[Point]:
        from gfvideo.exits import STATE_CRITERIA, StepExits, calibrate_steps, replay_clips

        fitted, fitted_scores, judged_scores = None, None, None
        if criterion in STATE_CRITERIA:  # reads more of a look than its logits
            every_look = StepExits((math.inf,) * self.model.steps, criterion)
            fitted, fitted_scores = self.fit.record(every_look)
            judged_scores = self.judge.record(every_look).scores
        else:
            fitted = self.fit.step_logits()
        points = []
        for setting in calibrate_steps(
            fitted, self.fit.labels, self.costs, self.unit, criterion, scores=fitted_scores
        ).sweep:
            outcome = {
                unit: replay_clips(judged, self.judge.labels, setting.exits, values, judged_scores)
                for unit, values in self.costs.items()
            }
            points.append(
                self._point(outcome['gmacs'].accuracy, {unit: one.cost for unit, one in outcome.items()})
            )
        return points

    def _of_streams(self) -> dict[str, list[Point]]:
        from gfvideo.exits import StreamExits, calibrate_stream, replay_stream

        traces: dict[tuple[str, tuple[float, ...]], Any] = {}

        def read(which: str, exits: Any) -> Any:
            if (which, exits.enough) not in traces:  # what was read does not depend on stopping
                traces[which, exits.enough] = getattr(self, which).trace(replace(exits, stop=()))
            return traces[which, exits.enough]

        every_look = StreamExits((math.inf,) * self.model.steps)
        frames, costs, curves = read('fit', every_look).looks.shape[1], self.costs, {}
        for levels, title in LEVELS.items():
            points = []
            for setting in calibrate_stream(
                lambda exits: read('fit', exits),
                self.fit.labels,
                costs,
                self.model.steps,
                self.unit,
                levels=levels,
            ).sweep:
                trace = read('judge', setting.exits)
                outcome = {
                    unit: replay_stream(trace, self.judge.labels, setting.exits, values)
                    for unit, values in costs.items()
                }
                points.append(
                    self._point(outcome['gmacs'].accuracy, {unit: one.cost for unit, one in outcome.items()})
                )
            curves[f'{self.name}, {title}'] = points
        whole = self._point(
            share_right(read('judge', every_look).logits, self.judge.labels),
            {unit: sum(values) * frames for unit, values in costs.items()},
        )
        return {**curves, f'{self.name}, all looks': [whole]}

    def _static(self) -> dict[str, list[Point]]:
        logits = self.judge.step_logits()[:, -1]
        return {
            self.name: [
                self._point(
                    share_right(logits, self.judge.labels),
                    {unit: one[-1] for unit, one in self.costs.items()},
                )
            ]
        }


def named(text: str) -> tuple[str, str | None]:
    """'val:0/2' -> ('val', '0/2')."""
    split, _, fold = text.partition(':')
    return split, fold or None


def share_right(logits: Any, labels: Any) -> float:
    return (logits.argmax(1) == labels).double().mean().item()


def methods(args: argparse.Namespace) -> list[Method]:
    """Everything that is asked for.

    Raises:
        ValueError: if thresholds would be judged on the clips that they are fitted on.
    """
    from gfvideo.apis import init_recognizer
    from gfvideo.exits import known_criterion

    if named(args.fit) == named(args.judge):
        raise ValueError(
            f'--fit and --judge both name {args.fit!r}: thresholds would be judged on the clips that they'
            ' were fitted on'
        )
    for criterion in args.criterion:
        known_criterion(criterion)
    model = init_recognizer(args.config, args.checkpoint, args.device)
    found = [Method('Glance-and-Focus', model, 'clips', args, criteria=args.criterion)]
    for centres, checkpoint in args.control:
        model = init_recognizer(args.config, checkpoint, args.device, {'model.test_centres': centres})
        found.append(Method(f'{centres} patches', model, 'clips', args))
    for config, checkpoint in args.static:
        model = init_recognizer(config, checkpoint, args.device)
        for size in args.sizes or [None]:
            shown = size or (model.input_size[0] if model.input_size else 'full size')
            found.append(
                Method(f'static {Path(config).stem.split("_")[0]}, {shown}', model, 'static', args, size)
            )
    if args.stream is not None:
        found.append(Method('causal', init_recognizer(*args.stream, args.device), 'stream', args))
    return found


def thinned(points: list[Point], count: int = 12) -> list[Point]:
    """At most ``count`` of the points, evenly taken, the ends kept."""
    if len(points) <= count:
        return points
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]


def draw(results: dict[str, list[Point]], clips: int, title: str, out: Path) -> None:
    from gfvideo.evaluation import accuracy_standard_error
    from gfvideo.visualization import Curve, draw_curves, save_picture

    for unit, name in (
        ('gmacs', 'GMACs per clip (1e9 multiply-adds)'),
        ('ms', 'milliseconds per clip, batch 1, the network alone'),
    ):
        shown = {method: thinned(points) for method, points in results.items()}
        curves = {
            method: Curve(
                [point[unit] for point in points],
                [point['accuracy'] for point in points],
                (
                    [accuracy_standard_error(point['accuracy'], clips) for point in points]
                    if len(points) == 1
                    else None
                ),
            )
            for method, points in shown.items()
        }
        save_picture(draw_curves(curves, title=title, cost_name=name), out / f'{unit}.png')


def table(results: dict[str, list[Point]]) -> str:
    lines = [f'{"method":<36}{"GMACs":>9}{"ms":>9}{"top-1 %":>9}']
    lines += [
        f'{method:<36}{point["gmacs"]:>9.4f}{point["ms"]:>9.1f}{100 * point["accuracy"]:>9.1f}'
        for method, points in results.items()
        for point in thinned(points, 6)
    ]
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    try:
        results, every = {}, methods(args)
        for _ in range(ROUNDS):  # by turns, so that other work on the machine slows all alike
            for method in every:
                method.measure()
        for method in every:
            results.update(method.curves())
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    clips = len(every[0].judge.labels)
    args.out.mkdir(parents=True, exist_ok=True)
    told = dict(
        command=args.command,
        data=every[0].judge.meta,
        fit=args.fit,
        judge=args.judge,
        clips=clips,
        curves=results,
    )
    (args.out / 'curves.json').write_text(json.dumps(told, indent=1))
    draw(results, clips, args.title, args.out)
    print(
        f'{table(results)}\n\nfitted on {args.fit}, judged on {clips} clips of {args.judge}\nwritten to'
        f' {args.out}/gmacs.png, ms.png, curves.json'
    )


if __name__ == '__main__':
    main()
