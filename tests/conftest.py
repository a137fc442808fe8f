"""What every test may rely on: checked shapes, a fixed seed, two threads, real data if at hand."""

import os
import random
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent
SEED = 20181218

# Shapes in signatures are checked under pytest only. The hook works on modules imported after it;
# pytest imports this file before any test, so neither package may be imported above this line.
jaxtyping.install_import_hook(["models", "training"], "beartype.beartype")

# No test looks at the clock, and a busy machine is not a failure.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout under test."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; a test that asks for it is skipped without."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real images in ../shared/data, which are not distributed")
    return folder


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """At most two threads of torch: the suite is sized for two cores (OMP_NUM_THREADS: fewer)."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(min(2, int(os.environ.get("OMP_NUM_THREADS", "2"))))


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Every test starts from one seed, whatever ran before it; torch is not imported for that."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  libraries under test still draw from the global generator
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(SEED)
