"""A checkpoint without critics, as an import may leave it, serves all but scores."""

from pathlib import Path

from models.card import Card
from models.checkpoint import load_checkpoint, save_checkpoint
from service.engine import load_engine
from tests.fakes import picture
from tests.service.conftest import Serve
from tests.service.test_errors import check
from tests.service.test_forms import FILES

ORIGIN = "Imported from somewhere."


def test_it_embeds_and_says_that_it_cannot_score(
    checkpoint: Path, serve: Serve, tmp_path: Path
) -> None:
    trained = load_checkpoint(checkpoint)
    facts = {**dict(trained.card), "critics": {}, "origin": ORIGIN, "files": {}}
    folder = tmp_path / "imported"
    save_checkpoint(folder, Card(**facts), trained.encoder, {}, trained.golden.images)
    client = serve(load_engine(folder, "cpu", threads=1))
    assert client.post("/embed", files=FILES).status_code == 200
    assert client.post("/feature-map", files=FILES).status_code == 200
    for path in ("/mi-score", "/mi-score?critic=global", "/mi-score?matrix=true"):
        error = check(client.post(path, files=[("files", picture())] * 2), 400, "no_critics")
        assert "no critics" in error["message"]
    told = client.get("/info").json()
    assert told["critics"] == {}
    assert told["card"]["origin"] == ORIGIN


def test_a_card_without_an_origin_says_none(checkpoint: Path) -> None:
    text = (checkpoint / "card.json").read_text()
    older = text.replace('"origin": null,', "")
    assert "origin" not in older
    assert Card.model_validate_json(older).origin is None
