"""A stock MCP client that holds one session while its server's secrets rotate.

usage: hold_session.py URL MODE        MODE: legacy, or 2026-07-28

Each line on stdin is a new bearer token. For each one it makes a round of calls in the session
and writes one line of JSON: {"tools": {..}, "calls": N}. Meanwhile it calls without pause; the
end of stdin ends it. Anything that goes wrong ends it with a traceback and a non-zero code.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

TOOLS = ("whoami", "fingerprint", "quote")


class NewestToken(httpx2.Auth):
    """Every request carries the newest token, as after a renewal with an authorization server."""

    token = ""

    def auth_flow(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


async def call(client: Client, tool: str) -> dict:
    result = await client.call_tool(tool, {})
    if result.is_error or result.structured_content is None:
        raise RuntimeError(f"{tool} failed: {result}")
    return result.structured_content


async def main(url: str, mode: str) -> None:
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin
    )
    auth = NewestToken()
    auth.token = (await stdin.readline()).decode().strip()
    sessions = set()
    calls = 0

    async def note_session(response: httpx2.Response) -> None:
        session = response.headers.get("mcp-session-id")
        if session is not None:
            sessions.add(session)

    async with (
        httpx2.AsyncClient(
            auth=auth,
            event_hooks={"response": [note_session]},
            timeout=10,
            trust_env=False,
        ) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):

        ending = asyncio.Event()

        async def call_without_pause() -> None:
            nonlocal calls
            while not ending.is_set():
                for tool in TOOLS:
                    await call(client, tool)
                    calls += 1

        async def a_round_for_each_token() -> None:
            while True:
                tools = {tool: await call(client, tool) for tool in TOOLS}
                round = {"tools": tools, "calls": calls, "sessions": sorted(sessions)}
                print(json.dumps(round), flush=True)
                line = await stdin.readline()
                if not line:
                    ending.set()
                    return
                auth.token = line.decode().strip()

        # Whichever fails ends the other.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call_without_pause())
            tasks.create_task(a_round_for_each_token())


asyncio.run(main(*sys.argv[1:]))
