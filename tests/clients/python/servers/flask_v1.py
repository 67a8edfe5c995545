"""x402 1.x with Flask."""

from flask import Flask
from program import FACILITATOR, GOODS, NETWORK, PAY_TO, PORT, PRICE
from x402.flask.middleware import PaymentMiddleware

shop = Flask(__name__)
PaymentMiddleware(shop).add(
    price=PRICE, pay_to_address=PAY_TO, path="/paid", network=NETWORK, facilitator_config={"url": FACILITATOR}
)


@shop.get("/paid")
def paid():
    return GOODS


shop.run(host="127.0.0.1", port=PORT)
