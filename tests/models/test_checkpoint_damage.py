"""Every kind of damage to a checkpoint is a typed error, and never a silent wrong answer."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from models.card import CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE
from models.checkpoint import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointIncompatible,
    CheckpointMissing,
    GoldenMismatch,
    WeightsMismatch,
    load_checkpoint,
    read_card,
)
from tests.models.toy_checkpoint import trained

Damage = Callable[[Path], object]
FILES = (CARD_FILE, WEIGHTS_FILE, GOLDEN_FILE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "checkpoint"
    trained().save(folder)
    trained().save(folder.with_name("other"))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A checkpoint to damage, beside a sound one of other weights."""
    shutil.copytree(whole.with_name("other"), tmp_path / "other")
    return shutil.copytree(whole, tmp_path / "checkpoint")


# ------------------------------------------------------------------------- ways to do damage


def content(name: str, change: Callable[[bytes], bytes], rehash: bool = False) -> Damage:
    """Change a file's bytes, and with `rehash` also its hash in the card."""

    def damage(folder: Path) -> None:
        damaged = change((folder / name).read_bytes())
        (folder / name).write_bytes(damaged)
        if rehash:
            digest = hashlib.sha256(damaged).hexdigest()
            card(lambda facts: facts["files"].update({name: digest}))(folder)

    return damage


def card(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the facts of the card."""

    def damage(folder: Path) -> None:
        facts = json.loads((folder / CARD_FILE).read_text())
        change(facts)
        (folder / CARD_FILE).write_text(json.dumps(facts))

    return damage


def tensors(name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Change the tensors of a file and correct its hash, as an editor of weights would."""

    def rewritten(before: bytes) -> bytes:
        held = load(before)
        change(held)
        return save({key: value.contiguous() for key, value in held.items()})

    return content(name, rewritten, rehash=True)


def removed(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def flipped(name: str, place: float, rehash: bool = False) -> Damage:
    def flip(before: bytes) -> bytes:
        at = int(place * (len(before) - 1))
        return before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :]

    return content(name, flip, rehash)


def first_half(before: bytes) -> bytes:
    return before[: len(before) // 2]


def exchanged(one: Path, other: Path) -> None:
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def files_exchanged(folder: Path) -> None:
    exchanged(folder / WEIGHTS_FILE, folder / GOLDEN_FILE)


def files_and_hashes_exchanged(folder: Path) -> None:
    files_exchanged(folder)
    names = (WEIGHTS_FILE, GOLDEN_FILE)

    def exchange(facts: dict[str, Any]) -> None:
        files = facts["files"]
        files.update(dict(zip(names, [files[name] for name in reversed(names)], strict=True)))

    card(exchange)(folder)


def of_another(name: str, rehash: bool = False) -> Damage:
    return lambda folder: content(
        name, lambda _: (folder.with_name("other") / name).read_bytes(), rehash
    )(folder)


def linked_out(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).replace(folder.with_name(name))
        (folder / name).symlink_to(folder.with_name(name))

    return damage


def made_a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def made_a_pipe(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def folder_made_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


def unreadable(name: str) -> Damage:
    return lambda folder: (folder / name).chmod(0)


def safetensors_file(header: dict[str, Any] | bytes, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def pickled(folder: Path) -> None:
    """Put a pickle, which makes a file when it is unpickled, in the place of the weights."""
    program = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(folder.with_name("executed"))
    content(WEIGHTS_FILE, lambda _: program, rehash=True)(folder)


def renamed(held: dict[str, torch.Tensor]) -> None:
    held["encoder.to_z.weight"] = held.pop("encoder.to_y.weight")


def encoder_argument(name: str, value: object) -> Damage:
    return card(lambda facts: facts["encoder"]["arguments"].update({name: value}))


def scaled(name: str, factor: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda held: held[name].mul_(factor)


def cast(name: str, dtype: torch.dtype) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda held: held.update({name: held[name].to(dtype)})


def spoilt(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda held: held[name].view(-1)[:1].fill_(value)


Y = "encoder.to_y.weight"
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}

DAMAGES: dict[str, tuple[Damage, type[CheckpointError]]] = {
    # the folder and its files
    "no folder": (shutil.rmtree, CheckpointMissing),
    "a file instead of the folder": (folder_made_a_file, CheckpointMissing),
    "no card": (removed(CARD_FILE), CheckpointMissing),
    "no weights": (removed(WEIGHTS_FILE), CheckpointMissing),
    "no golden file": (removed(GOLDEN_FILE), CheckpointMissing),
    "card is a folder": (made_a_folder(CARD_FILE), CheckpointDamaged),
    "weights are a folder": (made_a_folder(WEIGHTS_FILE), CheckpointDamaged),
    "golden file is a pipe": (made_a_pipe(GOLDEN_FILE), CheckpointDamaged),
    "card is a link out of the folder": (linked_out(CARD_FILE), CheckpointDamaged),
    "weights are a link out of the folder": (linked_out(WEIGHTS_FILE), CheckpointDamaged),
    "weights truncated": (content(WEIGHTS_FILE, first_half), CheckpointDamaged),
    "golden file truncated": (content(GOLDEN_FILE, first_half), CheckpointDamaged),
    "weights empty": (content(WEIGHTS_FILE, lambda _: b""), CheckpointDamaged),
    "weights extended": (content(WEIGHTS_FILE, lambda b: b + b"\0"), CheckpointDamaged),
    "weights enormous": (
        lambda folder: os.truncate(folder / WEIGHTS_FILE, 1 << 40),
        CheckpointDamaged,
    ),
    "a bit of the weights flipped": (flipped(WEIGHTS_FILE, 0.6), CheckpointDamaged),
    "a bit of the weights' header flipped": (flipped(WEIGHTS_FILE, 0.001), CheckpointDamaged),
    "a bit of the golden file flipped": (flipped(GOLDEN_FILE, 0.6), CheckpointDamaged),
    "weights and golden file exchanged": (files_exchanged, CheckpointDamaged),
    "the same with their hashes": (files_and_hashes_exchanged, WeightsMismatch),
    "weights of another run": (of_another(WEIGHTS_FILE), CheckpointDamaged),
    "the same with their hash": (of_another(WEIGHTS_FILE, rehash=True), GoldenMismatch),
    "golden file of another run with its hash": (
        of_another(GOLDEN_FILE, rehash=True),
        GoldenMismatch,
    ),
    "card of another run": (of_another(CARD_FILE), CheckpointDamaged),
    # the card as JSON
    "card empty": (content(CARD_FILE, lambda _: b""), CheckpointDamaged),
    "card truncated": (content(CARD_FILE, first_half), CheckpointDamaged),
    "card not text": (content(CARD_FILE, lambda _: b"\xff\xfe\x00\x01"), CheckpointDamaged),
    "card a list": (content(CARD_FILE, lambda _: b"[]"), CheckpointDamaged),
    "card nested deeply": (
        content(CARD_FILE, lambda _: b'{"a":' + b"[" * 100_000),
        CheckpointDamaged,
    ),
    "card enormous": (content(CARD_FILE, lambda b: b + b" " * (5 << 20)), CheckpointDamaged),
    "card of enormous sparse size": (
        lambda folder: os.truncate(folder / CARD_FILE, 1 << 40),
        CheckpointDamaged,
    ),
    # the card's facts
    "unknown key": (card(lambda f: f.update(colour="red")), CheckpointIncompatible),
    "unknown nested key": (
        card(lambda f: f["preprocessing"].update(crop=1)),
        CheckpointIncompatible,
    ),
    "missing key": (card(lambda f: f.pop("encoder")), CheckpointIncompatible),
    "a number as text": (card(lambda f: f["training"].update(seed="7")), CheckpointIncompatible),
    "not a number": (
        card(lambda f: f["training"].update(seconds=float("nan"))),
        CheckpointIncompatible,
    ),
    "newer schema": (card(lambda f: f.update(schema_version=2)), CheckpointIncompatible),
    "schema as text": (card(lambda f: f.update(schema_version="1")), CheckpointIncompatible),
    "schema true": (card(lambda f: f.update(schema_version=True)), CheckpointIncompatible),
    "no schema": (card(lambda f: f.pop("schema_version")), CheckpointIncompatible),
    "unknown encoder": (
        card(lambda f: f["encoder"].update(name="basic28x29")),
        CheckpointIncompatible,
    ),
    "unknown critic": (
        card(lambda f: f["critics"]["local"].update(name="os.system")),
        CheckpointIncompatible,
    ),
    "unknown critic role": (
        card(lambda f: f["critics"].update(prior=f["critics"]["local"])),
        CheckpointIncompatible,
    ),
    "unknown argument": (encoder_argument("fc_dims", 8), CheckpointIncompatible),
    "argument zero": (encoder_argument("fc_dim", 0), CheckpointIncompatible),
    "argument text": (encoder_argument("fc_dim", "8"), CheckpointIncompatible),
    "argument beyond any number of tensors": (
        encoder_argument("fc_dim", 10**18),
        CheckpointIncompatible,
    ),
    "argument beyond any integer": (encoder_argument("fc_dim", 10**30), CheckpointIncompatible),
    "argument beyond any memory": (encoder_argument("fc_dim", 10**12), WeightsMismatch),
    "argument of another encoder": (encoder_argument("fc_dim", 9), WeightsMismatch),
    "critic of another encoder": (
        card(lambda f: f["critics"]["local"]["arguments"].update(summary_dim=5)),
        CheckpointIncompatible,
    ),
    "critics in each other's role": (
        card(
            lambda f: f.update(
                critics={"local": f["critics"]["global"], "global": f["critics"]["local"]}
            )
        ),
        WeightsMismatch,
    ),
    "a critic taken away": (card(lambda f: f["critics"].pop("global")), WeightsMismatch),
    "other image size": (
        card(lambda f: f["preprocessing"].update(size=32)),
        CheckpointIncompatible,
    ),
    "other colour": (
        card(lambda f: f["preprocessing"].update(colour="rgb", mean=[0.5] * 3, std=[0.5] * 3)),
        CheckpointIncompatible,
    ),
    "other mean": (card(lambda f: f["preprocessing"].update(mean=[0.2])), GoldenMismatch),
    "other weights type": (card(lambda f: f.update(weights_dtype="float16")), WeightsMismatch),
    "hash altered": (
        card(lambda f: f["files"].update({WEIGHTS_FILE: "0" * 64})),
        CheckpointDamaged,
    ),
    "hash not a hash": (
        card(lambda f: f["files"].update({WEIGHTS_FILE: "0"})),
        CheckpointIncompatible,
    ),
    "hash missing": (card(lambda f: f["files"].pop(GOLDEN_FILE)), CheckpointIncompatible),
    "a path out of the folder among the files": (
        card(lambda f: f["files"].update({"../other/card.json": "0" * 64})),
        CheckpointIncompatible,
    ),
    "a path out of the folder instead of the weights": (
        card(lambda f: f["files"].update({"../w": f["files"].pop(WEIGHTS_FILE)})),
        CheckpointIncompatible,
    ),
    # the weights, with a hash that agrees
    "weights a pickle": (pickled, CheckpointDamaged),
    "weights empty, hash agrees": (
        content(WEIGHTS_FILE, lambda _: b"", rehash=True),
        CheckpointDamaged,
    ),
    "weights without any tensor": (
        content(WEIGHTS_FILE, lambda _: safetensors_file({}), rehash=True),
        WeightsMismatch,
    ),
    "header longer than the file": (
        content(WEIGHTS_FILE, lambda b: struct.pack("<Q", 1 << 40) + b[8:], rehash=True),
        CheckpointDamaged,
    ),
    "header of the greatest length": (
        content(WEIGHTS_FILE, lambda b: b"\xff" * 8 + b[8:], rehash=True),
        CheckpointDamaged,
    ),
    "header not JSON": (
        content(WEIGHTS_FILE, lambda _: safetensors_file(b"{" * 1000), rehash=True),
        CheckpointDamaged,
    ),
    "header nested deeply": (
        content(WEIGHTS_FILE, lambda _: safetensors_file(b'{"a":' + b"[" * 50_000), rehash=True),
        CheckpointDamaged,
    ),
    "header declares more numbers than memory holds": (
        content(
            WEIGHTS_FILE,
            lambda _: safetensors_file({Y: {**ONE, "shape": [1 << 40]}}, b"\0" * 4),
            rehash=True,
        ),
        CheckpointDamaged,
    ),
    "header points beyond the file": (
        content(
            WEIGHTS_FILE,
            lambda _: safetensors_file({Y: {**ONE, "data_offsets": [0, 1 << 50]}}, b"\0" * 4),
            rehash=True,
        ),
        CheckpointDamaged,
    ),
    "tensors lie over each other": (
        content(
            WEIGHTS_FILE, lambda _: safetensors_file({Y: ONE, "b": ONE}, b"\0" * 4), rehash=True
        ),
        CheckpointDamaged,
    ),
    "unknown number type": (
        content(
            WEIGHTS_FILE,
            lambda _: safetensors_file({Y: {**ONE, "dtype": "F31"}}, b"\0" * 4),
            rehash=True,
        ),
        CheckpointDamaged,
    ),
    "tensor missing": (tensors(WEIGHTS_FILE, lambda t: t.pop(Y)), WeightsMismatch),
    "tensor unknown": (
        tensors(WEIGHTS_FILE, lambda t: t.update(extra=torch.ones(1))),
        WeightsMismatch,
    ),
    "tensor renamed": (tensors(WEIGHTS_FILE, renamed), WeightsMismatch),
    "tensor turned": (tensors(WEIGHTS_FILE, lambda t: t.update({Y: t[Y].T})), WeightsMismatch),
    "tensor in half precision": (tensors(WEIGHTS_FILE, cast(Y, torch.float16)), WeightsMismatch),
    "tensor of integers": (tensors(WEIGHTS_FILE, cast(Y, torch.int32)), WeightsMismatch),
    "tensor with NaN": (tensors(WEIGHTS_FILE, spoilt(Y, float("nan"))), WeightsMismatch),
    "tensor with infinity": (tensors(WEIGHTS_FILE, spoilt(Y, float("inf"))), WeightsMismatch),
    "encoder scaled": (tensors(WEIGHTS_FILE, scaled(Y, 1.01)), GoldenMismatch),
    "critic scaled": (
        tensors(WEIGHTS_FILE, scaled("critic.local.of_place.norm.weight", 1.01)),
        GoldenMismatch,
    ),
    "a critic's statistics negative": (
        tensors(WEIGHTS_FILE, spoilt("critic.local.of_place.hidden.1.running_var", -1.0)),
        GoldenMismatch,
    ),
    # the golden file, with a hash that agrees
    "golden file not safetensors": (
        content(GOLDEN_FILE, lambda _: b"hello", rehash=True),
        CheckpointDamaged,
    ),
    "golden summary altered": (tensors(GOLDEN_FILE, scaled("y", 1.01)), GoldenMismatch),
    "golden map altered": (tensors(GOLDEN_FILE, scaled("map", 0.99)), GoldenMismatch),
    "golden score altered": (tensors(GOLDEN_FILE, spoilt("t.global", 9.0)), GoldenMismatch),
    "golden output not finite": (
        tensors(GOLDEN_FILE, spoilt("p.local", float("nan"))),
        GoldenMismatch,
    ),
    "golden output missing": (tensors(GOLDEN_FILE, lambda t: t.pop("p.local")), GoldenMismatch),
    "golden output unknown": (
        tensors(GOLDEN_FILE, lambda t: t.update({"t.prior": torch.ones(8, 8)})),
        GoldenMismatch,
    ),
    "golden images altered": (
        tensors(GOLDEN_FILE, lambda t: t["images"].bitwise_not_()),
        GoldenMismatch,
    ),
    "golden images too few": (
        tensors(GOLDEN_FILE, lambda t: t.update(images=t["images"][:7])),
        GoldenMismatch,
    ),
    "golden images of another size": (
        tensors(GOLDEN_FILE, lambda t: t.update(images=t["images"][:, :14])),
        GoldenMismatch,
    ),
    "golden images as floats": (
        tensors(GOLDEN_FILE, lambda t: t.update(images=t["images"].float())),
        GoldenMismatch,
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_its_own_typed_error(folder: Path, kind: str):
    damage, error = DAMAGES[kind]
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert type(caught.value) is error, caught.value
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert len(sentence) < 1_000
    assert not folder.with_name("executed").exists()


def test_there_are_many_kinds_of_damage():
    assert len(DAMAGES) >= 20
    assert {error for _, error in DAMAGES.values()} == set(CheckpointError.__subclasses__())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_may_not_be_read_is_missing(folder: Path, name: str):
    unreadable(name)(folder)
    with pytest.raises(CheckpointMissing, match="Permission denied"):
        load_checkpoint(folder)


def test_the_card_alone_is_read_without_the_weights(folder: Path):
    removed(WEIGHTS_FILE)(folder)
    assert read_card(folder).name == "toy"


def test_without_verification_the_weights_are_still_judged(folder: Path):
    content(WEIGHTS_FILE, lambda b: b + b"\0" * 4)(folder)
    with pytest.raises(CheckpointDamaged):
        load_checkpoint(folder, verify=False)
    of_another(WEIGHTS_FILE)(folder)
    load_checkpoint(folder, verify=False)
    with pytest.raises(CheckpointDamaged, match="sha256"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "There is no checkpoint folder at .* Name a folder that holds"),
        (removed(WEIGHTS_FILE), r"weights\.safetensors in .* No such file"),
        (flipped(GOLDEN_FILE, 0.5), r"golden\.safetensors in .* restore the checkpoint"),
        (
            card(lambda f: f["training"].update(sped=1)),
            "unknown key training.sped; did you mean seed",
        ),
        (card(lambda f: f.update(schema_version=3)), "schema version 3, .* reads 1; install"),
        (card(lambda f: f["encoder"].update(name="basic28")), "did you mean basic28x28"),
        (tensors(WEIGHTS_FILE, lambda t: t.pop(Y)), r"misses encoder\.to_y\.weight"),
        (tensors(GOLDEN_FILE, scaled("y", 2.0)), r"does not give its golden outputs: y by 0\.5"),
    ],
)
def test_the_error_names_the_file_and_the_remedy(folder: Path, damage: Damage, sentence: str):
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder)


def test_any_single_flipped_bit_of_the_card_is_seen_or_harmless(folder: Path):
    """The card has no hash. A flip may change a description, never what is computed."""
    sound = load_checkpoint(folder)
    original = (folder / CARD_FILE).read_bytes()
    for at in range(0, len(original), 37):
        (folder / CARD_FILE).write_bytes(
            original[:at] + bytes([original[at] ^ (1 << at % 7)]) + original[at + 1 :]
        )
        try:
            loaded = load_checkpoint(folder)
        except CheckpointError:
            continue
        for name, tensor in sound.encoder.state_dict().items():
            assert torch.equal(loaded.encoder.state_dict()[name], tensor)
