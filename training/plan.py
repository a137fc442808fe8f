"""`plan`: what a run would take, in memory and time, without starting it; `train` says it first."""

import argparse
import sys
from pathlib import Path

import torch

from models.method import Method
from training.building import build_model, build_preprocessing
from training.choices import Measured, is_short, unmeasured
from training.config import ConfigError, TrainConfig, read_config
from training.datasets import NAMED_SETS
from training.devices import DEVICES, choose_device
from training.distributed import ALONE, Ranks
from training.files import Folder, open_files
from training.images import DataError
from training.planning import Plan, make_plan, measure_set
from training.shards import Shards

DATA_HELP = f"a folder, shards (.tar, .parquet, a URL of them), or {', '.join(NAMED_SETS)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plan`."""
    parser.add_argument("--data", required=True, help=DATA_HELP)
    parser.add_argument("--out", type=Path, default=Path(), help="where the run would be")
    parser.add_argument("--recipe", type=Path, help="a TOML file of settings (configs/)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    add_stream(parser)
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings over the recipe: epochs=30"
    )


def add_stream(parser: argparse.ArgumentParser) -> None:
    """The flag that `train` and `plan` share."""
    parser.add_argument(
        "--stream", action="store_true", help="keep the images on disk even if they fit in memory"
    )


def run(args: argparse.Namespace) -> int:
    """0 where the run fits, 1 where it does not, 2 where it cannot be planned."""
    try:
        config = read_config(args.recipe, args.settings)
        device = choose_device(args.device)
        torch.manual_seed(config.seed)
        model = build_model(config)
        plan = plan_run(args, config, model, open_data(args.data), device)
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if plan.fits else 1


def plan_run(
    args: argparse.Namespace,
    config: TrainConfig,
    model: Method,
    files: Folder | Shards | None,
    device: torch.device,
    measured: Measured | None = None,
    ranks: Ranks = ALONE,
) -> Plan:
    """Plan and say it. `measured` is what a run that goes on knows already."""
    if config.precision == "bf16" and device.type == "cpu" and without_bf16():
        print("This CPU computes bf16 in software: precision=fp32 is several times as fast here.")
    preprocessing = build_preprocessing(config)
    size = measure_set(args.data, files, preprocessing)
    if measured is None and is_short(config, size.to_train):
        measured = unmeasured(config)
    plan = make_plan(
        config,
        model,
        preprocessing,
        size,
        args.out,
        device=device,
        stream=args.stream or None,
        measured=measured,
        tell=ranks.tell,
        ranks=ranks,
    )
    for sentence in plan.sentences():
        ranks.tell(sentence)
    return plan


def without_bf16() -> bool:
    """Whether the CPU is too old for bf16; a newer one may lack it, too."""
    return torch.backends.cpu.get_cpu_capability() in {"DEFAULT", "AVX2"}


def open_data(data: str) -> Folder | Shards | None:
    """What holds the images; None for a set known by name."""
    return None if data in NAMED_SETS else open_files(data)
