"""Group G of the fault catalogue: whoever has no right learns nothing and moves nothing. Real sockets."""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from connector.errors import ConfigurationError
from connector.store import api_keys, backlog, connections, destinations
from connector.store.api_keys import Scope
from connector.web.access import FAILURES, WINDOW_S
from connector.web.admin import AdminApi, Controls
from connector.web.app import create_app
from connector.web.guard import BODY_LIMIT, HEADERS, refuse_exposure
from tests.desk import NEVER_SHOWN, Desk, servers
from tests.faults.conftest import Lender
from tests.faults.world import FaultyWorld
from tests.servers import serve
from tests.stories.world import DESTINATION, NAME

NOBODY_ELSE = "stored-but-not-configured"
UNKNOWN = "connector_00000000_" + "A" * 43
LIVE = {"live": True, "seconds_since_tick": 0.1, "running": [NAME], "outcomes": {NAME: "ok"}}


@dataclass
class Listener:
    """The daemon's web application on a socket, and what it did to the daemon."""

    world: FaultyWorld
    url: str
    keys: dict[Scope, str]
    synced: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, key: str | Scope | None = None, **request: Any) -> httpx.Response:
        headers = dict(request.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.keys[key] if isinstance(key, Scope) else key}"

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
                return await client.request(method, path, headers=headers, **request)

        answer = self.world.town.run(send())
        told = f"{answer.headers} {answer.text}".replace(self.url, "")
        assert NEVER_SHOWN.search(told) is None, told
        return answer


@pytest.fixture
def read(lender: Lender) -> FaultyWorld:
    """Nothing here spoils what was read, so that nobody has to recover."""
    return lender.lend()


@pytest.fixture
def listener(read: FaultyWorld) -> Iterator[Listener]:
    runtime, stack = read.runtime, AsyncExitStack()
    keys = {scope: api_keys.create(read.store, scope.value, scope, now=read.clock.now()).reveal() for scope in Scope}
    connections.register(
        read.store, name=NOBODY_ELSE, package="exactonline", administration="9", destination="d", now=read.clock.now()
    )
    listener = Listener(read, "", keys)

    async def linked(*_: object) -> None:
        raise AssertionError("nobody signs in here")

    controls = Controls(health=lambda: LIVE, sync=listener.synced.append, wake=listener.woken.append)
    listener.url = read.town.run(stack.enter_async_context(serve(create_app(runtime, controls, linked))))
    yield listener
    read.town.run(stack.aclose())
    for scope in Scope:
        api_keys.revoke(read.store, scope.value)


def routes(read: FaultyWorld) -> list[tuple[str, str]]:
    """Every route there is: method and path, its name not filled in."""
    api = AdminApi(read.runtime, Controls(health=dict, sync=print, wake=print))
    return [
        (method, f"/api{route.path}")  # type: ignore[attr-defined]  # all are routes
        for route in api._routes.routes
        for method in sorted(route.methods - {"HEAD"})  # type: ignore[attr-defined]
    ]


def test_g1_without_a_key_every_address_gives_the_same_answer(listener: Listener) -> None:
    there = [(method, path.format(name=NAME)) for method, path in routes(listener.world)]
    assert len(there) >= 8
    absent = [("GET", "/api/"), ("GET", "/api/nothing"), ("DELETE", f"/api/connections/{NAME}")]
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": f"Bearer {UNKNOWN}"}):
        listener.world.clock.advance(WINDOW_S)
        answers = [listener.ask(*where, headers=headers) for where in [*there[-5:], *absent]]
        assert {(one.status_code, one.text) for one in answers} == {(401, '{"error":"an API key is needed"}')}
        assert {one.headers["www-authenticate"] for one in answers} == {"Bearer"}
    assert {listener.ask(*where).status_code for where in [*there, *absent]} == {401}
    assert (listener.synced, listener.woken) == ([], [])


def test_g1_a_scope_that_is_too_small_moves_nothing_and_tells_nothing(listener: Listener) -> None:
    for method, path in routes(listener.world):
        needed = Scope.READ if method == "GET" else Scope.ADMIN if path.endswith("/skip") else Scope.OPERATE
        for scope in Scope:
            if scope.allows(needed):
                continue
            real = listener.ask(method, path.format(name=NAME), scope)
            invented = listener.ask(method, path.format(name="nobody"), scope)
            assert (real.status_code, "is needed" in real.text) == (403, True)
            assert (invented.status_code, invented.text) == (real.status_code, real.text)
    assert (listener.synced, listener.woken) == ([], [])


def test_g1_what_is_not_configured_is_not_there(listener: Listener) -> None:
    """The database knows it, from another configuration; this daemon does not."""
    for method, path in routes(listener.world):
        if "{name}" not in path:
            continue
        stored, invented = (
            listener.ask(method, path.format(name=name), Scope.ADMIN, json={"dead": True})
            for name in (NOBODY_ELSE, "nobody")
        )
        assert (stored.status_code, stored.text) == (invented.status_code, invented.text)
        assert (stored.status_code, stored.json()) == (404, {"error": "not found"})
    answer = listener.ask("POST", f"/api/destinations/{DESTINATION}/replay", Scope.OPERATE, json={"connection": "x"})
    assert (answer.status_code, answer.json()) == (400, {"error": "there is no such connection"})
    assert NOBODY_ELSE not in listener.ask("GET", "/api/connections", Scope.ADMIN).text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world, key: api_keys.revoke(world.store, "read"),
        lambda world, key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda world, key: key + "A",
        lambda world, key: key[:19] + "A" * 43,
        lambda world, key: key.upper(),
    ],
    ids=["revoked", "last letter", "longer", "known prefix", "upper case"],
)
def test_g1_a_key_that_is_not_right_is_no_key(listener: Listener, spoil: Callable[..., Any]) -> None:
    key = listener.keys[Scope.READ]
    assert listener.ask("GET", "/api/health", key).status_code == 200
    changed = spoil(listener.world, key)
    answer = listener.ask("GET", "/api/health", changed if isinstance(changed, str) else key)
    assert (answer.status_code, answer.json()) == (401, {"error": "an API key is needed"})


def test_g1_a_key_expires(listener: Listener) -> None:
    now = listener.world.clock.now()
    key = api_keys.create(listener.world.store, "brief", Scope.READ, now=now, expires_at=now + timedelta(seconds=60))
    assert listener.ask("GET", "/api/health", key.reveal()).status_code == 200
    listener.world.clock.advance(61)
    assert listener.ask("GET", "/api/health", key.reveal()).status_code == 401
    api_keys.revoke(listener.world.store, "brief")


def test_g1_guessing_is_slowed_down_and_locks_nobody_else_out(listener: Listener) -> None:
    key = listener.keys[Scope.READ]
    assert listener.ask("GET", "/api/health", key).status_code == 200
    with capture_logs() as logged:
        answers = [listener.ask("GET", "/api/health", UNKNOWN) for _ in range(FAILURES + 5)]
    assert [one.status_code for one in answers] == [401] * FAILURES + [429] * 5
    assert 0 < int(answers[-1].headers["retry-after"]) <= WINDOW_S
    assert [line["event"] for line in logged] == ["api.refused"] * FAILURES, "the log is bounded too"
    assert "A" * 43 not in str(logged)
    other = listener.keys[Scope.ADMIN]
    assert listener.ask("GET", "/api/health", other).status_code == 429, "it was never seen to be right"
    assert listener.ask("GET", "/api/health", key).status_code == 200, "it was"
    listener.world.clock.advance(WINDOW_S)
    assert listener.ask("GET", "/api/health", other).status_code == 200
    for _ in range(FAILURES):
        assert listener.ask("GET", "/api/health", key[:19] + "A" * 43).status_code == 401
    assert listener.ask("GET", "/api/health", key).status_code == 429, "its own prefix is guessed at"


def test_what_the_api_shows_is_what_status_shows(listener: Listener) -> None:
    shown = listener.ask("GET", "/api/connections", Scope.READ).json()
    assert [(one["name"], one["linked"], one["outcome"]) for one in shown] == [(NAME, True, "ok")]
    assert listener.ask("GET", f"/api/connections/{NAME}", Scope.READ).json() == shown[0]
    (backend,) = listener.ask("GET", "/api/destinations", Scope.READ).json()
    assert (backend["name"], backend["state"], backend["events"]) == (DESTINATION, "ok", {})
    assert listener.ask("GET", "/api/health", Scope.READ).json() == {**LIVE, "ready": True, "reason": ""}
    assert listener.ask("GET", "/healthz").json() == {"live": True, "seconds_since_tick": 0.1}
    (mine,) = [key for key in api_keys.everyone(listener.world.store) if key.name == "read"]
    assert mine.last_used_at == listener.world.clock.now()


def test_what_an_operator_asks_for_happens_and_is_logged(listener: Listener) -> None:
    world, at = listener.world, f"/api/destinations/{DESTINATION}"
    destinations.pause(world.store, DESTINATION, "for the test")
    assert listener.ask("GET", "/api/destinations", Scope.READ).json()[0]["state"] == "paused"
    with capture_logs() as logged:
        assert listener.ask("POST", f"/api/connections/{NAME}/sync", Scope.OPERATE).status_code == 202
        assert listener.ask("POST", f"{at}/resume", Scope.OPERATE).json() == {"resumed": True}
        sent = listener.ask("POST", f"{at}/replay", Scope.OPERATE, json={"connection": NAME})
        assert sent.json()["events"] > 10
        assert listener.ask("POST", f"{at}/skip", Scope.ADMIN, json={"dead": True}).json() == {"events": 0}
    assert (listener.synced, listener.woken) == ([NAME], [DESTINATION] * 3)
    assert listener.ask("GET", "/api/destinations", Scope.READ).json()[0]["state"] == "ok"
    assert len(backlog.pending(world.store, limit=1000)) == sent.json()["events"]
    audit = [(line["action"], line["target"], line["by"]) for line in logged if line["event"] == "api.audit"]
    assert audit == [
        ("sync", NAME, "operate"),
        ("resume", DESTINATION, "operate"),
        ("replay", DESTINATION, "operate"),
        ("skip", DESTINATION, "admin"),
    ]
    world.deliver()


@pytest.mark.parametrize(
    "body",
    ["", "{}", "[]", "{", '{"all": true}', '{"since": "yesterday"}', '{"dead": "yes"}', b'{"connection": "\xff"}'],
)
def test_a_body_that_chooses_nothing_sends_nothing(listener: Listener, body: str | bytes) -> None:
    answer = listener.ask("POST", f"/api/destinations/{DESTINATION}/replay", Scope.OPERATE, content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert backlog.pending(listener.world.store) == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "a@localhost"]
)
@pytest.mark.parametrize("path", ["/healthz", "/api/health", "/callback"])
def test_g3_another_host_name_is_refused(listener: Listener, host: str, path: str) -> None:
    """A page of that name would be let in by the browser once its name points here."""
    answer = listener.ask("GET", path, Scope.READ, headers={"Host": host})
    assert (answer.status_code, "host name is not served here" in answer.text) == (400, True)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9"])
def test_the_names_of_this_machine_are_served(listener: Listener, host: str) -> None:
    assert listener.ask("GET", "/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_g3_a_post_from_another_site_is_refused(listener: Listener, headers: dict[str, str]) -> None:
    answer = listener.ask("POST", f"/api/connections/{NAME}/sync", Scope.ADMIN, headers=headers)
    assert (answer.status_code, "another site" in answer.text) == (403, True)
    assert listener.synced == []


def test_g3_a_post_from_our_own_pages_passes(listener: Listener) -> None:
    for headers in ({"Origin": listener.url, "Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:8080"}):
        answer = listener.ask("POST", f"/api/connections/{NAME}/sync", Scope.ADMIN, headers=headers)
        assert answer.status_code == 202


def test_a_body_without_end_is_cut_off(listener: Listener) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 100_000

    at = f"/api/destinations/{DESTINATION}/replay"
    assert listener.ask("POST", at, Scope.ADMIN, content=b"x" * (BODY_LIMIT + 1)).status_code == 413
    with contextlib.suppress(httpx.TransportError):  # it still sends when the answer and the end come
        assert listener.ask("POST", at, Scope.ADMIN, content=endless()).status_code == 413
    assert sent < 100


def test_every_answer_has_the_security_headers(listener: Listener) -> None:
    for path, headers in (("/healthz", {}), ("/api/x", {}), ("/callback", {}), ("/", {"Host": "evil.example"})):
        answer = listener.ask("GET", path, headers=headers)
        assert {name.lower() for name in HEADERS} <= set(answer.headers)
        assert "access-control-allow-origin" not in answer.headers


def settings(world: FaultyWorld, **daemon: Any) -> Any:
    from msgspec import structs

    return structs.replace(world.settings.daemon, **daemon)


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:80", "connector.internal:80"])
def test_beyond_loopback_only_with_tls_and_a_key(read: FaultyWorld, listen: str) -> None:
    now = read.clock.now()
    for public_url in (None, "http://connector.example"):
        with pytest.raises(ConfigurationError, match="without TLS") as raised:
            refuse_exposure(settings(read, listen=listen, public_url=public_url), read.store, now)
        assert listen in raised.value.where
    behind = settings(read, listen=listen, public_url="https://connector.example")
    with pytest.raises(ConfigurationError, match="no API key"):
        refuse_exposure(behind, read.store, now)
    api_keys.create(read.store, "ops", Scope.READ, now=now, expires_at=now + timedelta(days=1))
    refuse_exposure(behind, read.store, now)
    with pytest.raises(ConfigurationError, match="no API key"):
        refuse_exposure(behind, read.store, now + timedelta(days=2))
    api_keys.revoke(read.store, "ops")


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.8.9.1:1"])
def test_loopback_needs_nothing(read: FaultyWorld, listen: str) -> None:
    refuse_exposure(settings(read, listen=listen), read.store, read.clock.now())


def test_the_keys_of_the_api_on_the_command_line(door: Any, tmp_path: Any, unused_tcp_port: int) -> None:
    """Shown once; the daemon refuses to be reachable from outside without TLS."""
    with servers(customers=1, invoices=1) as around:
        desk = Desk(tmp_path, around, unused_tcp_port, door)
        made = desk.run("apikey", "create", "ops", "--scope", "operate", "--days", "30")
        key = made.out.splitlines()[0]
        assert (made.code, api_keys.prefix_of(key) != "") == (0, True)
        again = desk.run("apikey", "create", "ops")
        assert (again.code, 'there is an API key "ops"' in again.err) == (2, True)
        (listed,) = desk.run("apikey", "list", "--json").json()
        assert (listed["name"], listed["scope"], listed["prefix"]) == ("ops", "operate", api_keys.prefix_of(key))
        assert key not in json.dumps(listed) + desk.run("apikey", "list").out
        desk.configure('"127.0.0.1:', '"0.0.0.0:')
        refused = desk.run("run")
        assert (refused.code, "without TLS" in refused.err, "what to do" in refused.err) == (2, True, True)
        unknown = desk.run("apikey", "revoke", "opps")
        assert (unknown.code, 'did you mean "ops"?' in unknown.err) == (2, True)
        assert desk.run("apikey", "revoke", "ops").code == 0
        assert desk.run("apikey", "list", "--json").json() == []
