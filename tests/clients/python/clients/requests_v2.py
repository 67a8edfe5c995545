"""x402 2.x with requests."""

from program import URL, report, report_error
from v2 import with_wallet
from x402 import x402ClientSync
from x402.http.clients import x402_requests

try:
    response = x402_requests(with_wallet(x402ClientSync())).get(URL)
    report(response.status_code, response.text)
except Exception as error:
    report_error(error)
