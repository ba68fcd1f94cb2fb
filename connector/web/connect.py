"""The client's way through: the invitation's page, off to the package, back at the callback, and how it stands.

Where a package works with a key, the page asks for it instead. A GET changes nothing, because mail scanners open links.
The browser that pressed the button is known by a cookie; only it may bring the package's answer back, and only it sees
how the sign-in ended.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connector import activation, linking
from connector.adapter import Identity, KeyGrant
from connector.authorizer import Answer, NotTaken
from connector.errors import ConnectorError, StoreUnavailable
from connector.linking import PAGE_PATH, AlreadyLinked
from connector.runtime import CALLBACK_PATH, Runtime
from connector.secrets import Secret
from connector.store import arrival, connections, invitations
from connector.store.authorizations import KEPT, Begun, Rejected
from connector.store.connections import Linked as Known
from connector.store.invitations import Invitation
from connector.web.pages import page, redirect, texts_for

FIRST_ITEMS_MINUTES = 2
"""Until open items are at the destination, within the package's limits (tests/stories/test_open_items_first.py)."""
GOING_ON = ("waiting", "reading", "sending", "paused")
KEYED = frozenset({"refused", "wrong_administration"})
"""Failures that are another story where a key was pasted."""

Linked = Callable[[str, Identity], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger()


async def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class ConnectPages:
    """`linked` hears of each success; `shown` is told when a browser has seen that it is linked.

    `lasting`: the program that serves the pages syncs as well, and shows how the first sync goes on.
    """

    runtime: Runtime
    linked: Linked
    lasting: bool = True
    shown: Callable[[], Awaitable[None]] = _nothing

    def routes(self) -> list[Route]:
        one = f"{PAGE_PATH}/{{token}}"
        return [
            Route(CALLBACK_PATH, self._in_words(self.callback)),
            Route(PAGE_PATH, self._in_words(self.standing)),
            Route(PAGE_PATH, self._in_words(self.again), methods=["POST"]),
            Route(one, self._in_words(self.invitation)),
            Route(one, self._in_words(self.start), methods=["POST"]),
        ]

    # the invitation

    async def invitation(self, request: Request) -> Response:
        found = await self._invited(request)
        if isinstance(found, str):
            return self._failure(request, found, status=404 if found == "unknown" else 410)
        known = await self._known(found.connection_id)
        return self._page(
            request,
            "invitation.html",
            known=known,
            form_action=self._form_action(known),
            expires_at=found.expires_at,
        )

    async def start(self, request: Request) -> Response:
        """The button: take the key, or begin a sign-in and send the browser to the package."""
        found = await self._invited(request)
        if isinstance(found, str):
            return self._failure(request, found, status=404 if found == "unknown" else 410)
        return await self._begin(request, found)

    async def again(self, request: Request) -> Response:
        """The button of a failure: the same browser begins anew with the same invitation."""
        begun = await self._begun(request)
        invitation = await self._invitation_of(begun) if begun else None
        if invitation is None or not invitation.is_open(self.runtime.clock.now()):
            return redirect(self._address)
        return await self._begin(request, invitation)

    async def _begin(self, request: Request, invitation: Invitation) -> Response:
        known = await self._known(invitation.connection_id)
        session = Secret(secrets.token_urlsafe(32))
        try:
            form = dict(parse_qsl((await request.body()).decode(errors="replace")))
            if "activate" in form:
                url = await activation.begin(self.runtime, known.name, session, invitation)
            elif self._key(known) is None:
                url = await linking.begin(self.runtime, known.name, session, invitation.token_hash)
            else:
                url = self._address
                await self._take(form.get("key", ""), session, invitation)
        except ConnectorError as error:
            log.warning("connection.sign_in_not_begun", connection=known.name, error=str(error))
            failure = "already_linked" if isinstance(error, AlreadyLinked) else "unavailable"
            return self._failure(request, failure, known=known, status=503)
        answer = redirect(url)
        answer.set_cookie(
            self._cookie,
            session.reveal(),
            max_age=int(KEPT.total_seconds()),
            httponly=True,
            secure=self._secure,
            samesite="lax",
        )
        return answer

    async def _take(self, pasted: str, session: Secret, invitation: Invitation) -> None:
        """The key of the form; how it ended is for `standing` to say."""
        try:
            name, identity = await linking.hand_over(self.runtime, pasted, session, invitation)
        except StoreUnavailable:
            raise
        except ConnectorError as error:
            log.warning("connection.key_not_taken", error=str(error))
        else:
            await self.linked(name, identity)

    # the way back

    async def callback(self, request: Request) -> Response:
        """The package's answer. The browser goes on at once, to an address without code and state."""
        answer = Answer.of(request.query_params)
        try:
            name, identity = await linking.finish(self.runtime, answer, request.cookies.get(self._cookie, ""))
        except ConnectorError as error:
            log.warning("connection.sign_in_failed", error=str(error))
            if isinstance(error, NotTaken) and error.reason is Rejected.TERMINAL:
                return self._failure(request, "terminal")
        else:
            await self.linked(name, identity)
        return redirect(self._address)

    async def standing(self, request: Request) -> Response:
        """How the sign-in of this browser ended, or how far the first sync has come."""
        begun = await self._begun(request)
        if begun is None:
            return self._failure(request, "other_browser", status=400)
        known = await self._known(begun.connection_id)
        if begun.outcome == "linked":
            return await self._progress(request, begun, known)
        if begun.used_at is None and self._key(known) and self.runtime.clock.now() < begun.expires_at:
            return self._page(request, "waiting.html", known=known, refreshing=True)
        invitation = await self._invitation_of(begun)
        again = invitation is not None and invitation.is_open(self.runtime.clock.now())
        return self._failure(request, begun.outcome or "unfinished", known=known, again=again)

    async def _progress(self, request: Request, begun: Begun, known: Known) -> Response:
        assert begun.used_at is not None
        shown = None
        if self.lasting:
            shown = await asyncio.to_thread(arrival.look, self.runtime.store, known.id, begun.used_at)
        answer = self._page(
            request,
            "linked.html",
            known=known,
            refreshing=shown is not None and shown.phase in GOING_ON,
            arrival=shown,
            minutes=FIRST_ITEMS_MINUTES,
        )
        await self.shown()
        return answer

    # what is known

    async def _invited(self, request: Request) -> Invitation | str:
        """The invitation of this address, or why it cannot be used."""
        token_hash = invitations.hashed(request.path_params["token"])
        found = await asyncio.to_thread(invitations.find, self.runtime.store, token_hash)
        if found is None or not await self._is_configured(found.connection_id):
            return "unknown"
        if found.spent_at is not None:
            return "spent"
        return found if found.is_open(self.runtime.clock.now()) else "expired"

    async def _begun(self, request: Request) -> Begun | None:
        session = request.cookies.get(self._cookie, "")
        begun = await asyncio.to_thread(self.runtime.authorizations.last_of, session)
        return begun if begun and await self._is_configured(begun.connection_id) else None

    async def _invitation_of(self, begun: Begun) -> Invitation | None:
        if begun.invitation_hash is None:
            return None
        return await asyncio.to_thread(invitations.find, self.runtime.store, begun.invitation_hash)

    async def _known(self, connection_id: int) -> Known:
        return await asyncio.to_thread(self._get, connection_id)

    async def _is_configured(self, connection_id: int) -> bool:
        return (await self._known(connection_id)).name in self.runtime.settings.connections

    def _get(self, connection_id: int) -> Known:
        with self.runtime.store.read() as connection:
            return connections.get(connection, connection_id)

    # how it is said

    def _in_words(self, handler: Handler) -> Handler:
        """A database that is away is no reason to frighten a client."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except ConnectorError as error:
                log.warning("connect.page_failed", error=str(error))
                return self._failure(request, "unavailable", status=503)

        return answer

    def _failure(
        self, request: Request, failure: str, *, known: Known | None = None, again: bool = False, status: int = 200
    ) -> Response:
        action = self._form_action(known) if known and again else "'none'"
        said = f"key_{failure}" if failure in KEYED and known and self._key(known) else failure
        return self._page(
            request, "failure.html", known=known, status=status, form_action=action, failure=said, again=again
        )

    def _page(
        self,
        request: Request,
        template: str,
        *,
        known: Known | None,
        status: int = 200,
        refreshing: bool = False,
        form_action: str = "'none'",
        **values: object,
    ) -> Response:
        return page(
            request,
            template,
            status=status,
            refreshing=refreshing,
            form_action=form_action,
            secure=self._secure,
            operator=self.runtime.settings.daemon.operator or texts_for(request)("sender"),
            package=self.runtime.packages[known.package].title if known else "",
            administration=known.administration if known else "",
            name=known.title if known else "",
            key=self._key(known) if known else None,
            activates=bool(known and activation.address(self.runtime, known.name)),
            **values,
        )

    def _key(self, known: Known) -> KeyGrant | None:
        return self.runtime.sign_in(known.name).key

    def _form_action(self, known: Known) -> str:
        """Where the button may lead. Browsers check each redirect too, and a package signs in on hosts of its own."""
        address = activation.address(self.runtime, known.name)
        parts = urlsplit(address or self.runtime.sign_in(known.name).authorize_url)
        return f"'self' https: {parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"

    @property
    def _address(self) -> str:
        return self.runtime.settings.daemon.url + PAGE_PATH

    @property
    def _secure(self) -> bool:
        return self.runtime.settings.daemon.url.startswith("https:")

    @property
    def _cookie(self) -> str:
        """With the prefix, a browser takes it only over https, from this very host, for all of it."""
        return "__Host-connect" if self._secure else "connect"
