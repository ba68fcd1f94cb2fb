"""Pages of plain HTML: templates, the stylesheet inside each page, and headers that forbid everything else.

The stylesheet travels inside the page, so that a page is one answer: the program that served it may be gone a moment
later. Its hash is what the policy allows.
"""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from connector.web import language
from connector.web.language import LANGUAGES, Texts

LANGUAGE_COOKIE = "language"
LANGUAGE_KEPT_S = 86_400
REFRESH_S = 5

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""For every answer, pages and redirects alike."""

_STYLE = (resources.files("connector.web") / "templates" / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_templates = Environment(
    loader=PackageLoader("connector.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(
    style=Markup(_STYLE),  # noqa: S704 - our own file
    languages=[language.texts(code) for code in LANGUAGES],
)


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    refreshing: bool = False,
    form_action: str = "'self'",
    secure: bool = False,
    **values: Any,
) -> Response:
    """A page in the person's language. `form_action` says where its form may lead, redirects included."""
    asked = request.query_params.get("lang")
    texts = texts_for(request)
    html = _templates.get_template(template).render(t=texts, **values)
    headers = HEADERS | {"Content-Language": texts.code, "Content-Security-Policy": _policy(form_action)}
    if refreshing:
        headers["Refresh"] = str(REFRESH_S)
    answer = HTMLResponse(html, status, headers=headers)
    if asked == texts.code:
        answer.set_cookie(LANGUAGE_COOKIE, asked, max_age=LANGUAGE_KEPT_S, httponly=True, secure=secure, samesite="lax")
    return answer


def texts_for(request: Request) -> Texts:
    code = language.choose(
        request.query_params.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language", ""),
    )
    return language.texts(code)


def redirect(url: str) -> Response:
    """The browser goes on with GET, whatever it sent."""
    return RedirectResponse(url, 303, headers=HEADERS)


def _policy(form_action: str) -> str:
    return (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
