"""x402 2.x with an MCP server that has a paid tool."""

import json

from mcp.server.fastmcp import FastMCP
from program import FACILITATOR, GOODS, NETWORK, PAY_TO, PORT, PRICE
from v2 import with_server_scheme
from x402 import ResourceConfig, x402ResourceServer
from x402.http import HTTPFacilitatorClient
from x402.mcp import create_payment_wrapper

server = x402ResourceServer(HTTPFacilitatorClient({"url": FACILITATOR}))
with_server_scheme(server)
server.initialize()
config = ResourceConfig(scheme="exact", network=NETWORK, pay_to=PAY_TO, price=PRICE, max_timeout_seconds=60)
paid = create_payment_wrapper(server, accepts=server.build_payment_requirements(config))

shop = FastMCP("shop", host="127.0.0.1", port=PORT)


@shop.tool(name="answer", description="An answer")
@paid
async def answer() -> str:
    return json.dumps(GOODS)


shop.run(transport="sse")
