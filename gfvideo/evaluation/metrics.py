"""Accuracy after every look, as a metric of mmengine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from ..registry import METRICS
from .functional import accuracy_standard_error, mean_class_accuracy, top_k_accuracy

__all__ = ['ClipAccuracy', 'anytime_table', 'stacked_steps']


@METRICS.register_module()
class ClipAccuracy(BaseMetric):
    """Top-1, top-5 and mean class accuracy after the last look, and top-1 after every look (anytime
    prediction).

    All accuracies are fractions in [0, 1]:

    * ``top1``, ``top5`` (``top{C}`` is what it means when there are C < 5 classes), ``mean_class_accuracy``:
      after the last step;
    * ``top1_step0`` .. ``top1_step{S}``: after the glance and after each focus look; a static recognizer has
      step 0 alone;
    * ``top1_standard_error``: sqrt(p (1 - p) / N) of ``top1``;
    * ``gmacs_step0`` ..: the given costs, so that they stand beside the accuracies in every log.

    One result is kept per clip, so the clips that a distributed sampler adds to fill the last batch are
    dropped by ``evaluate(size)`` and each clip of the dataset counts once.

    Args:
        costs: GMACs (1e9 multiply-adds) per clip after each step, as
            :func:`gfvideo.complexity.recognizer_cost` measures them; None to show accuracies alone.
        collect_device: see :class:`mmengine.evaluator.BaseMetric`.
        prefix: put before every name as ``prefix/name``.
        collect_dir: see :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = ''

    def __init__(
        self,
        costs: Sequence[float] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.costs = None if costs is None else [float(cost) for cost in costs]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep label and ``step_logits`` of each clip of a batch.

        Raises:
            ValueError: if a clip has no label or no prediction.
        """
        for sample in data_samples:
            if 'gt_labels' in sample:
                raise ValueError(
                    f'clip {sample.get("video_id")!r} may have several classes, which accuracy does not know;'
                    " test with dict(type='MeanAveragePrecision')"
                )
            for field, remedy in (
                ('gt_label', 'test with a dataset that has labels'),
                ('step_logits', "the recognizer's predict must set it"),
            ):
                if field not in sample:
                    raise ValueError(f'clip {sample.get("video_id")!r} has no {field}: {remedy}')
            self.results.append(
                dict(
                    video_id=sample.get('video_id'),
                    label=int(sample['gt_label']),
                    step_logits=sample['step_logits'].detach().float().cpu(),
                )
            )  # (S+1, C)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Metrics of all clips; see the class.

        Raises:
            ValueError: if there is no clip, clips differ in their number of steps or classes, or the costs
                are not one per step.
        """
        step_logits = stacked_steps(results)  # (N, S+1, C)
        labels = torch.tensor([result['label'] for result in results])  # (N,)
        last = step_logits[:, -1]  # (N, C)
        top1 = top_k_accuracy(last, labels, 1)
        metrics = dict(
            top1=top1,
            top5=top_k_accuracy(last, labels, min(5, last.shape[1])),
            mean_class_accuracy=mean_class_accuracy(last, labels),
            top1_standard_error=accuracy_standard_error(top1, len(labels)),
        )
        steps = [top_k_accuracy(logits, labels, 1) for logits in step_logits.unbind(1)]
        metrics.update({f'top1_step{s}': accuracy for s, accuracy in enumerate(steps)})
        if self.costs is not None:
            if len(self.costs) != len(steps):
                raise ValueError(
                    f'{len(self.costs)} costs {self.costs} for {len(steps)} steps: give one per step, the'
                    ' glance included'
                )
            metrics.update({f'gmacs_step{s}': cost for s, cost in enumerate(self.costs)})
            print_log('\n' + anytime_table(steps, self.costs, len(labels)), logger='current')
        return metrics


def anytime_table(accuracies: Sequence[float], costs: Sequence[float], clips: int) -> str:
    """Lines of text: step, top-1 in percent with its standard error, GMACs per clip.

    Args:
        accuracies: top-1 after each step, fractions.
        costs: GMACs per clip after each step.
        clips: number of clips that were tested.
    """
    rows = [f'{"step":<8}{"top-1 (%)":>14}{"GMACs/clip":>13}']
    for step, (accuracy, cost) in enumerate(zip(accuracies, costs, strict=True)):
        error = accuracy_standard_error(accuracy, clips)
        name = 'glance' if step == 0 else f'look {step}'
        rows.append(f'{name:<8}{100 * accuracy:>7.1f} ± {100 * error:>4.1f}{cost:>13.3f}')
    return '\n'.join(rows)


def stacked_steps(results: Sequence[dict[str, Any]]) -> Tensor:
    """``step_logits`` of all clips, ``(N, S+1, C)``.

    Raises:
        ValueError: if there is no clip, or clips differ in their number of steps or classes.
    """
    if not results:
        raise ValueError('no clip was tested; is the split empty?')
    shapes = {tuple(result['step_logits'].shape): result['video_id'] for result in results}
    if len(shapes) > 1:
        raise ValueError(f'predictions differ in shape (S+1, C) between clips: {shapes}')
    return torch.stack([result['step_logits'] for result in results])
