"""The command line: python -m service serve [--checkpoint DIR] [--host H] [--port N] ..."""

import argparse
import base64
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from service.settings import Settings, SettingsError, read_settings

FAILED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0, or 2 with one sentence on standard error."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    # Threads that wait for their piece of a forward pass must not spin: the cores have other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        settings = read_settings(
            checkpoint=asked.checkpoint, host=asked.host, port=asked.port, device=asked.device
        )
    except SettingsError as error:
        return _fail(error)
    return serve(settings)


def serve(settings: Settings) -> int:
    """Load the checkpoint, take the port, serve until SIGTERM."""
    from models.checkpoint import CheckpointError
    from service.app import create_app
    from service.engine import load_engine
    from service.logs import configure_logging
    from service.server import ServerError, open_socket, run

    configure_logging(settings.log_level, settings.access_log)
    try:
        opened = open_socket(settings.host, settings.port)
        with opened:
            engine = load_engine(settings.checkpoint, settings.device, settings.threads)
            app = create_app(settings, engine)
            url = _url(settings.host, opened.getsockname()[1])
            return run(app, settings, opened, lambda: _announce(url, engine.card.name))
    except (CheckpointError, ServerError, ValueError) as error:
        return _fail(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service", description="Serve a checkpoint over HTTP."
    )
    commands = parser.add_subparsers(required=True, metavar="serve")
    serving = commands.add_parser(
        "serve",
        help="answer requests until SIGTERM",
        description="Serve a checkpoint over HTTP until SIGTERM.",
        epilog="Every setting is also an environment variable, INFOMAX_PORT and so on; flags win.",
    )
    serving.add_argument("--checkpoint", type=Path, metavar="DIR", help="folder of the checkpoint")
    serving.add_argument("--host", help="address to listen on (127.0.0.1)")
    serving.add_argument("--port", type=int, help="port to listen on (8000); 0 takes a free one")
    serving.add_argument("--device", help="auto, cpu, cuda or cuda:N (auto)")
    return parser


def _announce(url: str, model: str) -> None:
    """Say where, and give one line that works as it stands."""
    print(f"{model} is served at {url} (reference: {url}/docs)\n\nTry:\n{example(url)}", flush=True)


def example(url: str) -> str:
    """A curl line that needs no file: a tiny picture stands in it as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).save(buffer, "PNG", optimize=True)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"curl -s {url}/embed -H 'Content-Type: application/json'"
        f""" -d '{{"images":["data:image/png;base64,{picture}"]}}'"""
    )


def _url(host: str, port: int) -> str:
    """Give an address that can be asked: every interface includes this machine's own."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _fail(error: Exception) -> int:
    print(f"infomax: {error}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
