"""Run by several processes together: what test_distributed.py then judges.

Prints a line of JSON a case: how far this process's gradients are from those of one process, as one
vector, and the worst of everything that must agree (each gradient, the loss, running statistics,
the prior critic's own gradient). Then trains in the folder it is given: `whole` in one go, `halves`
in two, since the last process gets SIGTERM in its third step; the first process alone in `alone`,
and in `fewer` what the two of them began in `halves`.
"""

import copy
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from models.amdim import Amdim
from models.coordinates import CoordinateHead, RelativeCoordinateHead
from models.critics import build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.objectives import OBJECTIVES
from models.prior import PriorCritic
from training.building import build_model, build_preprocessing
from training.config import TrainConfig
from training.distributed import ALONE, Ranks, joined
from training.loop import train
from training.source import Resident

TRAINED = TrainConfig(
    encoder="basic28x28",
    colour="grey",
    alpha=0.5,
    negatives="shuffle",
    local_units=8,
    global_units=8,
    batch_size=6,
    epochs=2,
    views="flip_crop_colour",
    learning_rate=1e-3,
)
CPU = torch.device("cpu")
IMAGES, DIM = 6, 6
# (local critic, global critic, negatives) for every objective
CRITICS = {
    "dot": ("local_dot", "global_dot", "all"),
    "dot, shuffled": ("local_dot", "global_dot", "shuffle"),
    "concat, shuffled": ("local_concat", "global_concat", "shuffle"),
    "concat, rolled": ("local_concat", "global_conv", "roll"),
}


def a_model(objective, critics, seed=1):
    torch.manual_seed(seed)
    local, global_, negatives = CRITICS[critics]
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=16)
    shapes = {"summary_dim": DIM, "map_shape": encoder.map_shape, "units": 8}
    model = DeepInfoMax(
        encoder,
        DimTerms(objective=objective, negatives=negatives, alpha=0.5, beta=1.0, gamma=0.3),
        local_critic=build_critic(local, **shapes),
        global_critic=build_critic(global_, **shapes),
        prior_critic=PriorCritic(DIM),
    )
    model.double().train().prior_critic.float()  # it takes 32 bits, whatever the encoder gives
    return model


def a_model_with_everything():
    """Occlusion, both coordinate tasks, several globals, MINE's gradient."""
    torch.manual_seed(1)
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=16)
    shapes = {"map_shape": encoder.map_shape, "units": 8}
    model = DeepInfoMax(
        encoder,
        DimTerms(
            objective="dv",
            negatives="shuffle",
            alpha=0.5,
            gamma=0.0,
            coordinates=0.7,
            relative_coordinates=0.6,
            occlusion=5,
            num_globals=2,
            dv_ema=0.1,
        ),
        local_critic=build_critic("local_dot", summary_dim=DIM // 2, **shapes),
        global_critic=build_critic("global_concat", summary_dim=DIM // 2, **shapes),
        coordinate_head=CoordinateHead(DIM, **shapes),
        relative_coordinate_head=RelativeCoordinateHead(DIM, **shapes),
    )
    return model.double().train()


def an_amdim(**arguments):
    torch.manual_seed(1)
    shape = {"channels": 3, "rkhs": 20, "depth": 2}
    encoder = build_encoder("amdim32", image_channels=1, **shape, **arguments)
    return Amdim(encoder, **arguments).double().train()


def some_views(model):
    generator = torch.Generator().manual_seed(2)
    shape = (IMAGES, 1, model.encoder.image_size, model.encoder.image_size)
    return [torch.randn(shape, generator=generator).double() for _ in range(model.num_views)]


def learned(model, views, ranks: Ranks):
    """Every number of a step that ranks must agree on, by name."""
    model = copy.deepcopy(model)
    run = ranks.parallel(model)
    generators = [torch.Generator().manual_seed(number) for number in (3, 4)]
    with ranks.sharing(model):
        loss, parts, features = run(*map(ranks.own, views), generator=generators[0])
        loss.backward()
        numbers = {
            f"gradient {name}": parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }
        if model.prior_critic is not None:
            prior = torch.optim.SGD(model.prior_critic.parameters())
            prior.zero_grad()
            model.prior_loss(features, generators[1]).backward()
            ranks.average_gradients(prior)
            for name, parameter in model.prior_critic.named_parameters():
                numbers[f"gradient of its own loss, prior critic {name}"] = parameter.grad
    numbers |= {f"state {name}": value for name, value in model.named_buffers()}
    numbers |= {f"part {name}": part.detach() for name, part in {"loss": loss, **parts}.items()}
    return numbers


def difference(expected, found):
    """(relative error of all gradients as one vector, worst of the others, its name)."""
    assert expected.keys() == found.keys()
    gradients = [name for name in expected if name.startswith("gradient")]
    whole, wrong = (
        torch.cat([numbers[name].flatten() for name in gradients])
        for numbers in (expected, {name: found[name] - expected[name] for name in gradients})
    )
    scale = {name: expected[name].norm() + 1e-3 * whole.norm() for name in gradients}
    others = expected.keys() - set(gradients)
    scale |= {name: expected[name].double().norm() + 1e-3 for name in others}
    each = {
        name: float((found[name] - expected[name]).double().norm() / scale[name])
        for name in expected
    }
    worst = max(each, key=each.get)
    return float(wrong.norm() / whole.norm()), each[worst], worst


class Apart(Ranks):
    """Ranks that forget to gather: what plain data parallelism would give."""

    def __init__(self, ranks):
        self.own, self.parallel, self.draws = ranks.own, ranks.parallel, ranks.draws
        self.average_gradients = ranks.average_gradients


def tell(case, model: nn.Module, ranks: Ranks):
    views = some_views(model)
    error, worst, name = difference(learned(model, views, ALONE), learned(model, views, ranks))
    print(json.dumps({"case": case, "error": error, "worst": worst, "name": name}), flush=True)


class Interrupted(Resident):
    """Sends its process SIGTERM while the third batch is learned."""

    def batches(self, rows):
        for number, pixels in enumerate(super().batches(rows), start=1):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield pixels


def train_in(out, ranks, source=Resident):
    out.mkdir(exist_ok=True)
    pixels = torch.randint(
        0, 256, (20, 28, 28, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )
    torch.manual_seed(TRAINED.seed if ranks.writes else 99)  # the first one's start counts
    model = build_model(TRAINED)
    preprocessing = build_preprocessing(TRAINED)
    return train(TRAINED, model, source(pixels), preprocessing, out, device=CPU, ranks=ranks)


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with joined(CPU) as (ranks, _):
        for objective in OBJECTIVES:
            for critics in CRITICS if objective == "dv" else ("dot", "concat, shuffled"):
                tell(f"{objective}, {critics}", a_model(objective, critics), ranks)
        tell("dv, with every task", a_model_with_everything(), ranks)
        tell("amdim", an_amdim(), ranks)
        tell("amdim, batch norms within", an_amdim(use_bn=True), ranks)
        tell("nothing gathered", a_model("infonce", "dot"), Apart(ranks))
        assert train_in(out / "whole", ranks).finished
        last = ranks.rank == ranks.world - 1
        stopped = train_in(out / "halves", ranks, Interrupted if last else Resident)
        assert (stopped.steps, stopped.finished) == (3, False)
        if ranks.writes:
            shutil.copytree(out / "halves", out / "fewer")
        assert train_in(out / "halves", ranks).finished
        if ranks.writes:
            train_in(out / "fewer", ALONE)
            train_in(out / "alone", ALONE)


if __name__ == "__main__":
    main()
