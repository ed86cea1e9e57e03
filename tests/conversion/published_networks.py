"""Published models, written out slowly from the weights under their published names.

Plain functions of torch, one frame or image after the other where that is clearer; of the package only the
image backbones of GFNet are used, which have tests of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfvideo.registry import MODELS

Weights = Mapping[str, Tensor]
Shift = Callable[[Tensor, str], Tensor]


def under(weights: Weights, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def normalised(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(
        x, *(weights[f'{name}.{leaf}'] for leaf in ('running_mean', 'running_var', 'weight', 'bias'))
    )


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']


# -------------------------------------------------------------------------------------------------- the shift


def both_ways(frames: int) -> Shift:
    """An eighth of the channels comes from the next frame, an eighth from the one before; of images
    ``(B*T, C, H, W)``."""

    def shift(x: Tensor, name: str) -> Tensor:
        clips, fold = x.unflatten(0, (-1, frames)), x.shape[1] // 8
        out = torch.zeros_like(clips)
        for t in range(frames):
            out[:, t, 2 * fold :] = clips[:, t, 2 * fold :]
            if t + 1 < frames:
                out[:, t, :fold] = clips[:, t + 1, :fold]
            if t > 0:
                out[:, t, fold : 2 * fold] = clips[:, t - 1, fold : 2 * fold]
        return out.flatten(0, 1)

    return shift


def forwards_only(left: dict[str, Tensor]) -> Shift:
    """An eighth of the channels of one frame is replaced by what the frame before ``left``, and left for the
    next."""

    def shift(x: Tensor, name: str) -> Tensor:
        fold = x.shape[1] // 8
        before = left.get(name, torch.zeros_like(x[:, :fold]))
        left[name] = x[:, :fold]
        return torch.cat([before, x[:, fold:]], 1)

    return shift


# ----------------------------------------------------------------------------------------------- the networks


def resnet50_or_101(weights: Weights, x: Tensor, shift: Shift, mmaction: bool = False) -> Tensor:
    """Deepest map; a convolution whose name carries ``.net`` is shifted."""

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        name = f'{name}.conv' if mmaction else name
        if f'{name}.net.weight' in weights:
            name, x = f'{name}.net', shift(x, name)
        weight = weights[f'{name}.weight']
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)

    def norm(block: str, number: int, x: Tensor) -> Tensor:
        return normalised(weights, f'{block}conv{number}.bn' if mmaction else f'{block}bn{number}', x)

    def shortcut(block: str, x: Tensor, stride: int) -> Tensor:
        convolution, norm = (
            ('downsample.conv', 'downsample.bn') if mmaction else ('downsample.0', 'downsample.1')
        )
        if f'{block}{convolution}.weight' not in weights:
            return x
        return normalised(
            weights, block + norm, F.conv2d(x, weights[f'{block}{convolution}.weight'], None, stride)
        )

    x = F.max_pool2d(norm('', 1, conv('conv1', x, 2)).relu(), 3, 2, 1)
    for layer in (1, 2, 3, 4):
        index = 0
        while any(name.startswith(f'layer{layer}.{index}.') for name in weights):
            block, stride = f'layer{layer}.{index}.', 2 if layer > 1 and index == 0 else 1
            out = norm(block, 1, conv(f'{block}conv1', x)).relu()
            out = norm(block, 2, conv(f'{block}conv2', out, stride)).relu()
            x = (norm(block, 3, conv(f'{block}conv3', out)) + shortcut(block, x, stride)).relu()
            index += 1
    return x


MMACTION_BLOCKS = [
    'layer1.0',
    *[f'layer2.{i}' for i in range(2)],
    *[f'layer3.{i}' for i in range(3)],
    *[f'layer4.{i}' for i in range(4)],
    *[f'layer5.{i}' for i in range(3)],
    *[f'layer6.{i}' for i in range(3)],
    'layer7.0',
]


def mobilenetv2(
    weights: Weights, x: Tensor, shift: Shift, mmaction: bool = False, shifted: tuple[int, ...] = ()
) -> Tensor:
    """Deepest map; a convolution whose name carries ``.net`` is shifted, and the first one of the blocks
    ``shifted``."""

    def names(block: int, layer: int) -> tuple[str, str, bool]:
        """Convolution, normalisation, shifted or not."""
        if not mmaction:
            name = f'features.{block}.conv.{3 * layer}'
            marked = f'{name}.net.weight' in weights
            return f'{name}.net' if marked else name, f'features.{block}.conv.{3 * layer + 1}', marked
        name = f'{MMACTION_BLOCKS[block - 1]}.conv.{layer}'
        marked = f'{name}.net.conv.weight' in weights
        name = f'{name}.net' if marked else name
        return f'{name}.conv', f'{name}.bn', marked

    def stem_or_last(x: Tensor, names: tuple[str, str], stride: int) -> Tensor:
        weight = weights[f'{names[0]}.weight']
        return normalised(weights, names[1], F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)).clamp(
            0, 6
        )

    x = stem_or_last(x, ('conv1.conv', 'conv1.bn') if mmaction else ('features.0.0', 'features.0.1'), 2)
    for block in range(1, 18):
        stride, layers, out = 2 if block in (2, 4, 7, 14) else 1, 2 if block == 1 else 3, x
        for layer in range(layers):
            convolution, norm, marked = names(block, layer)
            if marked or layer == 0 and block in shifted:
                out = shift(out, convolution)
            weight, depthwise = weights[f'{convolution}.weight'], layer == layers - 2
            out = F.conv2d(
                out,
                weight,
                None,
                stride if depthwise else 1,
                weight.shape[-1] // 2,
                groups=len(weight) if depthwise else 1,
            )
            out = normalised(weights, norm, out)
            if layer < layers - 1:
                out = out.clamp(0, 6)
        x = x + out if out.shape == x.shape else out
    return stem_or_last(x, ('conv2.conv', 'conv2.bn') if mmaction else ('features.18.0', 'features.18.1'), 1)


# ------------------------------------------------------------------------------------------------------ GFNet


def gfnet(
    content: Mapping,
    backbone: dict,
    images: Tensor,
    looks: int,
    interpolation: str,
    glance_answers_alone: bool,
) -> tuple[Tensor, Tensor]:
    """Logits ``(looks, B, C)`` and centres ``(looks - 1, B, 2)`` of images ``(B, 3, H, W)``."""

    def encoder(part: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        model = MODELS.build(backbone).eval()
        model.load_state_dict(model.rename_pretrained(dict(content[part])))

        def read(x: Tensor) -> tuple[Tensor, Tensor]:
            deepest = model(x)[32]
            return deepest, model.to_vector(deepest)

        return read

    def gru(weights: Weights) -> nn.GRU:
        layer = nn.GRU(weights['weight_ih_l0'].shape[1], weights['weight_hh_l0'].shape[1])
        layer.load_state_dict(weights)
        return layer

    def seen(feature_map: Tensor) -> Tensor:
        if policy['state_encoder.0.weight'].dim() == 4:
            reduced = F.conv2d(feature_map, policy['state_encoder.0.weight']).relu()
            return linear(policy, 'state_encoder.3', reduced.flatten(1)).relu()
        return linear(
            policy, 'state_encoder.2', linear(policy, 'state_encoder.0', feature_map.flatten(1)).relu()
        ).relu()

    def answered(vectors: list[Tensor]) -> Tensor:
        if recurrent:
            return linear(classifier, 'fc', memory(torch.stack(vectors))[0][-1])
        return linear(classifier, f'fc_{len(vectors)}', torch.cat(vectors, 1))

    P, policy, classifier = content['patch_size'], content['policy'], content['fc']
    recurrent = 'rnn.weight_ih_l0' in classifier
    memory = gru(under(classifier, 'rnn.')) if recurrent else None
    choose, glance, focus = (
        gru(under(policy, 'gru.')),
        encoder('model_prime_state_dict'),
        encoder('model_state_dict'),
    )

    feature_map, vector = glance(F.interpolate(images, (P, P), mode=interpolation, align_corners=True))
    own = next(
        name
        for name in ('module.fc', 'module.classifier')
        if f'{name}.weight' in content['model_prime_state_dict']
    )
    vectors, maps, centres = [vector], [seen(feature_map)], []
    logits = [
        linear(content['model_prime_state_dict'], own, vector) if glance_answers_alone else answered(vectors)
    ]
    for _ in range(1, looks):
        centre = torch.sigmoid(linear(policy, 'actor.0', choose(torch.stack(maps))[0][-1]))  # (B, 2)
        patches = []
        for image, (y, x) in zip(images, centre.tolist()):
            top, left = math.floor(y * (image.shape[1] - P)), math.floor(x * (image.shape[2] - P))
            patches.append(image[:, top : top + P, left : left + P])
        feature_map, vector = focus(torch.stack(patches))
        vectors.append(vector), maps.append(seen(feature_map)), centres.append(centre)
        logits.append(answered(vectors))
    return torch.stack(logits), torch.stack(centres)


# --------------------------------------------------------------------------------------------------- AdaFocus


def cut(frames: Tensor, y: float, x: float, height: float, width: float, patch: int) -> Tensor:
    """A window at corner (y, x), all in pixels, of frames ``(T, 3, H, W)``, resampled to
    ``(T, 3, patch, patch)``."""
    H, W = frames.shape[-2:]
    theta = torch.tensor(
        [[width / W, 0, -1 + (2 * x + width) / W], [0, height / H, -1 + (2 * y + height) / H]]
    )
    grid = F.affine_grid(theta.expand(len(frames), 2, 3), (len(frames), 3, patch, patch), align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False)


def quantile_frames(weights: list[float], candidates: int, chosen: int) -> list[int]:
    """Focus frames of Uni-AdaFocus, one after the other."""
    spans, reached = len(weights), [0.0]
    for weight in weights[:-1]:
        reached.append(reached[-1] + weight)
    reached.append(1.0)
    picked: list[int] = []
    for i in range(chosen):
        threshold = (i + 0.5) / chosen
        end = next(k for k in range(1, spans + 1) if reached[k] >= threshold)
        within = (threshold - reached[end - 1]) / (reached[end] - reached[end - 1])
        index = math.floor((end - 1 + within) / spans * candidates)
        if picked and index <= picked[-1]:
            index = picked[-1] + 1
        picked.append(index)
    return [min(index, candidates - chosen + i) for i, index in enumerate(picked)]


def ada_focus(
    weights: Weights, glance_frames: Tensor, candidates: Tensor, patch: int, focus_frames: int | None = None
) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Of one clip, ``(Tg, 3, 224, 224)`` and ``(T, 3, 224, 224)``: logits ``(C,)`` of the glance and the
    final ones, (y, x) of the window and how large it is (Uni-AdaFocus), in [0, 1], and the focus frames."""
    glance, focus = under(weights, 'module.global_CNN.'), under(weights, 'module.local_CNN.')
    # (Tg, 1280, 7, 7)
    maps = mobilenetv2(under(glance, 'base_model.'), glance_frames, both_ways(len(glance_frames)))
    vectors, size = maps.mean((2, 3)), candidates.shape[-1]
    chosen = list(range(len(candidates)))
    if focus_frames is None:
        layers = under(weights, 'module.policy_stn.')
        x = normalised(layers, '1', F.conv2d(maps.flatten(0, 1)[None], layers['0.weight'])).tanh().flatten(1)
        x = normalised(layers, '5', linear(layers, '4', x)).tanh()
        x = normalised(layers, '8', linear(layers, '7', x)).tanh()
        action = linear(layers, '10', x).sigmoid()[0]
        height = width = float(patch)
    else:
        layers = under(weights, 'module.spatial_policy.encoder.')
        x = maps.transpose(0, 1)[None]  # (1, 1280, Tg, 7, 7)
        for number in (0, 3, 6):
            weight = layers[f'{number}.weight']
            x = normalised(layers, str(number + 1), F.conv3d(x, weight, padding=weight.shape[-1] // 2)).relu()
        action = F.conv3d(x, layers['9.weight']).flatten().sigmoid()
        height, width = (96 + action[2:] * (224 - 96)).tolist()
        layers = under(weights, 'module.temporal_policy.Tconv.')
        x = vectors.T[None, :, :, None]  # (1, 1280, Tg, 1)
        for number in (0, 3):
            x = normalised(
                layers, str(number + 1), F.conv2d(x, layers[f'{number}.weight'], padding=(1, 0))
            ).relu()
        chosen = quantile_frames(
            F.conv2d(x, layers['6.weight']).flatten().softmax(0).tolist(), len(candidates), focus_frames
        )
    y, x = action[0].item() * (size - height), action[1].item() * (size - width)
    patches = cut(candidates[chosen], y, x, height, width, patch)
    focus_vectors = resnet50_or_101(under(focus, 'base_model.'), patches, both_ways(len(patches))).mean(
        (2, 3)
    )
    glance_logits = linear(glance, 'new_fc', vectors).mean(0)
    return glance_logits, glance_logits + linear(focus, 'new_fc', focus_vectors).mean(0), action, chosen
