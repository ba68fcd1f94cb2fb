"""The other side, each in a process of its own: a package that replays its answers, and the reference receiver.

python -m benchmarks.servers replay PACKAGE FOLDER PHASE PORT
python -m benchmarks.servers receiver PHASE PORT
"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks import recording
from benchmarks.phases import BY_NAME, PhaseClock
from benchmarks.recording import Answer
from benchmarks.subject import SECRET
from benchmarks.wires import WIRES, Wire
from connector.receiver import Receiver
from connector.web.server import serve

TOKENS = b'{"access_token":"access","token_type":"bearer","expires_in":"600","refresh_token":"refresh"}'


class Replay:
    """Answers from memory what was answered once. A look-up is put together item by item, whatever its order."""

    def __init__(self, phase: recording.Phase, origin: str, wire: Wire) -> None:
        self._wire = wire
        self.calls = self.items = self.bytes = 0
        self._answers: dict[str, Answer] = {}
        self._found: dict[tuple[str, str], bytes] = {}
        for answer in phase.answers:
            body = answer.body.replace(phase.origin.encode(), origin.encode())
            kept = msgspec.structs.replace(answer, body=body)
            if wire.keys(answer.target):
                self._keep_items(kept)
            else:
                self._answers[answer.target] = kept
        self._headers = phase.answers[-1].headers

    def _keep_items(self, answer: Answer) -> None:
        for item in msgspec.json.decode(answer.body, type=_Looked).d.results:
            key = msgspec.json.decode(item, type=_Keyed).ID
            self._found[answer.path, key] = bytes(item)

    def answer(self, target: str) -> Answer | None:
        """What to say, and count it; None was never asked for."""
        if keys := self._wire.keys(target):
            path = target.partition("?")[0]
            items = [item for key in keys if (item := self._found.get((path, key))) is not None]
            body = b'{"d":{"results":[' + b",".join(items) + b"]}}"
            found: Answer | None = Answer(target, body, self._headers, len(items))
        else:
            found = self._answers.get(target)
        if found is not None:
            self.calls += 1
            self.items += found.items
            self.bytes += len(found.body)
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        status, headers = 200, {"content-type": "application/json"}
        if scope["path"] == "/api/oauth2/auth":
            status, body = 302, b""
            headers["location"] = _consent(scope["query_string"].decode())
        elif scope["method"] == "POST":
            body = TOKENS
        elif scope["path"] == "/counts":
            body = msgspec.json.encode({"calls": self.calls, "items": self.items, "bytes": self.bytes})
        else:
            target = f"{scope['raw_path'].decode()}?{scope['query_string'].decode()}"
            found = self.answer(target)
            if found is None:
                status, body = 404, f"not recorded: {target}".encode()
                print(body.decode(), file=sys.stderr, flush=True)
            else:
                headers, body = found.headers, found.body
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        lines.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})


class _Keyed(msgspec.Struct):
    ID: str


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]


class _Looked(msgspec.Struct):
    d: _Results


def _consent(query: str) -> str:
    asked = dict(parse_qsl(query))
    return f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}"


async def run(app: ASGIApp, port: int) -> None:
    """Serve until standard input ends, which it does when the benchmark does."""
    async with serve(app, port=port):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    if sys.argv[1] == "replay":
        package, folder, phase, port = sys.argv[2], Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
        app: ASGIApp = Replay(recording.load(folder, phase), f"http://127.0.0.1:{port}", WIRES[package])
    else:
        phase, port = sys.argv[2], int(sys.argv[3])
        app = Receiver([SECRET], clock=PhaseClock(BY_NAME[phase])).app
    asyncio.run(run(app, port))


if __name__ == "__main__":
    main()
