"""Mean average precision of clips that may show several classes, as a metric of mmengine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from ..models.arguments import one_of
from ..registry import METRICS
from .functional import average_precisions
from .metrics import stacked_steps

__all__ = ['MeanAveragePrecision']

SHOWN = 10


@METRICS.register_module()
class MeanAveragePrecision(BaseMetric):
    """Mean over the classes of their average precision, after the last look and after every look.

    All values are fractions in [0, 1]:

    * ``mAP``: after the last step;
    * ``mAP_step0`` .. ``mAP_step{S}``: after the glance and after each focus look;
    * ``hit1``: of the clips, those whose likeliest class is one that they show.

    Classes that no tested clip shows have no average precision: they are left out of the mean, and named in
    the log.

    Args:
        scores: what clips are ranked by: 'softmax' of the logits, as AR-Net and AdaFocus do, for a
            recognizer with ``loss='cross_entropy'``; 'sigmoid', for ``loss='binary_cross_entropy'``.
        collect_device: see :class:`mmengine.evaluator.BaseMetric`.
        prefix: put before every name as ``prefix/name``.
        collect_dir: see :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = ''

    def __init__(
        self,
        scores: str = 'softmax',
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.scores = one_of(scores, 'scores', ('softmax', 'sigmoid'))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep labels and ``step_logits`` of each clip of a batch.

        Raises:
            ValueError: if a clip has no label or no prediction.
        """
        for sample in data_samples:
            labels = sample.get('gt_labels', sample.get('gt_label'))
            if labels is None or 'step_logits' not in sample:
                missing, remedy = (
                    ('labels', 'test with a dataset that has labels')
                    if labels is None
                    else ('step_logits', "the recognizer's predict must set it")
                )
                raise ValueError(f'clip {sample.get("video_id")!r} has no {missing}: {remedy}')
            self.results.append(
                dict(
                    video_id=sample.get('video_id'),
                    labels=torch.as_tensor(labels).reshape(-1).tolist(),
                    step_logits=sample['step_logits'].detach().float().cpu(),
                )
            )  # (S+1, C)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Metrics of all clips; see the class.

        Raises:
            ValueError: if there is no clip, clips differ in their number of steps or classes, or a label is
                out of range.
        """
        step_logits = stacked_steps(results)  # (N, S+1, C)
        present = self._present(results, step_logits.shape[2])  # (N, C)
        of_class = [self._average_precisions(logits, present) for logits in step_logits.unbind(1)]
        left_out = of_class[-1].isnan().nonzero().flatten().tolist()
        if left_out:
            names = self._named(left_out[:SHOWN]) + (['…'] if len(left_out) > SHOWN else [])
            print_log(
                f'{len(left_out)} of {present.shape[1]} classes are left out of the mean average precision,'
                f' for no tested clip shows them: {", ".join(names)}',
                logger='current',
            )
        steps = [one.nanmean().item() for one in of_class]
        best = step_logits[:, -1].argmax(-1, keepdim=True)
        return dict(
            mAP=steps[-1],
            **{f'mAP_step{step}': value for step, value in enumerate(steps)},
            hit1=present.gather(1, best).double().mean().item(),
        )

    def _average_precisions(self, logits: Tensor, present: Tensor) -> Tensor:
        # in double precision, so that sure answers are not taken for equal ones
        logits = logits.double()
        return average_precisions(logits.softmax(-1) if self.scores == 'softmax' else logits, present)

    def _present(self, results: list[dict[str, Any]], classes: int) -> Tensor:
        present = torch.zeros(len(results), classes, dtype=torch.bool)
        for row, result in zip(present, results):
            wrong = [label for label in result['labels'] if not 0 <= label < classes]
            if wrong:
                raise ValueError(
                    f'clip {result["video_id"]!r} has label {wrong[0]}, but the scores are of {classes}'
                    ' classes, numbered from 0; check num_classes and the label order of the dataset'
                )
            row[result['labels']] = True
        return present

    def _named(self, numbers: Sequence[int]) -> list[str]:
        names = (self.dataset_meta or {}).get('classes') or ()
        return [repr(names[number]) if number < len(names) else str(number) for number in numbers]
