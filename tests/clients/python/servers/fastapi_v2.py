"""x402 2.x with FastAPI."""

import uvicorn
from fastapi import FastAPI, Response
from program import FACILITATOR, GOODS, PORT, WAY
from v2 import OFFER, USED, with_server_scheme
from x402 import x402ResourceServer
from x402.http import HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI, set_settlement_overrides

server = x402ResourceServer(HTTPFacilitatorClient({"url": FACILITATOR}))
with_server_scheme(server)
shop = FastAPI()
shop.add_middleware(PaymentMiddlewareASGI, routes={"GET /paid": OFFER}, server=server)


@shop.get("/paid")
async def paid(response: Response):
    if WAY == "upto":
        set_settlement_overrides(response, {"amount": USED})
    return GOODS


uvicorn.run(shop, host="127.0.0.1", port=PORT, log_level="warning")
