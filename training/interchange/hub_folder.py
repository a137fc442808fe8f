"""A checkpoint as a folder that a model hub accepts: itself, with its card as README.md.

README.md                a model card: YAML front matter, evaluation table, how to load
card.json, weights.safetensors, golden.safetensors   the checkpoint, as it was
load_without_infomax.py  Y in 15 lines of torch, for the encoder whose loader is documented

It stays a checkpoint: every command and the service take it. Nothing is uploaded.
"""

from collections.abc import Mapping
from pathlib import Path

from models.atomic import write_folder
from models.card import CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE
from models.checkpoint import Checkpoint
from models.checkpoint_files import OpenFolder, read_bytes, reading
from training.interchange.errors import ExportRefused
from training.interchange.model_card import write_model_card

LOADER = Path(__file__).with_name("load_without_infomax.py")
LOADABLE = "basic32x32"  # the encoder that LOADER knows
README_FILE = "README.md"
_MOST_BYTES = 1 << 32


def export_hub(source: Path, checkpoint: Checkpoint, licence: str, out: Path) -> list[str]:
    """Write the folder as one; the names of its files. Raises ExportRefused or OSError.

    source, checkpoint  the folder and what was loaded from it
    """
    card = checkpoint.card
    loader = LOADER.name if card.encoder.name == LOADABLE else None
    files = reading(source, lambda folder: _copied(folder, card.files))
    files[README_FILE] = write_model_card(card, checkpoint.encoder, licence, loader).encode()
    if loader is not None:
        files[loader] = LOADER.read_bytes()
    _check_place(out, files)
    write_folder(out, files)
    return sorted(files)


def _copied(folder: OpenFolder, hashes: dict[str, str]) -> dict[str, bytes]:
    """The checkpoint's files, byte for byte, each with the hash its card names."""
    files = {
        name: read_bytes(folder, name, _MOST_BYTES, hashes[name])
        for name in (WEIGHTS_FILE, GOLDEN_FILE)
    }
    return files | {CARD_FILE: read_bytes(folder, CARD_FILE, _MOST_BYTES)}


def _check_place(out: Path, files: Mapping[str, bytes]) -> None:
    """Refuse a folder of other things, which would go with it; a clone's .git may stay."""
    others = [path.name for path in out.iterdir()] if out.is_dir() else []
    strange = sorted(name for name in others if name not in files and not name.startswith("."))
    if strange:
        raise ExportRefused(
            f"{out} holds other things, {strange[0]} among them; name a folder that is empty or "
            "not there yet."
        )
