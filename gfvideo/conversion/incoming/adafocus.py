"""Published AdaFocusV2-TSM and Uni-AdaFocus-TSM models as recognizers of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...weights import part_of, under
from ..errors import ConversionError
from .files import require
from .tsm import encoder_from_tsm

__all__ = ['convert_adafocus']

PUBLISHED_PATCH = dict(adafocusv2=144, uni=128)
PUBLISHED_FOCUS_FRAMES = 12


def convert_adafocus(
    weights: Mapping[str, Tensor], patch_size: int | None = None, focus_frames: int | None = None
) -> tuple[dict, dict[str, Tensor], list[str]]:
    """Model config, weights and remarks.

    Args:
        weights: with names ``global_CNN.*``, ``local_CNN.*`` and ``policy_stn.*`` (AdaFocus V2), or
            ``spatial_policy.*``, ``temporal_policy.*`` and ``aux_fc.*`` (Uni-AdaFocus).
        patch_size: P in pixels, which no weight tells; None for 144 (V2) or 128 (Uni).
        focus_frames: how many frames Uni-AdaFocus focuses on, which no weight tells; None for 12.

    Raises:
        ConversionError: if a weight has no place.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        part, _, rest = name.partition('.')
        groups.setdefault(part, {})[rest] = value
    uni = 'temporal_policy' in groups
    known = {'global_CNN', 'local_CNN'} | (
        {'spatial_policy', 'temporal_policy', 'aux_fc'} if uni else {'policy_stn'}
    )
    if set(groups) != known:
        left = sorted(name for name in weights if name.partition('.')[0] not in known)
        raise ConversionError(
            f'{"Uni-AdaFocus" if uni else "AdaFocus V2"} has the parts {sorted(known)}; '
            f'missing {sorted(known - set(groups))}, not placed {left}'
        )
    remarks = []
    if patch_size is None:
        patch_size = PUBLISHED_PATCH['uni' if uni else 'adafocusv2']
        remarks.append(f'no weight tells the size of the patch: {patch_size}; --patch-size sets another')
    if uni and focus_frames is None:
        focus_frames = PUBLISHED_FOCUS_FRAMES
        remarks.append(
            f'no weight tells the number of focus frames: {focus_frames}; --focus-frames sets another'
        )
    if not uni and focus_frames is not None:
        raise ConversionError(
            f'--focus-frames {focus_frames}: AdaFocus V2 focuses on every candidate; give it as many frames'
        )

    glance, glance_weights, glance_heads = _encoder(groups['global_CNN'])
    focus, focus_weights, focus_heads = _encoder(groups['local_CNN'])
    result = under('glance_encoder.backbone', glance_weights)
    result |= under('focus_encoder.backbone', focus_weights)
    for where, heads in (('glance', glance_heads), ('focus', focus_heads)):
        for leaf in ('weight', 'bias'):
            result[f'classifier.{where}.{leaf}'] = heads[f'new_fc.{leaf}']
            result[f'{where}_head.{leaf}'] = heads[f'new_new_fc.{leaf}']

    channels = glance_heads['new_fc.weight'].shape[1]
    if uni:
        policy, policy_weights, frames, cells = _deformable(groups['spatial_policy'])
        frame_policy, frame_weights = _frame_policy(groups['temporal_policy'])
        result |= under('frame_policy', frame_weights) | under('window_head', groups['aux_fc'])
    else:
        policy, policy_weights, frames, cells = _stacked(groups['policy_stn'], channels)
        frame_policy = None
    result |= under('policy', policy_weights)
    model = dict(
        type='AdaFocusRecognizer',
        num_classes=len(glance_heads['new_fc.bias']),
        glance=glance,
        focus=focus,
        policy=policy,
        patch_size=patch_size,
        glance_size=32 * cells,
        glance_frames=frames,
        frame_policy=frame_policy,
        focus_frames=focus_frames,
    )
    return model, result, remarks


def _encoder(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Encoder config, its weights, and the two linear layers behind it."""
    base = part_of(weights, 'base_model')
    heads = {name: value for name, value in weights.items() if not name.startswith('base_model.')}
    wanted = {f'{head}.{leaf}' for head in ('new_fc', 'new_new_fc') for leaf in ('weight', 'bias')}
    if set(heads) != wanted:
        raise ConversionError(
            'an encoder of AdaFocus has base_model, new_fc and new_new_fc; missing'
            f' {sorted(wanted - set(heads))}, not placed {sorted(set(heads) - wanted)}'
        )
    config, placed = encoder_from_tsm(base)
    return config, placed, heads


def _numbered(weights: Mapping[str, Tensor], places: Mapping[str, str], of: str) -> dict[str, Tensor]:
    """``4.weight`` to ``actor.0.weight`` where ``places`` says ``{'4': 'actor.0'}``."""
    left = [name for name in weights if name.rpartition('.')[0] not in places]
    if left:
        raise ConversionError(f'weights of {of} that have no place: {", ".join(left)}')
    return {
        f'{places[name.rpartition(".")[0]]}.{name.rpartition(".")[2]}': value
        for name, value in weights.items()
    }


def _stacked(
    weights: Mapping[str, Tensor], channels: int
) -> tuple[dict[str, Any], dict[str, Tensor], int, int]:
    places = {
        '0': 'reduce.0',
        '1': 'reduce.1',
        '4': 'actor.0',
        '5': 'actor.1',
        '7': 'actor.3',
        '8': 'actor.4',
        '10': 'actor.6',
    }
    require(weights, ('0.weight', '4.weight', '7.weight'), 'policy_stn')
    reduced, stacked = weights['0.weight'].shape[:2]
    cells = round((weights['4.weight'].shape[1] / reduced) ** 0.5)
    config = dict(
        type='StackedMapPolicy', reduced=reduced, hidden=(len(weights['4.weight']), len(weights['7.weight']))
    )
    return config, _numbered(weights, places, 'policy_stn'), stacked // channels, cells


def _deformable(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor], int, int]:
    places = {f'encoder.{number}': f'encoder.{number}' for number in (0, 1, 3, 4, 6, 7)} | {
        'encoder.9': 'actor'
    }
    require(weights, ['encoder.9.weight'], 'spatial_policy')
    _, hidden, frames, cells, _ = weights['encoder.9.weight'].shape
    return (
        dict(type='DeformablePolicy', hidden=hidden),
        _numbered(weights, places, 'spatial_policy'),
        frames,
        cells,
    )


def _frame_policy(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    require(weights, ['Tconv.0.weight'], 'temporal_policy')
    places = {f'Tconv.{number}': f'encoder.{number}' for number in (0, 1, 3, 4, 6)}
    return dict(type='FramePolicy', hidden=len(weights['Tconv.0.weight'])), _numbered(
        weights, places, 'temporal_policy'
    )
