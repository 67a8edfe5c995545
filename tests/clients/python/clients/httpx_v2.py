"""x402 2.x with httpx."""

import asyncio

from program import URL, report, report_error
from v2 import with_wallet
from x402 import x402Client
from x402.http.clients import x402HttpxClient


async def main():
    async with x402HttpxClient(with_wallet(x402Client()), timeout=60) as buyer:
        response = await buyer.get(URL)
        report(response.status_code, (await response.aread()).decode())


try:
    asyncio.run(main())
except Exception as error:
    report_error(error)
