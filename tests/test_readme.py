"""Every marked command of the README is run as it stands, against a service started as it says.

Convention (CONTRIBUTING.md): `<!-- run -->` or `<!-- run, prints: TEXT -->` above a bash block.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
ADDRESS = "http://127.0.0.1:8000"
BLOCK = re.compile(
    r"^<!-- run(?:, prints: (?P<prints>.*?))? -->\n```bash\n(?P<script>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
BLOCKS = [(found["script"], found["prints"]) for found in BLOCK.finditer(README.read_text())]

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash"
)


@dataclass(frozen=True)
class Served:
    """A running service and a copy of the repository in which commands are run."""

    url: str
    example: str  # the curl line that was printed at the start
    folder: Path
    environment: dict[str, str]

    def run(self, script: str) -> str:
        """Run a script as a user would; curl fails on an error status."""
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        printed = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{script}\n{printed}\n{done.stderr.decode(errors='replace')}"
        return printed


@pytest.fixture(scope="module")
def served(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`python -m service serve` on a free port, from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(repository / "examples", folder / "examples")
    shutil.copytree(repository / "checkpoints", folder / "checkpoints")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("INFOMAX_")}
    environment = {**kept, "CURL_HOME": str(folder), "PYTHONPATH": str(repository)}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--port", "0", "--device", "cpu"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:  # ends when the service does
            lines.append(line.rstrip("\n"))
            if line.startswith("curl "):
                break
        said = "\n".join(lines)
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url, f"the service did not start: {said}"
        yield Served(url[0], lines[-1], folder, environment)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_the_line_that_serve_prints_returns_an_embedding(served: Served) -> None:
    answer = json.loads(served.run(served.example))
    assert len(answer["embeddings"][0]) == answer["dimensions"] == 64


@pytest.mark.parametrize(("script", "prints"), BLOCKS, ids=[s.split("\n")[0] for s, _ in BLOCKS])
def test_a_command_of_the_readme_works(served: Served, script: str, prints: str | None) -> None:
    printed = served.run(script.replace(ADDRESS, served.url))
    assert (prints or "") in printed


def test_the_readme_shows_every_route_input_and_output() -> None:
    shown = "".join(script for script, _ in BLOCKS)
    for route in ("embed", "feature-map", "mi-score", "info", "livez", "readyz", "metrics", "docs"):
        assert f"{ADDRESS}/{route}" in shown
    for form in ("-F files=@", "--data-binary @", '\\"images\\": [', "application/x-npy"):
        assert form in shown
    for form in ("Accept: application/x-npy", "Accept: image/png", "encoding=base64"):
        assert form in shown


def test_no_marker_of_the_readme_is_overlooked() -> None:
    assert len(BLOCKS) == README.read_text().count("<!-- run")
