"""Deep InfoMax: its parts, their signs, who steps what, and one batch learned by heart."""

import math

import pytest
import torch

from models.critics import Critic, build_critic
from models.dim import DeepInfoMax, DimTerms
from models.encoders import build_encoder
from models.negatives import NEGATIVES
from models.objectives import OBJECTIVES
from models.prior import PriorCritic, encoder_loss

DIM = 8


def a_model(units=16, local="local_dot", **terms):
    """A small encoder with all three critics."""
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=32)
    shapes = {"summary_dim": DIM, "map_shape": encoder.map_shape, "units": units}
    return DeepInfoMax(
        encoder,
        DimTerms(**terms),
        local_critic=build_critic(local, **shapes),
        global_critic=build_critic("global_dot", **shapes),
        prior_critic=PriorCritic(DIM),
    )


def images(count=6):
    return torch.randn(count, 1, 28, 28)


def snapshot(module):
    return [p.detach().clone() for p in module.parameters()]


def unchanged(module, before):
    return all(map(torch.equal, module.parameters(), before))


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma"), [(0.5, 1.0, 0.1), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)]
)
def test_the_loss_is_the_weighted_sum_with_bounds_negated(alpha, beta, gamma):
    loss, parts, _ = a_model(alpha=alpha, beta=beta, gamma=gamma)(images())
    weights = {"global_bound": -alpha, "local_bound": -beta, "prior_encoder_loss": gamma}
    assert set(parts) == {name for name, weight in weights.items() if weight}
    expected = sum(weights[name] * part.item() for name, part in parts.items())
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", ["global_bound", "local_bound"])
def test_raising_a_bound_lowers_the_loss(part):
    model, batch = a_model(alpha=0.5, beta=1.0, gamma=0.1), images()
    loss, parts, _ = model(batch)
    of_loss, of_bound = (
        torch.autograd.grad(value, model.encoder.to_y.weight, retain_graph=True)[0]
        for value in (loss - 0.1 * parts["prior_encoder_loss"], parts[part])
    )
    other = parts["global_bound" if part == "local_bound" else "local_bound"]
    (of_other,) = torch.autograd.grad(other, model.encoder.to_y.weight)
    weight, rest = (0.5, 1.0) if part == "global_bound" else (1.0, 0.5)
    torch.testing.assert_close(of_loss, -weight * of_bound - rest * of_other)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("negatives", sorted(NEGATIVES))
def test_the_parts_are_the_objective_of_the_negatives_scores(objective, negatives):
    terms = {"objective": objective, "negatives": negatives, "alpha": 1.0, "gamma": 1.0}
    model = a_model(**terms).eval()
    _, parts, features = model(images(), generator=torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)  # global first, then local
    for name, critic in (("global", model.global_critic), ("local", model.local_critic)):
        scores = NEGATIVES[negatives](critic, features.y, features.map, generator)
        torch.testing.assert_close(parts[f"{name}_bound"], OBJECTIVES[objective](scores))
    in_prior_space = features.y.sigmoid()  # the prior sees sigmoid(Y), the bounds Y itself
    expected = encoder_loss(model.prior_critic, in_prior_space)
    torch.testing.assert_close(parts["prior_encoder_loss"], expected)


def test_a_weight_of_0_leaves_its_critic_alone():
    silent = Critic()  # raises when it is asked for scores
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=32)
    local = build_critic("local_dot", summary_dim=DIM, map_shape=encoder.map_shape, units=16)
    terms = DimTerms(alpha=0.0, beta=1.0, gamma=0.0)
    model = DeepInfoMax(
        encoder, terms, local_critic=local, global_critic=silent, prior_critic=PriorCritic(3)
    )
    _, parts, _ = model(images())
    assert set(parts) == {"local_bound"}


@pytest.mark.parametrize("weight", ["alpha", "beta", "gamma"])
def test_a_weight_without_its_critic_is_refused_with_the_remedy(weight):
    encoder = build_encoder("basic28x28", summary_dim=DIM, fc_dim=8)
    terms = DimTerms(**({"alpha": 0.0, "beta": 0.0, "gamma": 0.0} | {weight: 0.5}))
    with pytest.raises(ValueError, match=f"{weight} is 0.5, so its critic is needed"):
        DeepInfoMax(encoder, terms)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"objective": "jds"}, r"unknown objective 'jds'; did you mean jsd\?"),
        ({"negatives": "rol"}, r"unknown negatives 'rol'; did you mean roll\?"),
        ({"prior": "uniforn"}, "prior must be one of uniform, gaussian"),
    ],
)
def test_unknown_names_are_refused_before_any_step(terms, message):
    with pytest.raises(ValueError, match=message):
        a_model(**terms)


def test_a_game_without_a_prior_critic_is_refused_with_the_remedy():
    encoder = build_encoder("basic28x28", summary_dim=DIM, image_channels=1, fc_dim=8)
    model = DeepInfoMax(encoder, DimTerms(beta=0.0, gamma=0.0))
    with pytest.raises(ValueError, match="set gamma above 0"):
        model.prior_loss(encoder(images()))


def test_bound_parameters_are_the_encoders_and_both_critics_never_the_priors():
    model = a_model(alpha=0.5)
    listed = model.bound_parameters()
    prior = set(map(id, model.prior_critic.parameters()))
    assert len(set(map(id, listed))) == len(listed)
    assert {*map(id, listed)} | prior == set(map(id, model.parameters()))
    assert not prior & set(map(id, listed))


def test_the_encoders_step_leaves_the_prior_critic_as_it_was_and_the_reverse():
    model, batch = a_model(alpha=0.5, gamma=1.0), images()
    parts = (model.encoder, model.local_critic, model.global_critic)
    bounds = torch.optim.Adam(model.bound_parameters(), 1e-2)
    prior = torch.optim.Adam(model.prior_critic.parameters(), 1e-2)

    before = snapshot(model.prior_critic)
    loss, _, features = model(batch)
    loss.backward()
    bounds.step()
    assert unchanged(model.prior_critic, before)

    before = [snapshot(part) for part in parts]
    gradients = [p.grad.clone() for p in model.bound_parameters()]
    prior.zero_grad()
    model.prior_loss(features).backward()
    prior.step()
    assert all(map(unchanged, parts, before))
    assert all(
        torch.equal(p.grad, g) for p, g in zip(model.bound_parameters(), gradients, strict=True)
    )


def test_the_prior_critics_step_tells_the_prior_from_the_summary():
    model, batch = a_model(gamma=1.0, prior_penalty=0.0), images(32)
    optimiser = torch.optim.Adam(model.prior_critic.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        features = model.encoder(batch)
        loss = model.prior_loss(features)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("negatives", sorted(NEGATIVES))
def test_a_generator_makes_a_pass_reproducible(negatives):
    model, batch = a_model(negatives=negatives).eval(), images()
    first, _, _ = model(batch, generator=torch.Generator().manual_seed(1))
    second, _, _ = model(batch, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, second)


def test_under_bf16_autocast_the_loss_is_single_precision_and_near():
    model, batch = a_model(alpha=0.5, gamma=1.0), images(16)
    full, _, _ = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half, parts, features = model(batch)
        prior = model.prior_loss(features)
    assert {half.dtype, prior.dtype, *(part.dtype for part in parts.values())} == {torch.float32}
    assert half.item() == pytest.approx(full.item(), rel=0.1)
    half.backward()
    assert all(p.grad.isfinite().all() for p in model.bound_parameters())


@pytest.mark.parametrize(
    ("local", "objective", "steps", "ceiling"),
    [
        ("local_dot", "jsd", 30, 2 * math.log(2)),
        ("local_concat", "jsd", 60, 2 * math.log(2)),
        ("local_dot", "infonce", 40, math.log(1 + 7 * 49)),
    ],
)
def test_one_batch_is_learned_by_heart(local, objective, steps, ceiling):
    model = a_model(units=64, local=local, objective=objective, gamma=0.0)
    batch = images(8)
    optimiser = torch.optim.Adam(model.bound_parameters(), 2e-3)
    for _ in range(steps):
        loss, parts, _ = model(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["local_bound"] > 0.9 * ceiling
