"""A stock MCP client that knows a server's URL, and finds out by itself where tokens are to be had.

usage: find_way.py URL GRANT MODE

GRANT is authorization_code, or client_credentials with the client's id and secret in CLIENT_ID and
CLIENT_SECRET, and who gave them in ISSUER. MODE is legacy, or 2026-07-28.

Each line on stdin is the name of a tool, which it calls. It answers each with a line of JSON: what the
tool gave. Anything that goes wrong ends it with a traceback and a non-zero code.
"""

import asyncio
import os
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

BACK = "http://127.0.0.1:1/callback"


class Memory:
    """Keeps what the client was given."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Nobody sits at a browser: the page that it would be sent to sends it back at once."""

    async def go(self, page):
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(page)
        back = parse_qs(urlsplit(answer.headers["location"]).query)
        self.back = {name: back[name][0] for name in ("code", "state", "iss")}

    async def come_back(self):
        return AuthorizationCodeResult(**self.back)


def provider(url, grant):
    if grant == "client_credentials":
        return ClientCredentialsOAuthProvider(
            url,
            Memory(),
            os.environ["CLIENT_ID"],
            os.environ["CLIENT_SECRET"],
            issuer=os.environ["ISSUER"],
        )
    person = Person()
    metadata = OAuthClientMetadata(
        client_name="a test",
        redirect_uris=[BACK],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, Memory(), person.go, person.come_back)


async def main(url, grant, mode):
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin
    )
    async with (
        httpx2.AsyncClient(auth=provider(url, grant), timeout=10, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        async for tool in stdin:
            result = await client.call_tool(tool.decode().strip(), {})
            print(result.model_dump_json(by_alias=True, exclude_none=True), flush=True)


asyncio.run(main(*sys.argv[1:]))
