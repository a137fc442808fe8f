"""A watched run is the same run, and what really breaks is called broken at the first look."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.card import Preprocessing
from models.method import Method
from models.preprocess import normalise
from models.shares import Shares
from training.building import build_model, build_preprocessing
from training.config import TrainConfig
from training.diagnosis import Course, diagnose
from training.health import measure
from training.loop import train
from training.runs import HEALTH_FILE, LOG_FILE, RESUME_FILE
from training.source import Resident
from training.step import adam
from training.watch import Held, Watch, ceilings

GREY = TrainConfig(
    encoder="basic28x28",
    colour="grey",
    objective="jsd",
    negatives="shuffle",
    local_units=8,
    batch_size=8,
    epochs=1,
    views="flip_crop",
    seed=3,
)
DIM_G = GREY.model_copy(
    update={
        "alpha": 1.0,
        "beta": 0.0,
        "gamma": 0.0,
        "global_critic": "global_concat",
        "global_units": 64,
    }
)


def drawn(images: int) -> Tensor:
    """Smooth random pictures, (N, 28, 28, 1) uint8."""
    coarse = torch.rand(images, 1, 7, 7, generator=torch.Generator().manual_seed(3))
    fine = torch.nn.functional.interpolate(coarse, size=28, mode="bilinear")
    return (fine * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def held(pixels: Tensor) -> Held:
    return Held(pixels, "held-out images", held_out=True)


def built(config: TrainConfig) -> tuple[Method, Preprocessing]:
    torch.manual_seed(config.seed)
    return build_model(config), build_preprocessing(config)


def run(out: Path, config: TrainConfig, *, watched: bool) -> Watch:
    """Train in a folder; the watch of the run, whether or not the loop knew of it."""
    out.mkdir()
    model, preprocessing = built(config)
    watch = Watch(out, config, model, held(drawn(24)), preprocessing)
    train(
        config,
        model,
        Resident(drawn(48)),
        preprocessing,
        out,
        device=torch.device("cpu"),
        watch=watch if watched else None,
    )
    return watch


def health_lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / HEALTH_FILE).read_text().splitlines()]


# ---------------------------------------------------------------------------------- harmless


def test_a_watched_run_equals_an_unwatched_one_bit_for_bit(tmp_path: Path) -> None:
    run(tmp_path / "watched", GREY, watched=True)
    run(tmp_path / "alone", GREY, watched=False)
    assert [line["step"] for line in health_lines(tmp_path / "watched")] == [6]
    assert not (tmp_path / "alone" / HEALTH_FILE).exists()
    one, other = (load_file(tmp_path / name / RESUME_FILE) for name in ("watched", "alone"))
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert torch.equal(tensor, other[key]), key
    logs = []
    for name in ("watched", "alone"):
        text = (tmp_path / name / LOG_FILE).read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        logs.append([{k: v for k, v in line.items() if k != "images_per_s"} for line in lines])
    assert logs[0] == logs[1]


def test_a_look_draws_no_random_number_and_leaves_every_mode_as_it_was(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    model.train()
    model.encoder.to_map.eval()  # someone froze a part
    before = torch.get_rng_state()
    modes = [part.training for part in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing).conclude(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_look_asks_nothing_of_other_ranks(tmp_path: Path) -> None:
    class Others(Shares):
        def gather(self, share: Tensor) -> Tensor:
            raise AssertionError("the other ranks are training, and will not answer")

    model, preprocessing = built(GREY.model_copy(update={"negatives": "all"}))
    model.shares = Others()
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing)
    watch.conclude(1)
    assert isinstance(model.shares, Others)
    assert math.isfinite(health_lines(tmp_path)[0]["bounds"]["local_bound"])


def test_two_looks_at_one_model_see_the_same(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing)
    watch.conclude(1)
    watch.conclude(1)  # a step is looked at once
    watch.conclude(2)
    one, two = health_lines(tmp_path)
    assert (one.pop("step"), two.pop("step")) == (1, 2)
    assert one == two


def test_looks_soon_after_a_look_are_left_out(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing)
    for step in range(1, 4):
        watch.look(step)  # 99 times as long as a look must pass before the next
    assert [line["step"] for line in health_lines(tmp_path)] == [1]


def test_a_resumed_run_drops_looks_after_its_last_save(tmp_path: Path) -> None:
    run(tmp_path / "run", GREY, watched=True)
    with (tmp_path / "run" / HEALTH_FILE).open("a") as file:
        file.write('{"step": 99, "rankme": 2.0}\n{"step": 1')
    model, preprocessing = built(GREY)
    source = Resident(drawn(48))
    train(GREY, model, source, preprocessing, tmp_path / "run", device=torch.device("cpu"))
    assert [line["step"] for line in health_lines(tmp_path / "run")] == [6]


def test_a_method_of_two_views_is_looked_at_through_two_views(tmp_path: Path) -> None:
    small = {"channels": 4, "rkhs": 8, "depth": 1, "batch_size": 4}
    config = TrainConfig(method="amdim", encoder="amdim32", views="amdim", **small)
    model, preprocessing = built(config)
    pixels = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    watch = Watch(tmp_path, config, model, held(pixels), preprocessing)
    watch.conclude(1)
    (line,) = health_lines(tmp_path)
    assert set(line["bounds"]) == {"1to5_bound", "1to7_bound", "5to5_bound"}
    assert line["alignment"] > 0
    assert ceilings(config)["1to7_bound"] == pytest.approx(math.log(1 + 3 * 49))


# ------------------------------------------------------------------------------- what breaks


def kinds(watch: Watch, step: int) -> list[str]:
    return [finding.kind for finding in watch.conclude(step)]


def test_a_constant_encoder_is_called_collapsed_at_the_first_look(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    told: list[str] = []
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing, told.append)
    assert kinds(watch, 1) == []  # untrained is not collapsed
    nn.init.zeros_(model.encoder.to_y.weight)
    assert kinds(watch, 2) == ["collapsed"]
    assert kinds(watch, 3) == ["collapsed"]
    (sentence,) = told  # once is enough
    assert "100% of Y's dimensions are the same for every image" in sentence
    assert "a tenth of the learning_rate" in sentence


def test_an_encoder_that_nearly_forgot_its_images_is_collapsed_too(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    nn.init.normal_(model.encoder.to_y.bias)
    with torch.no_grad():
        model.encoder.to_y.weight.mul_(1e-4)
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing)
    assert kinds(watch, 1) == ["collapsed"]


@pytest.fixture(scope="module")
def two_critics(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Watch]:
    """DIM(G) for 12 steps with a critic at its own and at a hundred times the learning rate."""
    watches = {}
    for factor in (1, 100):
        out = tmp_path_factory.mktemp("run")
        model, preprocessing = built(DIM_G)
        model.train()
        critic = list(model.global_critic.parameters())
        steps = [adam(list(model.encoder.parameters()), DIM_G), adam(critic, DIM_G)]
        for group in steps[1].param_groups:
            group["lr"] *= factor
        pixels = drawn(72)
        with (out / LOG_FILE).open("w") as log:
            for step in range(12):
                batch = pixels[:48][torch.arange(16) * (step % 6 + 1) % 48]
                generator = torch.Generator().manual_seed(step)
                loss, parts, _ = model(normalise(batch, preprocessing), generator=generator)
                for optimiser in steps:
                    optimiser.zero_grad()
                loss.backward()
                for optimiser in steps:
                    optimiser.step()
                bound = float(parts["global_bound"].detach())
                log.write(json.dumps({"step": step + 1, "global_bound": bound}) + "\n")
        watches[factor] = Watch(out, DIM_G, model, held(pixels[48:]), preprocessing)
    return watches


def test_a_critic_at_a_hundred_times_its_rate_is_called_diverged_within_one_look(
    two_critics: dict[int, Watch],
) -> None:
    (finding,) = two_critics[100].conclude(12)
    assert finding.kind == "diverged"
    assert "global bound" in finding.sentence
    assert "a tenth of the learning_rate" in finding.sentence


def test_the_same_critic_at_its_own_rate_is_not(two_critics: dict[int, Watch]) -> None:
    assert "diverged" not in kinds(two_critics[1], 12)


def test_a_loss_that_was_never_above_chance_is_a_dead_critic_after_a_while() -> None:
    health = measure(500, torch.randn(50, 4))
    flat = {"local_bound": Course(first=-0.1, lowest=-0.1, lowest_step=1, last=0.001)}
    (finding,) = diagnose(health, flat, "jsd", {}, held_out=True)
    assert finding.kind == "diverged"
    young = measure(20, torch.randn(50, 4))
    assert diagnose(young, flat, "jsd", {}, held_out=True) == []


def test_an_unscaled_critic_that_starts_far_below_chance_has_not_diverged() -> None:
    health = measure(50, torch.randn(50, 4))
    climbing = {"local_bound": Course(first=-31.0, lowest=-31.0, lowest_step=1, last=0.4)}
    assert diagnose(health, climbing, "jsd", {}, held_out=True) == []


def test_a_fall_in_the_first_steps_that_has_passed_is_no_divergence() -> None:
    health = measure(50, torch.randn(50, 4))
    stumbled = Course(first=-0.21, lowest=-0.88, lowest_step=3, last=1.01)
    assert diagnose(health, {"global_bound": stumbled}, "jsd", {}, held_out=True) == []
    still_down = replace(stumbled, last=-0.6)
    (finding,) = diagnose(health, {"global_bound": still_down}, "jsd", {}, held_out=True)
    assert finding.kind == "diverged"
    later = replace(stumbled, lowest_step=400)
    (finding,) = diagnose(health, {"global_bound": later}, "jsd", {}, held_out=True)
    assert finding.kind == "diverged"
    assert "it has come back to 1.01" in finding.sentence


def test_a_bound_that_only_training_images_reach_is_called_memory(tmp_path: Path) -> None:
    model, preprocessing = built(GREY)
    watch = Watch(tmp_path, GREY, model, held(drawn(24)), preprocessing)
    (tmp_path / LOG_FILE).write_text('{"step": 1, "local_bound": 1.2}\n')
    assert kinds(watch, 60) == ["memorised"]  # the untrained model's own bound is about 0


def test_a_bound_at_log_k_is_told_to_be_at_its_ceiling() -> None:
    health = measure(100, torch.randn(50, 4))
    full = {"local_bound": Course(first=0.0, lowest=0.0, lowest_step=1, last=6.8)}
    (finding,) = diagnose(health, full, "infonce", {"local_bound": 6.9}, held_out=True)
    assert finding.kind == "ceiling"
    assert "batch_size" in finding.sentence
