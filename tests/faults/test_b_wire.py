"""Group B of the fault catalogue: connections, bodies and certificates, against a whole cycle of a real adapter."""

import asyncio
import json
import re
import ssl
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from connector import network
from connector.errors import ExitCode
from connector.outcome import CycleReport
from tests.certificates import HERE, certificate, server
from tests.faults.toxics import Kind, Toxic, unanswered
from tests.faults.world import ACCOUNTS, LINES, TERMS, FaultyWorld, assert_waits, failed
from tests.servers import serve_raw
from tests.stories.world import NAME

PATIENCE_S = 1.0
"""The deadline of a request in tests that let it pass; everything else here is answered within milliseconds."""
CAP = 32 * 1024 * 1024
STATUS = Path("/proc/self/status")


# --- B3 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset_peer", "limit_data"])
def test_b3_a_connection_that_breaks_in_the_body_is_asked_again(both: FaultyWorld, kind: Kind) -> None:
    both.town.wire.add(Toxic(kind=kind, match=LINES.encode(), after=700))
    both.settle()
    assert both.asked(LINES) == 2


@pytest.mark.parametrize(
    ("kind", "calls", "words"),
    [("reset_peer", 3, "reset"), ("limit_data", 3, "broke off"), ("timeout", 1, "within the time allowed")],
)
def test_b3_a_connection_that_always_breaks_keeps_what_was_there(
    read: FaultyWorld, kind: Kind, calls: int, words: str
) -> None:
    read.simulator.bookkeeper.perform("invoice")
    kept, cursors = read.kept(), read.cursors()
    read.runtime.deadline_s = PATIENCE_S
    read.town.wire.add(Toxic(kind=kind, match=LINES.encode(), after=500, times=None))
    assert_waits(read.cycle(), words, LINES)
    assert read.asked(LINES) == calls
    assert read.cursors()["lines"] == cursors["lines"]
    lines = [row for row in kept["row"] if row[0] == "line"]
    assert [row for row in read.kept()["row"] if row[0] == "line"] == lines


def test_b3_a_server_that_does_not_pick_up(read: FaultyWorld) -> None:
    kept = read.kept()
    read.runtime.deadline_s = PATIENCE_S
    with unanswered() as url:
        move(read, url)
        assert_waits(read.cycle(), "within the time allowed", "127.0.0.1")
    assert read.kept() == kept


def test_b3_latency_and_a_slow_end_do_no_harm(read: FaultyWorld) -> None:
    read.simulator.bookkeeper.perform("invoice")
    read.town.wire.add(Toxic(kind="latency", match=LINES.encode(), seconds=0.2))
    read.town.wire.add(Toxic(kind="slow_close", match=TERMS.encode(), seconds=0.2))
    read.settle()
    assert [toxic.hits for toxic in read.town.wire.toxics] == [1, 1]


def move(world: FaultyWorld, base_url: str) -> None:
    """The package is looked for at another address."""
    connection = world.settings.connections[NAME]
    options = msgspec.structs.replace(connection.options, base_url=base_url)
    moved = msgspec.structs.replace(connection, options=options)
    world.runtime.settings = msgspec.structs.replace(world.settings, connections={NAME: moved})


# --- B4, B5, B6 ------------------------------------------------------------------------------------------------------


def test_b4_a_slow_drip_is_cut_by_the_deadline(read: FaultyWorld) -> None:
    read.runtime.deadline_s = PATIENCE_S
    read.town.wire.add(Toxic(kind="slicer", match=LINES.encode(), after=300, seconds=0.05, times=None))
    began = time.monotonic()
    assert_waits(read.cycle(), "no complete answer within the time allowed", LINES)
    assert time.monotonic() - began < 5 * PATIENCE_S
    assert read.asked(LINES) == 1
    assert read.linked.lease_until is None, "nobody waits for it any more"


@pytest.mark.parametrize(("kind", "calls", "words"), [("truncate", 1, "JSON"), ("limit_data", 3, "broke off")])
def test_b5_half_a_body_is_never_a_page(both: FaultyWorld, kind: str, calls: int, words: str) -> None:
    """With a length that fits the half, and with one that does not."""
    if kind == "truncate":
        both.simulator.faults.add(TERMS, "truncate", times=None)
    else:
        both.town.wire.add(Toxic(kind="limit_data", match=TERMS.encode(), after=900, times=None))
    assert_waits(both.cycle(), words, TERMS)
    assert both.asked(TERMS) == calls
    assert both.cursors().get("terms") is None
    assert both.set_aside() == {}
    both.recover()


@pytest.mark.skipif(not STATUS.exists(), reason="needs the memory figures of Linux")
def test_b6_a_body_of_a_gigabyte_is_cut_at_the_cap(read: FaultyWorld) -> None:
    read.simulator.bookkeeper.perform("invoice")
    cursor = read.cursors()["lines"]
    read.simulator.faults.add(LINES, "huge", size=1024**3, times=None)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here
    before = memory("VmRSS")
    report = read.cycle()
    assert memory("VmHWM") - before < 100 * 1024**2
    assert (report.outcome, report.exit_code) == ("partial", ExitCode.PARTLY_FAILED)
    ((name, reason),) = failed(report).items()
    assert (name, read.cursors()[name], read.states()[name].reason) == ("lines", cursor, reason)
    assert re.search(rf"larger than {CAP // 1024} kB \({NAME}: GET .*{LINES}\) - ", reason)


def memory(figure: str) -> int:
    found = re.search(rf"{figure}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1]) * 1024


# --- B7 --------------------------------------------------------------------------------------------------------------


def test_b7_invalid_text_is_an_error_of_the_page(read: FaultyWorld) -> None:
    read.simulator.bookkeeper.perform("rename_customer")
    cursor = read.cursors()["accounts"]
    read.simulator.faults.add(ACCOUNTS, "invalid_utf8", times=None)
    assert_waits(read.cycle(), "not readable text", ACCOUNTS)
    assert read.cursors()["accounts"] == cursor


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_b7_a_byte_order_mark_and_a_declared_charset_make_no_mojibake(read: FaultyWorld, charset: str) -> None:
    name = "Café Ångström & Söhne"
    customer = read.simulator.bookkeeper.perform("rename_customer").ids[0]
    read.rewriter.set(ACCOUNTS, "Name", name)
    mark = b"\xef\xbb\xbf" if charset == "utf-8" else b""
    read.rewriter.body(
        ACCOUNTS,
        lambda body: mark + json.dumps(json.loads(body), ensure_ascii=False).encode(charset),
        headers={"content-type": f"application/json; charset={charset}"},
    )
    assert read.cycle().outcome == "ok"
    read.deliver()
    assert read.mirror()["customers"][customer]["name"] == name
    read.simulator.bookkeeper.perform("rename_customer", customer=customer)


# --- B14 -------------------------------------------------------------------------------------------------------------


def test_b14_a_name_that_does_not_resolve(read: FaultyWorld) -> None:
    kept = read.kept()
    move(read, "https://start.exactonline.invalid")
    assert_waits(read.cycle(), "name cannot be resolved", "start.exactonline.invalid")
    assert read.kept() == kept


class Case(NamedTuple):
    host: str
    expired: bool
    trusted: bool
    words: str


@pytest.mark.parametrize(
    "case",
    [
        Case(HERE, expired=False, trusted=False, words="self-signed certificate"),
        Case("other.example", expired=False, trusted=True, words="certificate is not valid for '127.0.0.1'"),
        Case(HERE, expired=True, trusted=True, words="certificate has expired"),
    ],
    ids=lambda case: case.words,
)
def test_b14_a_bad_certificate(read: FaultyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    kept = read.kept()
    file = certificate(tmp_path, host=case.host, expired=case.expired)
    authorities = ssl.create_default_context(cafile=str(file) if case.trusted else None)
    monkeypatch.setattr(network, "_tls", lambda: authorities)
    report, heard = over_tls(read, file)
    assert (report.outcome, report.exit_code, heard) == ("unavailable", ExitCode.UNAVAILABLE, 0)
    assert case.words in str(report.error)
    assert "check the clock of this machine" in str(report.error)
    assert read.kept() == kept


def test_b14_a_good_certificate_is_what_the_others_lack(
    read: FaultyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path)
    authorities = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(network, "_tls", lambda: authorities)
    report, heard = over_tls(read, file)
    assert heard > 0
    assert "certificate" not in str(report.error)


def over_tls(world: FaultyWorld, file: Path) -> tuple[CycleReport, int]:
    """A cycle against a server that hears requests and hangs up; how many it heard."""
    heard = []

    async def listen(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        heard.append("a request")

    async def story() -> CycleReport:
        async with serve_raw(listen, tls=server(file)) as url:
            move(world, url)
            async with world.runtime.cycle(NAME) as cycle:
                return await cycle.run()

    return world.town.run(story()), len(heard)
