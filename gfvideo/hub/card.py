"""The card of a recognizer: what files of measurements say, each with its dataset's hash and its command."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .. import __version__
from ..exits import Calibration
from ..files import write_atomically

__all__ = ['CardError', 'read_results', 'write_card']

_NEEDED = dict(command=str, dataset=dict, clips=int, metrics=dict, weights=str)
_AGAIN = 'test again with tools/test.py CONFIG CHECKPOINT'


class CardError(ValueError):
    """A file cannot stand on a card; the message names the file, the reason and the remedy."""


def read_results(path: str | PathLike[str], weights: str) -> dict[str, Any]:
    """What ``tools/test.py`` wrote of a recognizer.

    Args:
        path: of ``test_results.json``.
        weights: :func:`~gfvideo.engine.weights_hash` of the recognizer.

    Returns:
        ``command``, ``dataset``, ``clips``, ``metrics``, and ``exits`` if it was tested with any.

    Raises:
        FileNotFoundError: if there is no such file.
        CardError: if it is no file of results, or was measured on other weights, or does not say on which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no results at {path}; {_AGAIN}')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise CardError(f'{path} is no JSON ({str(error)[:200]}); {_AGAIN}') from error
    for key, kind in _NEEDED.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise CardError(f'{path} has no {key}, so it cannot stand on a card; {_AGAIN}')
    if content['weights'] != weights:
        measured, here = content['weights'][:12], weights[:12]
        raise CardError(f'{path} was measured on other weights ({measured}..., here {here}...); {_AGAIN}')
    return content


def write_card(
    path: str | Path,
    name: str,
    described: Mapping[str, Any],
    *,
    provenance: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]] = (),
    calibration: Calibration | None = None,
    license: str | None = None,
) -> None:
    """Write a card in Markdown, with the header that hubs read.

    Args:
        path: of the file.
        name: of the model.
        described: :func:`~gfvideo.engine.describe_model` of it.
        provenance: what its checkpoint told of its training.
        results: of :func:`read_results`.
        calibration: its exits.
        license: of the weights; None says nothing.
    """
    parts = [
        _header(name, results, license),
        f'# {name}\n',
        f'A recognizer of gfvideo {__version__}, Glance-and-Focus networks for video.\n',
        _settings_table(described),
        _use(name, calibration is not None),
        _measured(results),
        _exits_table(calibration),
        _learned_from(provenance),
    ]
    write_atomically(path, '\n'.join(part for part in parts if part).encode())


def _header(name: str, results: Sequence[Mapping[str, Any]], license: str | None) -> str:
    """The card's YAML; JSON strings are YAML strings, so no value can break it."""
    lines = ['---', 'library_name: gfvideo', 'pipeline_tag: video-classification']
    if license:
        lines.append(f'license: {json.dumps(license)}')
    lines += ['tags:', '- video-classification', '- glance-and-focus']
    tested = [(one, one['metrics']['top1']) for one in results if 'top1' in one['metrics']]
    if tested:
        lines += ['model-index:', f'- name: {json.dumps(name)}', '  results:']
    for one, top1 in tested:
        dataset = one['dataset']
        lines += [
            '  - task:',
            '      type: video-classification',
            '    dataset:',
            f'      name: {json.dumps(str(dataset.get("name")))}',
            f'      type: {json.dumps(str(dataset.get("name")))}',
            f'      split: {json.dumps(str(dataset.get("split")))}',
            f'      revision: {json.dumps(str(dataset.get("manifest_hash")))}',
            '    metrics:',
            '    - type: accuracy',
            f'      name: top-1{" with early exit" if one.get("exits") else ""}',
            f'      value: {top1:.6g}',
        ]
    return '\n'.join([*lines, '---', ''])


def _settings_table(described: Mapping[str, Any]) -> str:
    rows = {key: value for key, value in described.items() if key != 'preprocessor'}
    return _table(['setting', 'value'], [[key, f'`{json.dumps(value)}`'] for key, value in rows.items()])


def _use(name: str, has_exits: bool) -> str:
    lines = [
        '## Use it',
        '',
        '```python',
        'from gfvideo.apis import inference_recognizer',
        'from gfvideo.hub import fetch_pretrained, from_pretrained',
        '',
        f"folder = fetch_pretrained('OWNER/{name}')  # or the path of this folder",
        'model = from_pretrained(folder)',
        "sample = inference_recognizer(model, 'video.mp4')",
    ]
    if has_exits:
        lines.append("sample = inference_recognizer(model, 'video.mp4', exits=folder / 'exits.json')")
    return '\n'.join([*lines, '```', ''])


def _measured(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return '## Measured\n\nNo results of a test were given when this folder was written.\n'
    return '\n'.join(['## Measured', '', *map(_one_test, results)])


def _one_test(one: Mapping[str, Any]) -> str:
    dataset = one['dataset']
    split = f'split {dataset.get("split")}' + (f', fold {dataset["fold"]}' if dataset.get('fold') else '')
    exits = one.get('exits')
    how = ' with early exit' if exits else ''
    lines = [
        f'**{dataset.get("name")}** (version {dataset.get("version")}, {split}, {one["clips"]} clips,'
        f' manifest hash `{dataset.get("manifest_hash")}`){how}:',
        '',
        _table(['metric', 'value'], [[key, _number(value)] for key, value in _in_order(one['metrics'])]),
        f'```\n{one["command"]}\n```',
        '',
    ]
    if exits and exits.get('fitted_on_these_clips'):
        lines.insert(2, 'The exits were fitted on clips of this split, so these numbers flatter them.\n')
    return '\n'.join(lines)


def _in_order(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """By name, numbers inside names as numbers."""
    plain = [(key, value) for key, value in metrics.items() if isinstance(value, int | float)]
    return sorted(
        plain,
        key=lambda pair: [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', pair[0])],
    )


def _exits_table(calibration: Calibration | None) -> str:
    if calibration is None:
        return ''
    units, kind = list(calibration.costs), 'clips' if calibration.kind == 'steps' else 'streams'
    data = calibration.source.get('data') or {}
    # some ten settings from the cheapest to the dearest, and always the chosen one
    count, chosen = len(calibration.sweep), calibration.chosen % len(calibration.sweep)
    shown = sorted({*range(0, count, max(1, count // 8)), count - 1, chosen})
    sure = [] if calibration.sweep[0].probability is None else ['probability of the true class']
    rows = [
        [
            f'{100 * setting.accuracy:.1f} %' + (' (chosen)' if number == chosen else ''),
            *(f'{100 * setting.probability:.1f} %' for _ in sure if setting.probability is not None),
            *(_number(setting.costs[unit]) for unit in units),
        ]
        for number, setting in ((number, calibration.sweep[number]) for number in shown)
    ]
    return '\n'.join(
        [
            '## Early exit',
            '',
            f'`exits.json` holds {count} settings for {kind}. Here are {len(shown)} of them, on the clips'
            f' they were fitted on ({data.get("name")}, split {data.get("split")}, manifest hash'
            f' `{data.get("manifest_hash")}`). Costs are means of a clip.',
            '',
            _table(['accuracy', *sure, *(_unit(unit) for unit in units)], rows),
        ]
    )


def _unit(unit: str) -> str:
    return {'gmacs': 'GMACs', 'ms': 'ms'}.get(unit, unit)


def _learned_from(provenance: Mapping[str, Any]) -> str:
    rows = [
        [key, f'`{provenance[key]}`']
        for key in ('stage', 'epoch', 'iter', 'seed', 'mmengine_version')
        if provenance.get(key) is not None
    ]
    for use, dataset in (provenance.get('datasets') or {}).items():
        rows.append(
            [
                f'{use} data',
                f'{dataset.get("name")} (version {dataset.get("version")}), split {dataset.get("split")},'
                f' {dataset.get("present")} clips, manifest hash `{dataset.get("manifest_hash")}`',
            ]
        )
    if provenance.get('converted'):
        rows.append(['converted from', f'`{json.dumps(provenance["converted"], default=str)}`'])
    return '\n'.join(['## Learned from', '', _table(['', ''], rows)]) if rows else ''


def _number(value: float) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(_cell(cell) for cell in line)} |' for line in lines) + '\n'


def _cell(text: str) -> str:
    return re.sub(r'\s+', ' ', text).replace('|', r'\|')
