#!/usr/bin/env python
"""Convert a checkpoint of another code base to one of gfvideo, or an encoder trained here to another's
(--to)."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORMS = (
    'auto',
    'tsm',
    'tsm-online',
    'mmaction2',
    'gfnet',
    'adafocusv2',
    'uni-adafocus',
    'torchvision',
    'timm',
)
TARGETS = ('tsm', 'mmaction2', 'torchvision')


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    from gfvideo.usage import HelpFormatter

    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=HelpFormatter,
        epilog='A converted file carries its config: init_recognizer(None, OUTPUT).',
    )
    parser.add_argument('input', help='the checkpoint to convert; with --to also the work dir of a run')
    parser.add_argument('output', help='the file to write')
    parser.add_argument(
        '--from',
        dest='form',
        default='auto',
        metavar='FORM',
        help=(
            f'code base of the input: {", ".join(FORMS)}, or one that --custom-imports registers (default:'
            ' told by its names)'
        ),
    )
    parser.add_argument(
        '--to',
        choices=TARGETS,
        help='the other way: INPUT is a checkpoint of gfvideo, OUTPUT is for that code base',
    )
    parser.add_argument(
        '--part', choices=('glance', 'focus'), help='with --to, which encoder of a recognizer that has two'
    )
    parser.add_argument(
        '--arch',
        metavar='NAME',
        help='with --from timm, which model of timm it is, if the package has no such backbone',
    )
    parser.add_argument(
        '--steps', type=int, metavar='S', help='focus steps of a GFNet model (default: what the file tells)'
    )
    parser.add_argument(
        '--patch-size',
        type=int,
        metavar='P',
        help=(
            'pixels of a patch, of GFNet or AdaFocus (default: what the file or its name, x_p128_8and12.pth,'
            ' tells)'
        ),
    )
    parser.add_argument(
        '--focus-frames',
        type=int,
        metavar='K',
        help='frames that Uni-AdaFocus focuses on (default: what the name tells, or 12)',
    )
    parser.add_argument(
        '--frames',
        dest='num_frames',
        type=int,
        metavar='T',
        help="frames of the converted file's test pipeline (default: as published)",
    )
    parser.add_argument(
        '--classes', metavar='FILE', help='names of the classes, one a line, in the order of the labels'
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='load an input that holds more than tensors and plain values; such a file can run any program',
    )
    parser.add_argument(
        '--custom-imports',
        nargs='+',
        metavar='MODULE',
        default=[],
        help='modules of your own to import, whose parts INPUT may name',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUTPUT if it exists')
    return parser.parse_args(arguments)


def told_by_name(path: Path, form: str) -> dict[str, int]:
    """What authors write into names: ``p128`` and ``8and12`` (AdaFocus), ``segment8`` (TSM), ``1x1x8``
    (MMAction2)."""

    def number(pattern: str) -> int | None:
        match = re.search(rf'(?:^|[_-]){pattern}(?=[_.-])', path.name)
        return int(match[1]) if match else None

    told = {}
    if form in ('adafocusv2', 'uni-adafocus'):
        told['patch_size'] = number(r'p(\d{2,3})')
    if form == 'adafocusv2':
        told['num_frames'] = number(r'\d+and(\d+)')
    if form == 'uni-adafocus':
        told['focus_frames'] = number(r'\d+and(\d+)')
        # the candidates, as published
        told['num_frames'] = 3 * told['focus_frames'] if told['focus_frames'] else None
    if form in ('tsm', 'tsm-online'):
        told['num_frames'] = number(r'segment(\d+)')
    if form == 'mmaction2':
        told['num_frames'] = number(r'1x1x(\d+)')
    return {name: value for name, value in told.items() if value is not None}


def main(arguments: list[str] | None = None) -> None:
    sys.path.insert(0, str(ROOT))  # a checkout that is not installed works too
    args = parse_args(arguments)
    from gfvideo import conversion
    from gfvideo.apis import init_recognizer
    from gfvideo.conversion import ConversionError
    from gfvideo.engine import CheckpointError, ConfigError
    from gfvideo.engine.config import import_own

    source, output = Path(args.input), Path(args.output)
    try:
        if output.exists() and source.exists() and output.samefile(source):
            raise ConversionError(f'{output} is the file to convert; name another output')
        if output.exists() and not args.overwrite:
            raise ConversionError(f'{output} exists; name another, or replace it with --overwrite')
        if args.to:
            model = init_recognizer(None, source, custom_imports=args.custom_imports)
            conversion.save_exported(conversion.export_encoder(model, args.to, args.part), output)
            print(f'{output}: for {args.to}')
            return
        import_own(args.custom_imports)
        form = (
            conversion.recognise_form(conversion.read_published(source, args.trust_pickle))
            if args.form == 'auto'
            else args.form
        )
        told = told_by_name(source, form)
        given = {
            name: told.get(name) if getattr(args, name) is None else getattr(args, name)
            for name in ('steps', 'patch_size', 'focus_frames', 'num_frames')
        }
        classes = Path(args.classes).read_text(encoding='utf-8').splitlines() if args.classes else None
        converted = conversion.convert_file(
            source,
            form,
            conversion.Options(arch=args.arch, classes=classes, trust_pickle=args.trust_pickle, **given),
        )
        conversion.save_converted(converted, source, output)
    except (CheckpointError, ConfigError, ConversionError, ImportError, OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(conversion.summary(converted))
    print(f'{output}: init_recognizer(None, {str(output)!r})')


if __name__ == '__main__':
    main()
