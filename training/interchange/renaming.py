"""Tensors of another's network, under the names they have in ours; strict in both directions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.interchange.errors import WrongTensors
from training.interchange.foreign_files import State, listed

COUNTER = "num_batches_tracked"  # of batch norms; torch before 0.4.1 had none, and nothing needs it


def fill(
    network: nn.Module, source: Mapping[str, Tensor], modules: Mapping[str, str], where: str
) -> None:
    """Give a network (on the meta device) the source's tensors, in float32 and in eval().

    modules  our module -> theirs: "to_map.0.0" -> "layers.layer0.conv"
    A 1x1 convolution may become the linear layer that it is. Raises WrongTensors where a tensor is
    missing, left over or of another shape.
    """
    wanted = network.state_dict()
    names = {own: _theirs(own, modules) for own in wanted}
    missing = [name for name in names.values() if name not in source and not name.endswith(COUNTER)]
    if missing:
        raise WrongTensors(
            f"{where} has no {listed(missing)}. It holds {listed(list(source))}. "
            "Check --layout and the architecture arguments."
        )
    unknown = [name for name in source if name not in set(names.values())]
    if unknown:
        raise WrongTensors(
            f"{where} has {listed(unknown)}, which this architecture does not have. "
            "Check --layout and the architecture arguments."
        )
    own = {name: _fitted(source, names[name], like, where) for name, like in wanted.items()}
    network.load_state_dict(own, strict=True, assign=True)
    network.eval().requires_grad_(False)


def fold_bias(source: Mapping[str, Tensor], layer: str, norm: str) -> State:
    """Drop the bias of a layer before a batch norm: the norm's running mean takes it up.

    Equal in eval(), where the norm subtracts a fixed mean: (Wx + b) - m = Wx - (m - b).
    """
    bias, mean = f"{layer}.bias", f"{norm}.running_mean"
    if bias not in source or mean not in source or source[bias].shape != source[mean].shape:
        return dict(source)  # `fill` says what is wrong
    folded = {name: tensor for name, tensor in source.items() if name != bias}
    folded[mean] = source[mean].double() - source[bias].double()
    return folded


def split_inputs(
    source: Mapping[str, Tensor], layer: str, widths: Mapping[str, int], where: str
) -> State:
    """Cut a layer's weight along its inputs into layers of their own, named `layer.PART`.

    widths  part -> how many inputs, in the order in which they were concatenated
    The bias goes to the part "of_summary". Raises WrongTensors for a weight of another width.
    """
    rest = dict(source)
    weight = rest.pop(f"{layer}.weight", None)
    if weight is None or weight.ndim < 2 or weight.shape[1] != sum(widths.values()):
        has = f"no {layer}.weight" if weight is None else f"{layer}.weight as {tuple(weight.shape)}"
        raise WrongTensors(
            f"{where} has {has}, where one of {sum(widths.values())} inputs "
            f"({' + '.join(map(str, widths.values()))}) is needed. Check --layout."
        )
    pieces = weight.split(list(widths.values()), dim=1)
    rest |= {f"{layer}.{part}.weight": piece for part, piece in zip(widths, pieces, strict=True)}
    if f"{layer}.bias" in rest:
        rest[f"{layer}.of_summary.bias"] = rest.pop(f"{layer}.bias")
    return rest


def _theirs(own: str, modules: Mapping[str, str]) -> str:
    module, _, leaf = own.rpartition(".")
    return f"{modules[module]}.{leaf}"


def _fitted(source: Mapping[str, Tensor], name: str, like: Tensor, where: str) -> Tensor:
    tensor = source.get(name)
    if tensor is None:  # a counter
        return torch.zeros((), dtype=like.dtype)
    if tensor.ndim == 4 and like.ndim == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if tensor.shape != like.shape:
        raise WrongTensors(
            f"{where} has {name} as {tuple(tensor.shape)}, where this architecture has "
            f"{tuple(like.shape)}. Check the architecture arguments, such as summary_dim=64."
        )
    return tensor.to(like.dtype).clone().contiguous()
