"""x402 1.x with httpx."""

import asyncio

from eth_account import Account
from program import KEY, URL, report, report_error
from x402.clients.httpx import x402HttpxClient


async def main():
    async with x402HttpxClient(account=Account.from_key(KEY), timeout=60) as buyer:
        response = await buyer.get(URL)
        report(response.status_code, (await response.aread()).decode())


try:
    asyncio.run(main())
except Exception as error:
    report_error(error)
