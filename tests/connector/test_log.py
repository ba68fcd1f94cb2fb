"""Log lines: one an event, readable by a machine, and without secrets (D15)."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from connector import log
from connector.secrets import Secret

CANARY = "canary-4f1d9c7a"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_an_iso_utc_time() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    structlog.get_logger("connector.cycle").info("cycle.ended", rows=3, note="two\nlines\u2028three")
    (line,) = lines(stream)
    assert line["event"] == "cycle.ended"
    assert line["rows"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "connector.cycle"
    assert line["timestamp"].endswith("Z")


def test_other_libraries_go_through_the_same_chain() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    held = Secret(CANARY)
    logging.getLogger("somebody.else").warning("asked %s", f"https://host/?token={CANARY}")
    logging.getLogger("httpx").info("HTTP Request: GET https://host/?code=%s", CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn(f"deprecated {CANARY}", stacklevel=1)
    first, second = lines(stream)
    assert first["event"] == "asked https://host/?token=***"
    assert first["level"] == "warning"
    assert "deprecated ***" in second["event"]
    assert held


def raising(logger: Any) -> None:
    try:
        int(CANARY)
    except ValueError:
        logger.exception("failed")


@pytest.mark.parametrize(
    "emit",
    [
        raising,
        lambda logger: logger.info("x", access_token="short"),
        lambda logger: logger.info("x", headers={"Authorization": "short", "x-api-key": "short"}),
        lambda logger: logger.info("x", nested=[{"password": "short"}]),
        lambda logger: logger.info("x", body=json.dumps({"a": CANARY})),
        lambda logger: logger.info(CANARY),
        lambda logger: logger.info("x", error=RuntimeError(CANARY)),
        lambda logger: logger.info("x", secret=Secret(CANARY)),
        lambda logger: logger.info("x", data=CANARY.encode()),
        lambda logger: logging.getLogger("stdlib").error("%s", {"refresh_token": CANARY}),
    ],
)
@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_no_secret_is_ever_written(emit: Callable[[Any], None], stream_type: type[io.StringIO]) -> None:
    stream = stream_type()
    log.configure(level="DEBUG", stream=stream)
    held = Secret(CANARY)
    emit(structlog.get_logger())
    assert "***" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert "short" not in stream.getvalue()
    assert held


def test_foreign_text_cannot_drive_a_terminal_or_forge_a_line() -> None:
    stream = Terminal()
    log.configure(stream=stream)
    structlog.get_logger().info("invoice.seen", name="Evil\x1b[2J\n2026-01-01 [info] all is well\u202e")
    assert "\x1b[2J" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_the_level_is_honoured() -> None:
    stream = io.StringIO()
    log.configure(level="warning", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]
