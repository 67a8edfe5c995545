"""x402 1.x with requests."""

from eth_account import Account
from program import KEY, URL, report, report_error
from x402.clients.requests import x402_requests

try:
    response = x402_requests(Account.from_key(KEY)).get(URL)
    report(response.status_code, response.text)
except Exception as error:
    report_error(error)
