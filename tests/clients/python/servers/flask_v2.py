"""x402 2.x with Flask."""

from flask import Flask
from program import FACILITATOR, GOODS, PORT
from v2 import OFFER, with_server_scheme
from x402 import x402ResourceServerSync
from x402.http import HTTPFacilitatorClientSync
from x402.http.middleware.flask import payment_middleware

server = x402ResourceServerSync(HTTPFacilitatorClientSync({"url": FACILITATOR}))
with_server_scheme(server)
shop = Flask(__name__)
payment_middleware(shop, {"GET /paid": OFFER}, server)


@shop.get("/paid")
def paid():
    return GOODS


shop.run(host="127.0.0.1", port=PORT)
