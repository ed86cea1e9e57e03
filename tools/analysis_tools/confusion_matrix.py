#!/usr/bin/env python
"""Draw which classes are taken for which (a row is a true class, its values are shares of it), and print the
most frequent confusions.

    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl
    python tools/analysis_tools/confusion_matrix.py CONFIG predictions.pkl --show-path confusion.png
    # tests first, and draws what came out
    python tools/analysis_tools/confusion_matrix.py CONFIG CHECKPOINT --show-path matrix.pdf --include-values
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config, DictAction

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
FORMS = ('.png', '.pdf', '.svg')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('config', help='config file; its test dataset names the classes')
    parser.add_argument(
        'source',
        metavar='CHECKPOINT_OR_PKL',
        help='.pkl file of tools/test.py --dump; or a checkpoint or work dir, which is tested first',
    )
    parser.add_argument(
        '--show-path', type=Path, metavar='FILE', help=f'draw it to this file: {", ".join(FORMS)}'
    )
    parser.add_argument('--include-values', action='store_true', help='write the shares (%%) into the cells')
    parser.add_argument(
        '--device',
        metavar='NAME',
        help='of that test: cpu, cuda, cuda:1, ... (default: a GPU if there is one)',
    )
    parser.add_argument(
        '--most', type=int, default=10, metavar='N', help='confusions to print (default: %(default)s)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config values, e.g. test_dataloader.dataset.split=val',
    )
    args = parser.parse_args(arguments)
    if args.show_path is not None and args.show_path.suffix not in FORMS:
        parser.error(f'--show-path {args.show_path}: give a file that ends in {", ".join(FORMS)}')
    if args.most < 1:
        parser.error(f'--most {args.most}: print one confusion at least')
    given = sys.argv[1:] if arguments is None else list(map(str, arguments))
    # as they were typed, for the test
    args.options = given[given.index('--cfg-options') :] if '--cfg-options' in given else []
    return args


def dump_of(args: argparse.Namespace, folder: str) -> str:
    """The dump to read; of a checkpoint, a test is run that writes one into ``folder``."""
    if args.source.endswith(('.pkl', '.pickle')):
        return args.source
    dump = str(Path(folder) / 'predictions.pkl')
    options = []
    for word in args.options[1:]:
        if word.startswith('--'):
            break
        options.append(word)
    command = [sys.executable, str(ROOT / 'tools/test.py'), args.config, args.source]
    command += ['--work-dir', folder, '--dump', dump]
    command += ['--device', args.device] if args.device else []
    done = subprocess.run([*command, *(['--cfg-options', *options] if options else [])])
    if done.returncode:
        sys.exit(done.returncode)  # the test told why
    return dump


def class_names(cfg: Config, count: int) -> list[str]:
    """Names of the test dataset's classes; where it is not prepared, numbers, and a line that says so.

    Raises:
        ValueError: if the dataset has another number of classes.
    """
    from mmengine.registry import DATASETS, DefaultScope

    from gfvideo.data.manifest import ManifestError

    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'gfvideo'):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
    except (ManifestError, FileNotFoundError) as error:
        print(f'classes are shown by number: {str(error).splitlines()[0]}', file=sys.stderr)
        return [f'class {number}' for number in range(count)]
    names = list((getattr(dataset, 'metainfo', None) or {}).get('classes') or [])
    if len(names) != count:
        raise ValueError(
            f"the config's test dataset names {len(names)} classes, the predictions have {count}; give the"
            ' config of the test that was dumped'
        )
    return names


def confusions(counts: Tensor, names: Sequence[str], most: int) -> list[str]:
    """A line for each of the most frequent confusions: clips, their share of the true class, both names.

    Args:
        counts: ``(C, C)``, a row a true class.
        names: of the C classes.
        most: lines at most, without the head.
    """
    rows = counts.sum(1).tolist()
    found = [
        (int(counts[true, told]), int(counts[true, told]) / rows[true], true, told)
        for true, told in counts.nonzero().tolist()
        if true != told
    ]
    if not found:
        return ['no clip is taken for another class']
    found.sort(key=lambda one: (-one[0], -one[1], one[2], one[3]))
    lines = [
        f'{count:>6}{100 * share:>8.1f} %  {names[true]} -> {names[told]}'
        for count, share, true, told in found[:most]
    ]
    return [f'{"clips":>6}{"of class":>10}  true -> recognized as', *lines]


def draw(counts: Tensor, names: Sequence[str], path: Path, include_values: bool) -> None:
    """Write the picture, with the shares in the cells if asked."""
    import io

    from matplotlib import rc_context

    from gfvideo.files import write_atomically
    from gfvideo.report.charts import MatrixChart
    from gfvideo.report.figures import SETTINGS, draw_figure

    labels = [f'{number} {name}' for number, name in enumerate(names)]
    chart = MatrixChart('confusion', 'Confusion', 'Confusion matrix', labels, counts.tolist())
    with rc_context(SETTINGS):
        figure = draw_figure(chart)
        side = min(40.0, max(3.0, 0.16 * len(labels)))
        figure.set_size_inches(side + 1.2, side)
        axes = figure.axes[0]
        for words in list(axes.texts):  # counts, which are no shares
            words.remove()
        size = 6 if len(labels) <= 30 else 2.5
        for row, shares in enumerate(chart.shares if include_values else []):
            for column, share in enumerate(shares):
                if share:
                    axes.text(
                        column,
                        row,
                        f'{100 * share:.0f}',
                        ha='center',
                        va='center',
                        fontsize=size,
                        color='black' if share > 0.5 else 'white',
                    )
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix[1:], dpi=200)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, drawn.getvalue())


def report(args: argparse.Namespace) -> list[str]:
    """Draw the matrix; the lines to print."""
    import torch

    from gfvideo.engine import expand_stages, load_config
    from gfvideo.evaluation import confusion_matrix, read_predictions

    cfg = expand_stages(load_config(args.config), args.cfg_options)[-1].cfg
    with tempfile.TemporaryDirectory() as folder:
        clips = read_predictions(dump_of(args, folder))
    if not clips or not all(
        'gt_label' in clip and ('step_logits' in clip or 'logits' in clip) for clip in clips
    ):
        raise ValueError(
            f'{args.source} has no clips, or some without a label or logits; dump a test of clips with labels'
        )
    logits = [clip['step_logits'][-1] if 'step_logits' in clip else clip['logits'] for clip in clips]
    scores = torch.stack([torch.as_tensor(one).float() for one in logits])  # (N, C)
    counts = confusion_matrix(scores, torch.tensor([int(clip['gt_label']) for clip in clips]))
    names = class_names(cfg, len(counts))
    right = int(counts.diagonal().sum())
    lines = [f'{right} of {len(clips)} clips are right', *confusions(counts, names, args.most)]
    if args.show_path is not None:
        draw(counts, names, args.show_path, args.include_values)
        lines.append(f'written to {args.show_path}')
    return lines


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo.engine import tell_faults

    with tell_faults():
        try:
            print('\n'.join(report(args)))
        except ValueError as error:
            sys.exit(f'{type(error).__name__}: {error}')


if __name__ == '__main__':
    main()
