"""Two processes learn what one would: the same gradients, the same run, one who writes."""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.objectives import OBJECTIVES
from training.config import ConfigError
from training.distributed import check_shares, meeting_place
from training.runs import LOG_FILE, RESUME_FILE

WORLD = 2
PROGRAM = Path(__file__).with_name("program_of_ranks.py")
NOTHING_GATHERED = "nothing gathered"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[list[dict], Path]:
    """What the program's processes printed, and the folder they trained in."""
    out = tmp_path_factory.mktemp("ranks")
    place, told = meeting_place()
    told |= {"WORLD_SIZE": str(WORLD), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", PROGRAM, out],
            env=os.environ | told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(WORLD)
    ]
    lines = []
    for process in processes:
        printed, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
        lines += [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    del place
    return lines, out


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / LOG_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def test_two_processes_have_the_gradient_of_one_for_every_objective_and_critic(ran) -> None:
    cases = [line for line in ran[0] if line["case"] != NOTHING_GATHERED]
    names = {line["case"].split(",")[0] for line in cases}
    assert names == {*OBJECTIVES, "amdim"}
    assert len(cases) == WORLD * len({line["case"] for line in cases})
    wrong = [line for line in cases if not line["error"] <= 1e-6 or not line["worst"] <= 1e-6]
    assert not wrong


def test_without_gathering_the_gradient_is_another(ran) -> None:
    apart = [line["error"] for line in ran[0] if line["case"] == NOTHING_GATHERED]
    assert len(apart) == WORLD
    assert min(apart) > 0.1


def test_two_processes_repeat_the_run_of_one(ran) -> None:
    together, alone = losses(ran[1] / "whole"), losses(ran[1] / "alone")
    assert len(together) == len(alone) == 6
    assert together[0] == pytest.approx(alone[0], rel=1e-6)  # the same images in the same views
    assert together == pytest.approx(alone, abs=1e-3)  # and the same six steps, up to rounding


def test_one_process_goes_on_with_the_run_of_two(ran) -> None:
    fewer = losses(ran[1] / "fewer")
    assert fewer[:3] == losses(ran[1] / "whole")[:3]
    assert fewer == pytest.approx(losses(ran[1] / "alone"), abs=1e-3)


def test_sigterm_to_either_stops_both_after_a_saved_step_and_the_rest_follows_bit_for_bit(
    ran,
) -> None:
    assert losses(ran[1] / "whole") == losses(ran[1] / "halves")
    whole, halves = (load_file(ran[1] / name / RESUME_FILE) for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


@pytest.mark.parametrize(("images", "world"), [(128, 3), (2, 4), (7, 2)])
def test_a_batch_that_cannot_be_shared_equally_is_refused_with_what_fits(images, world) -> None:
    with pytest.raises(ConfigError, match=rf"{images} images .* equally by {world}") as raised:
        check_shares(images, world)
    fitting = str(raised.value).partition("batch_size=")[2].split(" or ")
    assert fitting
    for each in map(int, fitting):
        check_shares(each, world)
        assert math.fabs(each - images) < world


def test_collectives_live_in_one_file(repository: Path) -> None:
    users = set()
    for package in ("models", "training", "service"):
        for path in (repository / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if any(name.startswith("torch.distributed") for name in names):
                    users.add(path.relative_to(repository).as_posix())
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.distributed":
                    users.add(path.relative_to(repository).as_posix())
    assert users == {"training/distributed.py"}
