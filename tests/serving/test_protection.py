"""Who may use the service, and what its pages may do."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from service import Brightness, client_of, png, scene

from ood_seg.serving.app import create_app
from ood_seg.serving.protection import trusted_hosts

BODY = png(scene([]))


@pytest.fixture(scope="module")
def client():
    with client_of(create_app(Brightness())) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:99", 200),
        ("[::1]:8000", 200),
        ("attacker.example", 400),
        ("localhost.attacker.example", 400),
        ("127.0.0.1@attacker.example", 400),
        ("", 400),
    ],
)
def test_the_name_of_the_service_is_checked(client, host, status):
    assert client.get("/model", headers={"Host": host}).status_code == status
    answer = client.post("/predict", content=BODY, headers={"Host": host})
    assert answer.status_code == status


def test_further_names_and_the_bound_address_are_trusted():
    assert trusted_hosts("0.0.0.0") == trusted_hosts("localhost") == trusted_hosts("")
    hosts = trusted_hosts("fd00::7", ["*.example.org", "camera"])
    assert hosts == ["localhost", "127.0.0.1", "[::1]", "[fd00::7]", "*.example.org", "camera"]
    with client_of(create_app(Brightness(), allowed_hosts=hosts)) as client:
        for host, status in (("a.example.org", 200), ("camera:1", 200), ("[fd00::7]", 200)):
            assert client.get("/health", headers={"Host": host}).status_code == status
        assert client.get("/health", headers={"Host": "example.org"}).status_code == 400


@pytest.mark.parametrize("pattern", ["", "a*", "*a", "http://a", "a b", "*.*", "a:8000"])
def test_malformed_names_are_refused(pattern):
    with pytest.raises(ValueError, match="--allow-host"):
        trusted_hosts("localhost", [pattern])


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("http://localhost:3000", 403),  # another service of this machine
        ("https://attacker.example", 403),
        ("null", 403),  # a sandboxed frame
        ("file://", 403),
    ],
)
def test_pages_of_other_origins_may_not_post(client, origin, status):
    for kind in ("multipart/form-data", "text/plain", "image/png"):
        headers = {"Origin": origin, "Content-Type": kind}
        answer = client.post("/predict", content=BODY, headers=headers)
        if status == 403:
            assert answer.status_code == 403
            assert origin in answer.json()["detail"]
    headers = {"Origin": origin}
    assert client.post("/predict", content=BODY, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("image/png", 200),
        ("image/x-whatever; a=b", 200),
        ("application/octet-stream", 200),
        ("application/x-www-form-urlencoded", 200),  # what curl --data-binary sends
        ("text/plain", 415),
        ("text/plain;charset=UTF-8", 415),
        ("application/json", 415),
        ("multipart/mixed", 415),
    ],
)
def test_content_types(client, kind, status):
    answer = client.post("/predict", content=BODY, headers={"Content-Type": kind})
    assert answer.status_code == status
    if status == 415:
        assert kind.partition(";")[0] in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/health", "/model", "/docs", "/nowhere", "/predict"])
def test_no_answer_may_be_framed_or_run_scripts_of_others(client, path):
    headers = client.get(path).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    if path == "/":
        assert policy["script-src"].startswith("'sha256-")
    elif path != "/docs":
        assert "script-src" not in policy
    refused = client.get("/", headers={"Host": "attacker.example"})
    assert refused.headers["X-Frame-Options"] == "DENY"


def test_a_token_is_demanded_of_all_but_the_page_and_the_probe():
    with client_of(create_app(Brightness(), token="sécret")) as client:
        assert client.get("/health").status_code == client.get("/").status_code == 200
        good = {"Authorization": b"Bearer s\xc3\xa9cret"}
        for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic s"}):
            for path in ("/model", "/metrics"):
                assert client.get(path, headers=wrong).status_code == 401
            answer = client.post("/predict", content=BODY, headers=wrong)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/model", headers=good).status_code == 200
        assert client.post("/predict", content=BODY, headers=good).status_code == 200
        assert 'status="401"} 3' in client.get("/metrics", headers=good).text


def test_the_page_is_one_document_whose_parts_the_policy_allows(client):
    answer = client.get("/")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")
    )
    for tag in ("script", "style"):
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert len(parts) > 1
        hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in parts]
        allowed = [f"'sha256-{one.decode()}'" for one in hashes]
        assert policy[f"{tag}-src"].split() == allowed
    # Nothing that the policy forbids: files of others, and handlers and styles in tags.
    assert not re.search(r"""(src|href)=["']?(https?:|//)|\son\w+=["']|\sstyle=["']""", answer.text)
