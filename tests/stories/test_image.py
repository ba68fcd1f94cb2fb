"""The image, without a container: its build steps run in a folder, and what it promises is read from its lines."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.+)$", DOCKERFILE, flags=re.MULTILINE)
BUILD, RUNTIME = (
    re.findall(r"^([A-Z]+) (.+)$", stage, flags=re.MULTILINE)
    for stage in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]
)
TOOLS = "python -m venv /opt/tools && /opt/tools/bin/pip install --require-hashes -r requirements.lock"
HASTY = os.environ | {"PIP_NO_COMPILE": "1"}
"""To compile all modules, so that the image starts quickly, takes as long as all the rest."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked(name: str) -> dict[str, set[str]]:
    """Requirement with its version and marker, to its hashes."""
    blocks = re.findall(r"^(\S.*?) \\\n((?: {4}--hash=.*\n)+)", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)
    return {pin: set(re.findall(r"sha256:[0-9a-f]{64}", hashes)) for pin, hashes in blocks}


def test_the_image_installs_what_the_tests_ran_with() -> None:
    everything, running = locked("requirements.lock"), locked("requirements-run.lock")
    assert {pin: hashes for pin, hashes in everything.items() if pin in running} == running
    names = {re.split(r"[=\[ ]", pin)[0] for pin in running}
    assert {re.split(r"[\[<>=,]", requirement)[0] for requirement in PROJECT["dependencies"]} <= names
    assert not names & {
        re.split(r"[\[<>=,]", requirement)[0] for requirement in PROJECT["optional-dependencies"]["dev"]
    }


def test_the_image_runs_as_nobody_special_and_writes_to_one_volume_only() -> None:
    values = dict(RUNTIME)
    assert values["USER"] not in {"root", "0"}
    assert f"useradd --system --uid 10001 {values['USER']}" in values["RUN"]
    assert values["VOLUME"] == values["WORKDIR"] == "/data"
    assert [word for word, _ in RUNTIME].count("VOLUME") == 1
    assert "PYTHONDONTWRITEBYTECODE=1" in values["ENV"]
    assert json.loads(values["ENTRYPOINT"]) == list(PROJECT["scripts"])
    assert json.loads(values["CMD"]) == ["run"]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_daemon(status: int, code: int) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, _, command = dict(RUNTIME)["HEALTHCHECK"].partition("CMD ")
        python, *arguments = json.loads(command.replace(":8080/", f":{server.server_port}/"))
        assert python == "python"
        done = subprocess.run([sys.executable, *arguments], capture_output=True, timeout=20, check=False)
        server.shutdown()
    assert done.returncode == code


def test_the_build_steps_work(tmp_path: Path) -> None:
    """COPY and RUN in a folder; only the tools are taken from here, which `make` installed by the same step."""
    context, source, opt = tmp_path / "context", tmp_path / "src", tmp_path / "opt"
    send_to_builder(context)
    source.mkdir()
    opt.mkdir()
    (opt / "tools").symlink_to(sys.prefix)
    assert TOOLS in [text for word, text in BUILD if word == "RUN"]
    for word, text in BUILD:
        if word == "COPY":
            *names, target = text.split()
            for name in names:
                place = source / target / (name if target.endswith("/") else "")
                (shutil.copytree if (context / name).is_dir() else shutil.copy)(context / name, place)
        elif word == "RUN" and text != TOOLS:
            step = text.replace("python -m venv", f"{sys.executable} -m venv").replace("/opt/", f"{opt}/")
            shell = ["sh", "-ec", step]
            done = subprocess.run(shell, cwd=source, env=HASTY, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    shown = subprocess.run([opt / "connector/bin/connector", "--help"], cwd=tmp_path, capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr


def send_to_builder(context: Path) -> None:
    """What .dockerignore lets through: it refuses everything and then names what is let in."""
    first, *rest = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert first == "*"
    context.mkdir()
    for line in rest:
        if line.startswith("!"):
            source = ROOT / line[1:]
            if source.is_dir():
                shutil.copytree(source, context / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, context)
