"""Logging: one event a line, JSON unless a person watches, and nothing secret in it.

Our own events and those of other libraries run through the same chain. Masking comes last: by key before rendering,
and by value over the finished line, so that neither an exception nor a nested value slips past.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from connector.secrets import MASK, redact

_SECRET_KEY = re.compile(
    r"(?:^|[_-])(?:token|secret|password|passwd|authorization|cookie|verifier|credentials?|api[_-]?key)$", re.IGNORECASE
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BREAKS = "\n\t"


def configure(*, level: str = "INFO", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Set up logging for the process; safe to call again. `json` None: JSON when the stream is not a terminal."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    render: Processor = (
        structlog.processors.JSONRenderer(default=repr)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask_keys,
                *([] if as_json else [_escape]),
                render,
                _mask_values,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in ("httpx", "httpcore", "sqlalchemy"):
        # Below WARNING they print whole URLs, queries included, and the values of every statement.
        logging.getLogger(name).setLevel(logging.WARNING)


def _mask_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return cast("EventDict", _masked(event))


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: MASK if _SECRET_KEY.search(str(key)) else _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Terminal control and line breaks from foreign text are shown, not obeyed; JSON escapes by itself."""
    return {key: _shown(value, key) if isinstance(value, str) else value for key, value in event.items()}


def _shown(text: str, key: str) -> str:
    kept = _BREAKS if key == "exception" else ""
    return _CONTROLS.sub(lambda m: m[0] if m[0] in kept else m[0].encode("unicode_escape").decode(), text)


def _mask_values(_: WrappedLogger, __: str, line: Any) -> Any:
    return redact(line)
