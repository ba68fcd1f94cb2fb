"""Next links are followed only inside the administration they came from (B9)."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.network import origin_of
from connector.paging import ForeignLink, next_link, query_value

PAGE = "https://start.example.nl/api/v1/123/crm/Accounts?$top=10"
WITHIN = "/api/v1/123/"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://start.example.nl/api/v1/123/crm/Accounts?$skiptoken=1", "crm/Accounts?$skiptoken=1"),
        ("https://START.example.nl:443/api/v1/123/x", "x"),
        ("/api/v1/123/crm/Accounts?p=2", "crm/Accounts?p=2"),
        ("Accounts?p=2", "crm/Accounts?p=2"),
        ("?p=2", "crm/Accounts?p=2"),
    ],
)
def test_a_link_that_stays_is_made_absolute(link: str, expected: str) -> None:
    assert next_link(PAGE, link, WITHIN) == f"https://start.example.nl{WITHIN}{expected}"


@pytest.mark.parametrize(
    "link",
    [
        "https://start.example.nl.evil.com/api/v1/123/x",
        "//evil.com/api/v1/123/x",
        "https://start.example.nl@evil.com/api/v1/123/x",
        "https://user@start.example.nl/api/v1/123/x",
        "http://start.example.nl/api/v1/123/x",
        "https://start.example.nl:8443/api/v1/123/x",
        "https://evil.com\\@start.example.nl/api/v1/123/x",
        "https://start.example.nl\\.evil.com/api/v1/123/x",
        "https://start.example.nl/api/v1/124/x",
        "https://start.example.nl/api/v1/1234/x",
        "https://start.example.nl/api/v1/123/../124/x",
        "https://start.example.nl/api/v1/123/%2e%2e/124/x",
        "https://start.example.nl/api/v1/123/%252e%252e/124/x",
        "https://start.example.nl/api/v1/123/..\\124/x",
        "../../124/x",
        "javascript:alert(1)",
        "https://start.example.nl:99999/api/v1/123/x",
        "https://[::1/api",
        "http://",
    ],
)
def test_a_link_that_leaves_is_refused(link: str) -> None:
    with pytest.raises(ForeignLink) as raised:
        next_link(PAGE, link, WITHIN)
    assert raised.value.fix
    assert "$top" not in str(raised.value)


@given(link=st.text(max_size=60) | st.builds("https://{}/{}".format, st.text(max_size=20), st.text(max_size=20)))
def test_whatever_is_accepted_has_the_page_s_origin(link: str) -> None:
    try:
        target = httpx.URL(next_link(PAGE, link, WITHIN))
    except ForeignLink:
        return
    assert origin_of(target) == origin_of(httpx.URL(PAGE))
    assert not target.userinfo
    assert target.path.startswith(WITHIN)


def test_a_parameter_of_a_link() -> None:
    link = "https://start.example.nl/api/v1/123/x?$skiptoken=guid%27a%27&b=1"
    assert query_value(link, "$skiptoken") == "guid'a'"
    assert query_value(link, "absent") is None
