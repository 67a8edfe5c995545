"""x402 1.x with FastAPI."""

import uvicorn
from fastapi import FastAPI
from program import FACILITATOR, GOODS, NETWORK, PAY_TO, PORT, PRICE
from x402.fastapi.middleware import require_payment

shop = FastAPI()
shop.middleware("http")(
    require_payment(
        price=PRICE, pay_to_address=PAY_TO, path="/paid", network=NETWORK, facilitator_config={"url": FACILITATOR}
    )
)


@shop.get("/paid")
async def paid():
    return GOODS


uvicorn.run(shop, host="127.0.0.1", port=PORT, log_level="warning")
