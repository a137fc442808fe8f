"""Batch normalisation over a batch that lies in equal shares over processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from models.shares import Shares

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SharedBatchNorm(nn.Module):
    """A batch norm's parameters and buffers, used with the statistics of the whole batch.

    torch's own nn.SyncBatchNorm does the same on GPUs, and only there.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: BatchNorm, shares: Shares) -> None:
        super().__init__()
        if norm.momentum is None or norm.running_mean is None:
            raise ValueError(
                "a batch norm without momentum or running statistics cannot be shared by"
                " processes; train in one process"
            )
        self.shares, self.eps, self.momentum = shares, norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C) or (N, C, ...); in training by the batch, else by what was tracked."""
        mean, variance = self.running_mean, self.running_var
        if not self.training:
            return batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        # Shares are equal, so a mean over shares is the mean over the batch (Chan et al. 1979).
        own = torch.stack(torch.var_mean(wide, axes, correction=0))
        variances, means = self.shares.gather(own[None]).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + means.var(0, correction=0)
        self.track(mean.detach(), variance.detach(), len(means) * x.numel() // x.shape[1])
        scale, shape = (variance + self.eps).rsqrt(), [-1] + [1] * (x.dim() - 2)
        normalised = (wide - mean.view(shape)) * scale.view(shape)
        if self.weight is not None:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(x.dtype)

    @torch.no_grad()
    def track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics in place, as nn.BatchNorm does."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


def on_gpus(norm: BatchNorm) -> nn.SyncBatchNorm:
    """The batch norm that torch shares itself, with the same parameters and buffers."""
    shared = nn.SyncBatchNorm(norm.num_features, norm.eps, norm.momentum)
    shared.affine, shared.track_running_stats = norm.affine, norm.track_running_stats
    shared.weight, shared.bias = norm.weight, norm.bias
    shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
    shared.num_batches_tracked = norm.num_batches_tracked
    return shared


@contextmanager
def norms_replaced(model: nn.Module, make: Callable[[BatchNorm], nn.Module]) -> Iterator[None]:
    """Put `make(norm)` in the place of every batch norm of the model, for a while."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, BATCH_NORMS)
    ]
    made = {norm: make(norm).train(norm.training) for _, _, norm in places}
    try:
        for parent, name, norm in places:
            setattr(parent, name, made[norm])
        yield
    finally:
        for parent, name, norm in places:
            setattr(parent, name, norm.train(made[norm].training))
