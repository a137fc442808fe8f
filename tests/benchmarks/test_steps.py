"""The rival's step is the loop's step: only then does a comparison measure the input alone."""

from itertools import islice
from pathlib import Path

import torch

from benchmarks.rivals.loader import batches
from benchmarks.steps import CPU, bare_step, source_batches
from training.building import build_model, build_preprocessing
from training.config import make_config
from training.loop import train
from training.source import Resident

SMALL = {"batch_size": 4, "local_units": 4, "schedule": "constant", "precision": "fp32"}


def test_bare_steps_on_the_loops_batches_give_the_loops_weights(tmp_path: Path) -> None:
    config = make_config(SMALL)
    preprocessing = build_preprocessing(config)
    pixels = torch.randint(0, 256, (9, 32, 32, 3), dtype=torch.uint8)
    torch.manual_seed(config.seed)
    looped = build_model(config)
    source = Resident(pixels)
    train(config, looped, source, preprocessing, tmp_path, device=CPU, stop_after_steps=3)

    bare = bare_step(config)
    for number, images in enumerate(islice(source_batches(config, source, preprocessing), 3)):
        bare.learn(number, [images])

    for name, weights in looped.state_dict().items():
        assert torch.equal(weights, bare.model.state_dict()[name]), name


def test_the_loader_gives_normalised_batches_of_the_same_images() -> None:
    config = make_config(SMALL)
    preprocessing = build_preprocessing(config)
    colours = torch.arange(8, dtype=torch.uint8) * 30
    pixels = colours[:, None, None, None].expand(8, 32, 32, 3).contiguous()
    given = islice(batches(pixels.numpy(), "flip", preprocessing, 4, workers=0), 2)
    seen = torch.cat(list(given))
    assert seen.shape == (8, 3, 32, 32)
    expected = colours / 255 * 2 - 1
    assert torch.allclose(seen[:, 0, 0, 0].sort().values, expected, atol=1e-6)
