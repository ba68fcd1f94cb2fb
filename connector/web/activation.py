"""The webhook to which a package sends clients' keys: it keeps what comes and answers, whoever sent it.

A key comes once and unsigned. What is under a known reference is taken at any time; to everybody else it looks the
same, until they have tried too often.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connector import activation
from connector.errors import StoreUnavailable
from connector.runtime import Runtime
from connector.web.access import Guesses

WEBHOOK_PATH: Final = "/activation"
BODY_LIMIT: Final = 32_768

log = structlog.get_logger()


class ActivationWebhook:
    """`came` is told that there is something to deal with."""

    def __init__(self, runtime: Runtime, came: Callable[[], None]) -> None:
        self._runtime = runtime
        self._came = came
        self._guesses = Guesses(runtime.clock)

    def routes(self) -> list[Route]:
        """One for each package that is configured to send keys."""
        return [
            Route(f"{WEBHOOK_PATH}/{package}", self._taking(package), methods=["POST"])
            for package in self._runtime.settings.apps
            if self._runtime.activation(package) is not None
        ]

    def _taking(self, package: str) -> Callable[[Request], object]:
        async def take(request: Request) -> Response:
            body = await request.body()
            if len(body) > BODY_LIMIT:
                return Response(status_code=413)
            try:
                taken = await asyncio.to_thread(activation.receive, self._runtime, package, body)
            except StoreUnavailable as error:
                log.error(  # noqa: TRY400 - a traceback would say no more
                    "activation.lost", package=package, error=str(error), fix="let the client activate the link again"
                )
                return Response(status_code=503)
            if taken == "noted":
                self._came()
                return Response(status_code=202)
            return self._stranger(request, taken)

        return take

    def _stranger(self, request: Request, why: str) -> Response:
        source = (request.client.host if request.client else "", "")
        if wait_s := self._guesses.waits(source):
            return Response(status_code=429, headers={"Retry-After": str(wait_s)})
        self._guesses.failed(source)
        log.warning("activation.not_taken", peer=source[0], reason=why)
        return Response(status_code=202)
