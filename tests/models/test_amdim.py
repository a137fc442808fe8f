"""AMDIM: its scores, penalty and bounds against plain loops, and one batch learned by heart."""

import json
import math

import pytest
import torch
from torch import nn

from models.amdim import TASKS, Amdim, Head, clipped, draw_places, places_at, score
from models.card import ObjectiveCard
from models.encoders import build_encoder
from models.encoders.amdim import Residual
from models.negatives import split_diagonal
from models.objectives import infonce

ENCODER = {"channels": 4, "rkhs": 24, "depth": 1}


def a_model(encoder=None, **arguments):
    """A small AMDIM whose zero convolutions are awake, as after some training."""
    model = Amdim(build_encoder("amdim32", **(ENCODER | (encoder or {}))), **arguments)
    for module in model.modules():
        if isinstance(module, Residual):
            nn.init.normal_(module.out.weight, std=0.1)
        if isinstance(module, Head):
            nn.init.normal_(module.hidden[-1].weight, std=0.1)
    return model


def two_views(images=4):
    view = torch.randn(images, 3, 32, 32)
    return view, view + 0.3 * torch.randn_like(view)


def looped_bound(source, target, clip):
    """The NCE of the authors' code as a loop: (bound with + log K, mean squared raw score)."""
    images, units = source.shape
    places = target.flatten(2)
    total, squares = 0.0, []
    for i in range(images):
        raw = [
            [float(source[i] @ places[j, :, p]) / math.sqrt(units) for p in range(places.shape[2])]
            for j in range(images)
        ]
        squares += [number**2 for row in raw for number in row]
        tame = [[clip * math.tanh(number / clip) for number in row] for row in raw]
        others = [number for j in range(images) if j != i for number in tame[j]]
        for own in tame[i]:  # its other places are neither above nor below the line
            below = math.exp(own) + sum(math.exp(number) for number in others)
            total += own - math.log(below) + math.log(1 + len(others))
    return total / (images * places.shape[2]), sum(squares) / len(squares)


@pytest.mark.parametrize("clip", [1.0, 20.0])
def test_a_bound_is_the_authors_nce_plus_log_k_written_as_a_loop(clip):
    source, target = torch.randn(4, 6), 3 * torch.randn(4, 6, 2, 2)
    scores = score(source, target)
    expected, squared = looped_bound(source, target, clip)
    bound = infonce(split_diagonal(clipped(scores, clip)))
    assert float(bound) == pytest.approx(expected, rel=1e-5)
    assert float(scores.square().mean()) == pytest.approx(squared, rel=1e-5)


@pytest.mark.parametrize("clip", [0.5, 20.0])
def test_loss_and_parts_are_three_tasks_in_both_directions(clip):
    model, (first, second) = a_model(clip=clip, regulariser=0.03), two_views()
    with torch.no_grad():  # in training mode throughout: norms use the statistics of the batch
        draw = torch.Generator().manual_seed(3)
        loss, parts, features = model(first, second, generator=draw)
        scales = model.encoder.scales(torch.cat((first, second)))
        five, seven = model.head_five(scales.five), model.head_seven(scales.seven)
        y, draw = scales.features.y, torch.Generator().manual_seed(3)
        at = torch.randint(25, (8,), generator=draw)
        place = torch.stack([five[n, :, at[n] // 5, at[n] % 5] for n in range(8)])
    total, penalty = 0.0, 0.0
    for task, source, target in (("1to5", y, five), ("1to7", y, seven), ("5to5", place, five)):
        one = looped_bound(source[:4], target[4:], clip)
        other = looped_bound(source[4:], target[:4], clip)
        bound = 0.5 * (one[0] + other[0])
        assert float(parts[f"{task}_bound"]) == pytest.approx(bound, rel=1e-4, abs=1e-5)
        total, penalty = total + bound, penalty + 0.5 * (one[1] + other[1])
    assert float(parts["squared_score"]) == pytest.approx(penalty, rel=1e-4)
    assert float(loss) == pytest.approx(0.03 * penalty - total, rel=1e-4)
    assert torch.equal(features.y, y[:4])
    assert [len(part) for part in features] == [4, 4, 4, 4]


def test_the_penalty_is_of_the_scores_before_they_are_clipped():
    views = two_views()
    loose, tight = (a_model(clip=clip) for clip in (1000.0, 0.01))
    tight.load_state_dict(loose.state_dict())
    parts = [model(*views, generator=torch.Generator())[1] for model in (loose, tight)]
    assert parts[0]["squared_score"] == parts[1]["squared_score"] > 0.1
    assert parts[0]["1to7_bound"].abs() > 0.03 > parts[1]["1to7_bound"].abs()


def test_a_bound_is_at_most_log_k_and_clipped_scores_stay_below_the_clip():
    scores = torch.full((3, 3, 2), -1e4)
    scores.diagonal(dim1=0, dim2=1).fill_(1e4)
    tame = clipped(scores, 20.0)
    assert tame.abs().max() <= 20
    assert float(infonce(split_diagonal(tame))) == pytest.approx(math.log(5), abs=1e-5)
    small = torch.tensor([[[0.01, -0.02]]])
    torch.testing.assert_close(clipped(small, 20.0), small)


def test_every_place_is_drawn_for_every_image_on_its_own():
    drawn = draw_places(1000, torch.Generator().manual_seed(0))
    counts = drawn.bincount(minlength=25)
    assert len(counts) == 25
    assert counts.min() > 15
    assert torch.equal(drawn, draw_places(1000, torch.Generator().manual_seed(0)))
    maps = torch.randn(1000, 3, 5, 5)
    chosen = places_at(maps, drawn)
    for n in range(0, 1000, 111):
        assert torch.equal(chosen[n], maps[n, :, drawn[n] // 5, drawn[n] % 5])


def test_a_fresh_head_is_nearly_the_identity_where_it_has_room():
    head = Head(6, 10, "none", use_bn=False)
    maps = torch.randn(2, 6, 5, 5)
    given = head(maps) - head.shortcut.bias[:, None, None]
    assert (given[:, :6] - maps).abs().max() < 0.01 * 6 * maps.abs().max()
    assert given[:, 6:].abs().max() < 0.01 * 6 * maps.abs().max()
    assert not head.hidden[-1].weight.any()
    assert Head(6, 4, "batch", use_bn=True)(maps).shape == (2, 4, 5, 5)


def test_the_heads_normalise_unless_told_otherwise():
    maps = 5 + 3 * torch.randn(64, 4, 5, 5)
    normed = Head(4, 8, "batch", use_bn=False)(maps)
    assert normed.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(normed.std((0, 2, 3)), torch.ones(8), atol=1e-2, rtol=0)
    assert Head(4, 8, "none", use_bn=False)(maps)[:, 0].mean() > 1


def test_the_card_restores_every_argument_clip_and_norms_too():
    arguments = {"clip": 7.5, "regulariser": 0.2, "norm": "none", "use_bn": True}
    model = a_model({"norm": "none", "use_bn": True}, **arguments)
    card = ObjectiveCard(method="amdim", name="infonce", negatives="all", arguments=model.arguments)
    read = ObjectiveCard.model_validate_json(card.model_dump_json())
    assert read.arguments == arguments
    encoder = build_encoder("amdim32", **json.loads(json.dumps(dict(model.encoder.arguments))))
    again = Amdim(encoder, **read.arguments)
    again.load_state_dict(model.state_dict(), strict=True)
    views = two_views()
    for one, other in ((model, again), (model.eval(), again.eval())):
        losses = [m(*views, generator=torch.Generator().manual_seed(1))[0] for m in (one, other)]
        assert torch.equal(*losses)
    default = a_model()
    assert set(default.arguments) == set(arguments)  # written down though nobody gave them


def test_a_card_from_before_amdim_is_one_of_dim():
    old = {"name": "jsd", "negatives": "all", "alpha": 0.0, "beta": 1.0, "gamma": 0.1}
    card = ObjectiveCard.model_validate({**old, "prior": "uniform"})
    assert (card.method, card.beta, card.arguments) == ("dim", 1.0, {})


def test_one_batch_is_learned_by_heart():
    encoder = build_encoder("amdim32", channels=8, rkhs=48, depth=1)
    model = Amdim(encoder, regulariser=0.0)
    coarse = torch.randn(8, 3, 2, 2)  # eight pictures of smooth colours
    picture = nn.functional.interpolate(coarse, size=32, mode="bilinear")
    views = [picture + 0.02 * torch.randn_like(picture) for _ in range(2)]
    optimiser = torch.optim.Adam(model.bound_parameters(), lr=1e-2, betas=(0.8, 0.999))
    for _ in range(60):
        loss, parts, _ = model(*views, generator=torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for task, places in (("1to5", 25), ("1to7", 49), ("5to5", 25)):
        ceiling = math.log(1 + 7 * places)
        assert 0.8 * ceiling < float(parts[f"{task}_bound"].detach()) <= ceiling, task


def test_gradients_reach_encoder_and_heads():
    model = a_model()
    loss, _, _ = model(*two_views(), generator=torch.Generator())
    loss.backward()
    assert len(model.bound_parameters()) == len(list(model.parameters()))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_in_bf16_the_bounds_are_those_of_fp32_nearly():
    model, views = a_model(), two_views()
    with torch.no_grad():
        whole, _, _ = model(*views, generator=torch.Generator().manual_seed(1))
        with torch.autocast("cpu", torch.bfloat16):
            halved, parts, _ = model(*views, generator=torch.Generator().manual_seed(1))
    assert {part.dtype for part in parts.values()} == {torch.float32}
    assert float(halved) == pytest.approx(float(whole), abs=0.1)


def test_both_views_pass_the_encoder_in_one_batch():
    model, passes = a_model(), []
    model.encoder.to_map.register_forward_hook(lambda m, given, out: passes.append(len(out)))
    model(*two_views(3), generator=torch.Generator())
    assert passes == [6]


def test_what_amdim_cannot_work_with_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match="choose an encoder that has, amdim32"):
        Amdim(build_encoder("basic32x32", fc_dim=8))
    encoder = build_encoder("amdim32", **ENCODER)
    with pytest.raises(ValueError, match="clip must be above 0"):
        Amdim(encoder, clip=0.0)
    with pytest.raises(ValueError, match="batch, none"):
        Amdim(encoder, norm="layer")
    with pytest.raises(ValueError, match="at least two images"):
        Amdim(encoder)(*two_views(1), generator=torch.Generator())
    assert Amdim.num_views == 2
    assert TASKS == ("1to5", "1to7", "5to5")
