"""The PyPI package `websockets`."""

import asyncio
import json
import sys

try:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus
except ImportError:
    sys.exit(
        "websockets is missing: run tests/run, or make a venv in tests/clients/.venv"
        " and have its pip install -r requirements.txt"
    )


async def attempt(url, protocols, headers, text):
    try:
        socket = await connect(
            url,
            subprotocols=protocols or None,
            additional_headers=headers,
            # The environment's proxies do not reach loopback.
            proxy=None,
        )
    except InvalidStatus as refusal:
        return {"refused": {"status": refusal.response.status_code}}
    protocol = socket.subprotocol or ""
    try:
        await socket.send(text)
        echo = await socket.recv()
    except ConnectionClosed as closed:
        frame = closed.rcvd
        return {"closed": {"protocol": protocol, "code": frame.code, "reason": frame.reason}}
    await socket.close(1000)
    return {"echoed": {"protocol": protocol, "text": echo, "code": socket.close_code}}


async def main():
    for one in json.load(sys.stdin):
        print(json.dumps(await attempt(**one)), flush=True)


asyncio.run(main())
