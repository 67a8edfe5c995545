"""x402 2.x with an MCP client that pays for tools."""

import asyncio

from program import URL, report, report_error
from v2 import with_wallet
from x402 import x402Client
from x402.mcp import create_x402_mcp_client


async def main():
    async with create_x402_mcp_client(with_wallet(x402Client()), URL) as buyer:
        result = await buyer.call_tool("answer", {})
        report(402 if result.is_error else 200, result.content[0].text)


try:
    asyncio.run(main())
except Exception as error:
    report_error(error)
