"""Starts `connector` processes in milliseconds: forked from one that has imported the program already.

Importing takes most of a short command's second, and the stories start dozens. `serve` imports once and forks for
every request; `run` stands in for the program: it hands over its standard streams, passes signals on and ends as the
program ended. What runs is a process of its own in every respect but the import.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
LARGEST_REQUEST = 1_000_000
RUN_AS = "NURSERY_RUN_AS"
"""Names the variable that holds the number of a user to run as; only root can have another."""


def command(door: Path, *words: str) -> list[str]:
    """What to start instead of `connector words`."""
    return [sys.executable, "-I", "-S", __file__, str(door), *words]


@contextlib.contextmanager
def nursery(folder: Path) -> Iterator[Path]:
    """The door at which processes are asked for; all of them are gone afterwards."""
    import subprocess

    door = folder / "door"
    serving = [sys.executable, "-c", f"from tests.nursery import serve; serve({str(door)!r})"]
    with subprocess.Popen(serving, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            yield door
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def serve(door: str) -> None:
    """Fork for every request, until killed."""
    from connector import cli
    from connector.adapter import packages
    from connector.simulation import simulators

    packages(), simulators()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, b"open\n")
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _bear(client)
            cli.main()
            sys.exit()
        client.close()


def _bear(client: socket.socket) -> None:
    """Returns in the process that becomes the program; its parent tells how it ends."""
    message, streams, _, _ = socket.recv_fds(client, LARGEST_REQUEST, 3)
    asked = json.loads(message)
    pid = os.fork()
    if pid:
        for stream in (0, 1, 2, *streams):
            os.close(stream)
        client.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    client.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    if user := os.environ.pop(RUN_AS, None):
        os.setgid(int(user))
        os.setuid(int(user))
    sys.argv = ["connector", *asked["words"]]
    if setting := os.environ.get("CONNECTOR_FAILPOINTS"):
        arm(setting)


def arm(setting: str) -> None:
    """What importing the program under this setting would have done."""
    from connector import failpoints

    unarmed, armed = failpoints.failpoint, failpoints.armed(setting)
    for module in list(sys.modules.values()):
        if getattr(module, "failpoint", None) is unarmed:
            module.__dict__["failpoint"] = armed


def run(door: str, words: list[str]) -> NoReturn:
    """Be the program, as far as whoever started us can tell."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(door)
    asked = {"words": words, "folder": str(Path.cwd()), "environ": dict(os.environ)}
    socket.send_fds(client, [json.dumps(asked).encode()], [0, 1, 2])
    answers = client.makefile()
    pid = int(answers.readline())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os.kill(pid, received))
    for stream in (0, 1, 2):
        os.close(stream)
    code = int(answers.readline())
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
