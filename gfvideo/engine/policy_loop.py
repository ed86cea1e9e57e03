"""The policy's stage: roll out, then several epochs of minibatches on what was rolled out: PPO (Schulman et
al., 2017), or values of looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from ..models.base import Recognizer
from ..registry import LOOPS
from .loops import ResumableEpochLoop

__all__ = ['JointLoop', 'PolicyLoop']


@LOOPS.register_module()
class PolicyLoop(ResumableEpochLoop):
    """Epoch-based training of a policy that draws or learns values: one iteration is one batch of clips,
    looked at once and learned from several times.

    All passes go through the model's ``forward`` (modes 'rollout' and 'policy_loss'), so that a DDP wrapper
    sees them; it would never call a ``train_step`` of the model. Before each iteration the model's
    ``set_progress`` is told the share of the stage that is over, in [0, 1).

    Args:
        runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals: see
            :class:`mmengine.runner.EpochBasedTrainLoop`.
        update_epochs: passes over each rollout.
        minibatches: parts, of whole clips, a pass is cut in; a part per clip at most.
        target_kl: no further pass over a rollout once the mean approximate KL of a pass is above this (over
            all processes); None: never. Of PPO alone.

    Raises:
        ValueError: if a number is out of range.
    """

    # as many updates whatever the batch, with Adam, whose steps do not grow with it
    scales_rates = False

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_epochs: int,
        update_epochs: int = 4,
        minibatches: int = 4,
        target_kl: float | None = None,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ):
        super().__init__(runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals)
        if update_epochs < 1 or minibatches < 1:
            raise ValueError(f'update_epochs={update_epochs} and minibatches={minibatches} must be 1 or more')
        if target_kl is not None and target_kl <= 0:
            raise ValueError(f'target_kl={target_kl} must be positive, or None to make all passes')
        self.update_epochs, self.minibatches, self.target_kl = update_epochs, minibatches, target_kl

    def run(self) -> nn.Module:
        """Train.

        Raises:
            ValueError: if gradients are to be accumulated, which the number of updates per iteration does not
                allow.
        """
        accumulative_counts = getattr(self.runner.optim_wrapper, '_accumulative_counts', 1)
        if accumulative_counts != 1:
            raise ValueError(
                f'optim_wrapper.accumulative_counts={accumulative_counts}: PolicyLoop makes several updates'
                ' per batch; use fewer minibatches instead'
            )
        return super().run()

    def run_iter(self, idx: int, data_batch: Mapping) -> None:
        """One batch: rollout, updates, hooks."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self.learn(data_batch)
        self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def learn(self, data_batch: Mapping) -> dict[str, Tensor | int]:
        """Roll out a batch and update the policy on it.

        Returns:
            What 'policy_loss' logs, averaged over the updates, and ``updates``, their number.
        """
        model, optim_wrapper = self.runner.model, self.runner.optim_wrapper
        recognizer = model.module if is_model_wrapper(model) else model
        recognizer.set_progress(self._iter / self._max_iters)
        with torch.no_grad(), optim_wrapper.optim_context(model):
            data = recognizer.data_preprocessor(data_batch, True)
            rollout = model(**data, mode='rollout')
        logs: list[dict[str, Tensor]] = []
        for _ in range(self.update_epochs):
            logs += (
                pass_logs := [
                    self._update(model, recognizer, rollout.select(rows))
                    for rows in self._split(len(rollout), data['inputs'].device)
                ]
            )
            if self.target_kl is not None and self._mean_kl(pass_logs) > self.target_kl:
                break
        return {key: torch.stack([log[key] for log in logs]).mean() for key in logs[0]} | dict(
            updates=len(logs)
        )

    def _split(self, clips: int, device: torch.device) -> list[Tensor]:
        """Random parts of the numbers of ``clips`` rows, of sizes that differ by one at most."""
        rows = torch.randperm(clips).to(device)  # (clips,)
        return list(rows.tensor_split(min(self.minibatches, clips)))

    def _update(self, model: nn.Module, recognizer: Recognizer, part: Any) -> dict[str, Tensor]:
        optim_wrapper = self.runner.optim_wrapper
        with optim_wrapper.optim_context(model):
            losses = model(part, None, mode='policy_loss')
        loss, log_vars = recognizer.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return {key: torch.as_tensor(value).detach().float() for key, value in log_vars.items()}

    @staticmethod
    def _mean_kl(logs: list[dict[str, Tensor]]) -> float:
        """Mean over updates and processes: all processes must agree to stop, or they wait for each other for
        ever."""
        if 'approx_kl' not in logs[0]:
            raise ValueError('target_kl is for policies that learn by PPO; set train_cfg.target_kl=None')
        kl = torch.stack([log['approx_kl'] for log in logs]).mean()
        all_reduce(kl, 'mean')
        return kl.item()


@LOOPS.register_module()
class JointLoop(PolicyLoop):
    """Encoders and policy in one run (AdaptiveNN, Nature Machine Intelligence 2025), without stages: every
    batch teaches the encoders on places that ``train_centres`` names ('sample', or 'mixed'), and every
    ``policy_interval``-th one the policy, as :class:`PolicyLoop` does.

    While the encoders learn the policy is held, and the other way round no gradient leaves the policy. In
    distributed training each of the two leaves parameters without a gradient, so it needs
    ``find_unused_parameters=True``.

    Args:
        policy_interval: batches from one learning of the policy to the next.
        others: as for :class:`PolicyLoop`.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self, runner: Any, dataloader: Any, max_epochs: int, policy_interval: int = 4, **options: Any
    ):
        super().__init__(runner, dataloader, max_epochs, **options)
        if policy_interval < 1:
            raise ValueError(f'policy_interval={policy_interval} must be 1 or more')
        self.policy_interval = policy_interval

    def learn(self, data_batch: Mapping) -> dict[str, Tensor | int]:
        """Teach the encoders, and the policy when its turn has come; what both log."""
        logs: dict[str, Tensor | int] = dict(self._teach_encoders(data_batch))
        if (self._iter + 1) % self.policy_interval == 0:
            learned = super().learn(data_batch)
            logs |= {name if name not in logs else f'policy_{name}': value for name, value in learned.items()}
        return logs

    def _teach_encoders(self, data_batch: Mapping) -> dict[str, Tensor]:
        model = self.runner.model
        policy = (model.module if is_model_wrapper(model) else model).parts()['policy']
        held = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        for parameter in held:
            parameter.requires_grad_(False)
        try:
            return model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        finally:
            for parameter in held:
                parameter.requires_grad_(True)
