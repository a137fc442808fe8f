import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models import atomic
from models.card import CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE
from models.checkpoint import (
    CheckpointIncompatible,
    WeightsMismatch,
    golden_errors,
    load_checkpoint,
    read_card,
    write_card,
)
from models.critics import CRITICS
from models.encoders import ENCODERS, build_encoder
from models.inference import prepare
from models.preprocess import normalise
from tests.models.small_encoders import SMALL
from tests.models.toy_checkpoint import EVALUATION, trained


def assert_same_tensors(ours: nn.Module, theirs: nn.Module) -> None:
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.dtype == expected[name].dtype


# --------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"resnet50"}))  # resnet18's code, 94 MB
def test_every_encoder_comes_back_bit_for_bit(tmp_path: Path, name: str):
    made = trained(name, {"local": "local_dot"}, **SMALL[name])
    card = made.save(tmp_path / "checkpoint")
    loaded = load_checkpoint(tmp_path / "checkpoint")
    assert loaded.card == card == read_card(tmp_path / "checkpoint")
    assert_same_tensors(loaded.encoder, made.encoder)
    images = normalise(made.images, card.preprocessing)
    with torch.no_grad():
        ours, theirs = loaded.encoder(images), made.encoder.eval()(images)
    for field, output in zip(ours._fields, ours, strict=True):
        assert torch.equal(output, getattr(theirs, field)), field


@pytest.mark.parametrize("name", CRITICS)
def test_every_critic_comes_back_bit_for_bit(tmp_path: Path, name: str):
    role = name.partition("_")[0]
    made = trained(critic_names={role: name})
    made.save(tmp_path / "checkpoint")
    critic = load_checkpoint(tmp_path / "checkpoint").critics[role]
    assert type(critic) is CRITICS[name]
    assert_same_tensors(critic, made.critics[role])
    y, feature_map = torch.randn(3, 4), torch.randn(2, *made.encoder.map_shape)
    assert torch.equal(critic(y, feature_map), made.critics[role].eval()(y, feature_map))


def test_loaded_networks_are_ready_for_inference_and_saved_ones_unchanged(tmp_path: Path):
    made = trained()
    made.encoder.train()
    before = {name: tensor.clone() for name, tensor in made.encoder.state_dict().items()}
    made.save(tmp_path / "checkpoint")
    assert made.encoder.training
    assert all(parameter.requires_grad for parameter in made.encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in made.encoder.state_dict().items())
    loaded = load_checkpoint(tmp_path / "checkpoint")
    for network in (loaded.encoder, *loaded.critics.values()):
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_half_precision_weights_give_the_golden_outputs_of_the_rounded_weights(tmp_path: Path):
    made = trained(weights_dtype="float16")
    made.save(tmp_path / "half")
    full = replace(made, card=made.card.model_copy(update={"weights_dtype": "float32"}))
    full.save(tmp_path / "full")
    sizes = [(tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.55 * sizes[1]
    loaded = load_checkpoint(tmp_path / "half")
    assert set(golden_errors(loaded).values()) == {0.0}
    for name, tensor in made.encoder.named_parameters():
        stored = loaded.encoder.get_parameter(name)
        assert stored.dtype == torch.float32
        assert torch.equal(stored, tensor.half().float())
    for name, tensor in made.encoder.named_buffers():
        assert torch.equal(loaded.encoder.get_buffer(name), tensor), "statistics stay exact"


def test_golden_outputs_are_those_of_the_encoder_and_of_each_critic(tmp_path: Path):
    made = trained()
    made.save(tmp_path / "checkpoint")
    golden = load_checkpoint(tmp_path / "checkpoint").golden
    assert torch.equal(golden.images, made.images)
    with torch.no_grad():
        features = made.encoder.eval()(normalise(made.images, made.card.preprocessing))
        assert torch.equal(golden.outputs["y"], features.y)
        for role, critic in made.critics.items():
            critic.eval()
            for i in range(8):
                for j in range(8):
                    scores = critic(features.y[i : i + 1], features.map[j : j + 1])[0, 0]
                    t, p = golden.outputs[f"t.{role}"][i, j], golden.outputs[f"p.{role}"][i, j]
                    assert t.item() == pytest.approx(scores.mean().item(), abs=1e-4, rel=1e-4)
                    assert p.item() == pytest.approx(scores.sigmoid().mean().item(), abs=1e-4)


def test_the_prepared_encoder_passes_the_golden_check(tmp_path: Path):
    trained("basic32x32", fc_dim=16, summary_dim=4).save(tmp_path / "checkpoint")
    loaded = load_checkpoint(tmp_path / "checkpoint")
    served = replace(loaded, encoder=prepare(loaded.encoder))
    errors = golden_errors(served)
    assert errors.keys() == {"y", "map", "t.local", "p.local", "t.global", "p.global"}
    assert max(errors.values()) < 1e-4


def test_loading_leaves_the_random_numbers_alone(tmp_path: Path):
    trained().save(tmp_path / "checkpoint")
    before = torch.random.get_rng_state()
    load_checkpoint(tmp_path / "checkpoint")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_same_networks_make_the_same_files(tmp_path: Path):
    made = trained()
    assert made.save(tmp_path / "one").files == made.save(tmp_path / "other").files


def test_a_checkpoint_without_critics_is_one(tmp_path: Path):
    trained(critic_names={}).save(tmp_path / "checkpoint")
    assert load_checkpoint(tmp_path / "checkpoint").critics == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_checkpoint_loads_on_a_gpu(tmp_path: Path):
    trained().save(tmp_path / "checkpoint")
    loaded = load_checkpoint(tmp_path / "checkpoint", device="cuda")
    assert next(loaded.encoder.parameters()).is_cuda


# ----------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"critics": {}}, "give each critic its card"),
        ({"images": torch.zeros(7, 28, 28, 1, dtype=torch.uint8)}, "golden images must be"),
        ({"images": torch.zeros(8, 28, 28, 3, dtype=torch.uint8)}, "golden images must be"),
        ({"encoder": build_encoder("basic28x28", fc_dim=4)}, "describe the network as it is"),
    ],
    ids=["no critics", "seven images", "colour images", "another encoder"],
)
def test_what_does_not_belong_together_is_not_saved(tmp_path: Path, change, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        replace(trained(), **change).save(tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path):
    made = trained()
    with torch.no_grad():
        made.encoder.to_y.weight[0, 0] = float("nan")
    with pytest.raises(WeightsMismatch, match=r"not finite in encoder\.to_y\.weight"):
        made.save(tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_half_precision_are_not_saved(tmp_path: Path):
    made = trained(weights_dtype="float16")
    with torch.no_grad():
        made.encoder.to_y.weight[0, 0] = 1e6
    with pytest.raises(WeightsMismatch, match="not finite"):
        made.save(tmp_path / "checkpoint")


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointIncompatible, match="choose another folder"):
        trained().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# ------------------------------------------------------------------------------------ the card


def test_an_evaluation_is_added_to_the_card_and_leaves_the_identity(tmp_path: Path):
    card = trained().save(tmp_path / "checkpoint")
    evaluated = card.model_copy(update={"evaluation": EVALUATION})
    write_card(tmp_path / "checkpoint", evaluated)
    loaded = load_checkpoint(tmp_path / "checkpoint")
    assert loaded.card == evaluated
    assert loaded.card.identity == card.identity
    files = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert files == [CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE]


def test_a_card_of_other_weights_is_not_written(tmp_path: Path):
    card = trained().save(tmp_path / "checkpoint")
    newer = trained().save(tmp_path / "checkpoint")
    with pytest.raises(CheckpointIncompatible, match="replaced since"):
        write_card(tmp_path / "checkpoint", card)
    assert read_card(tmp_path / "checkpoint") == newer


def test_a_card_that_could_not_be_read_again_is_not_written(tmp_path: Path):
    card = trained().save(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="created"):
        write_card(tmp_path / "checkpoint", card.model_copy(update={"created": "yesterday"}))
    assert read_card(tmp_path / "checkpoint") == card


# ------------------------------------------------------------------------- old or new, always


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_reader_beside_a_writer_always_finds_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
):
    if not exchange:
        monkeypatch.setattr(atomic, "_RENAME_EXCHANGE", 1 << 20)  # refused, as by an old kernel
    folder = tmp_path / "checkpoint"
    versions = [trained(critic_names={}) for _ in range(2)]
    identities = {made.save(folder).identity for made in versions}
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            versions[turn % 2].save(folder)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(load_checkpoint(folder).card.identity)
    writer.join()
    assert seen <= identities


# Forks a saver for each line it is given, waits until that is killed, and answers twice: pid, end.
SAVERS = """
import itertools, os, sys
from pathlib import Path
import torch
from models.checkpoint import write_card
from tests.models.toy_checkpoint import EVALUATION, trained

torch.set_num_threads(1)
torch.manual_seed(0)
folder = Path(sys.argv[1])
versions = [trained(critic_names={}) for _ in range(2)]
print(*(made.save(folder).identity for made in versions), flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        for made in itertools.cycle(versions):
            card = made.save(folder)
            write_card(folder, card.model_copy(update={"evaluation": EVALUATION}))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


KILLS, MOST_KILLS = 12, 200  # a slow machine needs more until one falls into a save


def test_a_saver_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, repository: Path):
    folder = tmp_path / "checkpoint"
    moments = random.Random(0)
    unfinished = 0
    with subprocess.Popen(
        [sys.executable, "-c", SAVERS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    ) as savers:
        assert savers.stdin is not None
        assert savers.stdout is not None
        identities = set(savers.stdout.readline().split())
        for kill in itertools.count():
            if kill >= MOST_KILLS or (kill >= KILLS and unfinished):
                break
            savers.stdin.write("\n")
            savers.stdin.flush()
            saver = int(savers.stdout.readline())
            time.sleep(moments.uniform(0.0, 0.12))
            os.kill(saver, signal.SIGKILL)
            assert savers.stdout.readline() == "dead\n"
            assert load_checkpoint(folder).card.identity in identities
            unfinished += len(list(tmp_path.iterdir())) > 1
        savers.stdin.close()
    assert unfinished > 0, "no kill fell into a save"
    trained(critic_names={}).save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
