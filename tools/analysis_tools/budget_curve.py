#!/usr/bin/env python
"""Draw accuracy against cost, in GMACs and in measured milliseconds: early exit, its controls, static networks.

    python tools/analysis_tools/budget_curve.py CONFIG CHECKPOINT --fit val --judge test \\
        --control random=RANDOM_CHECKPOINT --control centre=CENTRE_CHECKPOINT \\
        --static TSM_CONFIG=TSM_CHECKPOINT --sizes 112 160 224 --stream CAUSAL_CONFIG=CAUSAL_CHECKPOINT --out curves

Exits are fitted on one set of clips and judged on another: --fit and --judge each name a split, or a part of one (val:0/2 and val:1/2).
Every method that can exit gets the same search for thresholds. A static network is one point an input size. A causal recognizer has three
curves: step-level exits alone (every frame is read), frame-level exits alone (every look is taken), and both.

Milliseconds are those of single clips through the network alone, measured look by look on this machine and summed over the looks taken.
Into --out go gmacs.png, ms.png and curves.json.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LEVELS = dict(both='stream, both exits', frame='stream, frame-level exits', step='stream, step-level exits')


def pair(text: str) -> tuple[str, str]:
    """'NAME=VALUE' -> (NAME, VALUE)."""
    name, found, value = text.partition('=')
    if not (name and found and value):
        raise argparse.ArgumentTypeError(f'{text!r} must be of the form NAME=VALUE')
    return name, value


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the recognizer')
    parser.add_argument('checkpoint', help='checkpoint of it')
    parser.add_argument('--fit', required=True, metavar='SPLIT[:K/N]', help='clips that thresholds are fitted on')
    parser.add_argument('--judge', required=True, metavar='SPLIT[:K/N]', help='clips that accuracies are measured on')
    parser.add_argument('--control', type=pair, action='append', default=[], metavar='CENTRES=CHECKPOINT',
                        help='the recognizer with random or centre patches, from this checkpoint; may be repeated')
    parser.add_argument('--static', type=pair, action='append', default=[], metavar='CONFIG=CHECKPOINT',
                        help='a static network; may be repeated')
    parser.add_argument('--sizes', type=int, nargs='+', metavar='PIXELS', help='test the static networks at these input sizes (default: '
                                                                               'that of their config)')
    parser.add_argument('--stream', type=pair, metavar='CONFIG=CHECKPOINT', help='a causal recognizer')
    parser.add_argument('--unit', choices=['gmacs', 'ms'], default='gmacs', help='what thresholds are searched for (default: gmacs)')
    parser.add_argument('--batch-size', type=int, default=16, help='clips predicted at a time (default: 16)')
    parser.add_argument('--device', default='cpu', help='where to run (default: cpu)')
    parser.add_argument('--title', default='', help='written over the pictures')
    parser.add_argument('--out', type=Path, default=Path('curves'), metavar='DIR', help='default: ./curves')
    return parser.parse_args(arguments)


class Clips:
    """The two sets of clips through one recognizer."""

    def __init__(self, model: Any, args: argparse.Namespace):
        from gfvideo.engine.predictions import SplitPredictions
        self.model, self.args = model, args
        self.fit, self.judge = (SplitPredictions(model, *self._named(text), args.batch_size) for text in (args.fit, args.judge))
        if self._named(args.fit) == self._named(args.judge):
            raise ValueError(f'--fit and --judge both name {args.fit!r}: thresholds would be judged on the clips that they were fitted on')

    @staticmethod
    def _named(text: str) -> tuple[str, str | None]:
        split, _, fold = text.partition(':')
        return split, fold or None

    def exits_of_clips(self) -> list[dict[str, float]]:
        """A point a setting, on the judged clips; the last is without exits."""
        from gfvideo.exits import calibrate_steps, replay_clips
        fitted, judged = self.fit.step_logits(), self.judge.step_logits()
        costs, labels = self.fit.costs('steps'), self.judge.labels
        calibration = calibrate_steps(fitted, self.fit.labels, costs, self.args.unit)
        points = []
        for setting in calibration.sweep:
            outcome = {unit: replay_clips(judged, labels, setting.exits, values) for unit, values in costs.items()}
            points.append(dict(accuracy=outcome['gmacs'].accuracy, **{unit: one.cost for unit, one in outcome.items()}))
        whole = (judged[:, -1].argmax(1) == labels).double().mean().item()
        return [*points, dict(accuracy=whole, **{unit: values[-1] for unit, values in costs.items()})]

    def exits_of_streams(self) -> dict[str, list[dict[str, float]]]:
        """The same for streams, with each kind of exits."""
        from gfvideo.exits import StreamExits, calibrate_stream, replay_stream
        traces: dict[Any, Any] = {}

        def read(clips: Any, name: str, enough: tuple[float, ...], rule: Any) -> Any:
            if (name, enough) not in traces:
                traces[name, enough] = clips.trace(rule)
            return traces[name, enough]
        full = read(self.fit, 'fit', (float('inf'),) * self.model.steps, None)
        costs = self.fit.costs('stream')
        curves = {}
        for levels, title in LEVELS.items():
            calibration = calibrate_stream(lambda exits: read(self.fit, 'fit', exits.enough, exits), self.fit.labels, costs,
                                           self.model.steps, self.args.unit, levels=levels)
            points = []
            for setting in calibration.sweep:
                exits = setting.exits
                trace = read(self.judge, 'judge', exits.enough, StreamExits(exits.enough, (), exits.criterion, exits.temperature))
                outcome = {unit: replay_stream(trace, self.judge.labels, exits, values) for unit, values in costs.items()}
                points.append(dict(accuracy=outcome['gmacs'].accuracy, **{unit: one.cost for unit, one in outcome.items()}))
            curves[title] = points
        trace = read(self.judge, 'judge', (float('inf'),) * self.model.steps, None)
        whole = (trace.logits.argmax(1) == self.judge.labels).double().mean().item()
        frames = full.looks.shape[1]
        curves['stream, without exits'] = [dict(accuracy=whole, **{unit: sum(values) * frames for unit, values in costs.items()})]
        return curves

    def static_point(self) -> dict[str, float]:
        """One point: a network that does not exit."""
        logits = self.judge.step_logits()[:, -1]
        accuracy = (logits.argmax(1) == self.judge.labels).double().mean().item()
        return dict(accuracy=accuracy, **{unit: costs[-1] for unit, costs in self.judge.costs('steps').items()})


def curves_of(args: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, float]], int]]:
    """(name, points, number of judged clips) of each method."""
    from gfvideo.apis import init_recognizer
    from gfvideo.models.base import as_size

    def clips(config: str, checkpoint: str, **options: Any) -> Clips:
        return Clips(init_recognizer(config, checkpoint, args.device, options), args)

    own = clips(args.config, args.checkpoint)
    yield 'Glance-and-Focus, exits', own.exits_of_clips(), len(own.judge.labels)
    for centres, checkpoint in args.control:
        one = clips(args.config, checkpoint, **{'model.test_centres': centres})
        yield f'{centres} patches, exits', one.exits_of_clips(), len(one.judge.labels)
    for config, checkpoint in args.static:
        one = clips(config, checkpoint)
        for size in args.sizes or [None]:
            if size is not None:
                one.model.input_size = as_size(size, 'input_size')
            shown = one.model.input_size
            name = f'static {Path(config).stem.split("_")[0]}, {shown[0] if shown else "full size"}'
            yield name, [one.static_point()], len(one.judge.labels)
    if args.stream is not None:
        one = clips(*args.stream)
        for name, points in one.exits_of_streams().items():
            yield name, points, len(one.judge.labels)


def thinned(points: list[dict[str, float]], count: int = 12) -> list[dict[str, float]]:
    """At most ``count`` of the points, evenly taken, the ends kept."""
    if len(points) <= count:
        return points
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]


def draw(results: dict[str, list[dict[str, float]]], clips: int, title: str, out: Path) -> None:
    from gfvideo.evaluation import accuracy_standard_error
    from gfvideo.visualization import Curve, draw_curves, save_picture
    for unit, name in (('gmacs', 'GMACs per clip (1e9 multiply-adds)'), ('ms', 'milliseconds per clip, batch 1, the network alone')):
        shown = {method: thinned(points) for method, points in results.items()}
        curves = {method: Curve([point[unit] for point in points], [point['accuracy'] for point in points],
                                [accuracy_standard_error(point['accuracy'], clips) for point in points] if len(points) == 1 else None)
                  for method, points in shown.items()}
        save_picture(draw_curves(curves, title=title, cost_name=name), out / f'{unit}.png')


def table(results: dict[str, list[dict[str, float]]]) -> str:
    lines = [f'{"method":<30}{"GMACs":>9}{"ms":>9}{"top-1 %":>9}']
    lines += [f'{method:<30}{point["gmacs"]:>9.4f}{point["ms"]:>9.1f}{100 * point["accuracy"]:>9.1f}'
              for method, points in results.items() for point in thinned(points, 6)]
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    sys.path.insert(0, str(ROOT))                                 # a checkout that is not installed works too
    try:
        results, clips = {}, 0
        for name, points, count in curves_of(args):
            results[name], clips = points, count
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'curves.json').write_text(json.dumps(dict(fit=args.fit, judge=args.judge, clips=clips, curves=results), indent=1))
    draw(results, clips, args.title, args.out)
    print(f'{table(results)}\n\nfitted on {args.fit}, judged on {clips} clips of {args.judge}\nwritten to {args.out}/gmacs.png, ms.png, '
          'curves.json')


if __name__ == '__main__':
    main()
