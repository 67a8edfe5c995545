"""What the servers and clients of x402 version 2 share: the schemes of both families of networks."""

from program import KEY, NETWORK, PAY_TO, PRICE, RPC, WAY

IS_SOLANA = NETWORK.startswith("solana")

# What is charged in the end where the payer signs for more: the price of everything else.
USED = "1000"


def _offer():
    accepts = {"scheme": "exact", "network": NETWORK, "price": PRICE, "payTo": PAY_TO, "maxTimeoutSeconds": 60}
    if WAY == "exact":
        return {"accepts": accepts}
    from x402.extensions.eip2612_gas_sponsoring import declare_eip2612_gas_sponsoring_extension

    # How the offers of each way of paying differ.
    ways = {"permit2": {"extra": {"assetTransferMethod": "permit2"}}, "upto": {"scheme": "upto", "price": "$0.005"}}
    # Buyers through Permit2 have no gas to let it take their token beforehand.
    return {"accepts": accepts | ways[WAY], "extensions": declare_eip2612_gas_sponsoring_extension()}


# A client has nothing to sell.
OFFER = _offer() if PAY_TO else None


def with_server_scheme(server):
    """Let a resource server sell on the network."""
    if IS_SOLANA:
        from x402.mechanisms.svm.exact import ExactSvmServerScheme

        return server.register(NETWORK, ExactSvmServerScheme())
    if WAY == "upto":
        from x402.mechanisms.evm.upto import UptoEvmServerScheme

        return server.register(NETWORK, UptoEvmServerScheme())
    from x402.mechanisms.evm.exact import ExactEvmServerScheme

    return server.register(NETWORK, ExactEvmServerScheme())


def with_wallet(client):
    """Let a client pay on the network, in either version of the protocol."""
    networks = NETWORK if ":" in NETWORK else None
    if IS_SOLANA:
        from solders.keypair import Keypair
        from x402.mechanisms.svm import KeypairSigner
        from x402.mechanisms.svm.exact import register_exact_svm_client

        return register_exact_svm_client(client, KeypairSigner(Keypair.from_base58_string(KEY)), networks, rpc_url=RPC)
    from eth_account import Account
    from x402.mechanisms.evm import EthAccountSignerWithRPC
    from x402.mechanisms.evm.exact import register_exact_evm_client
    from x402.mechanisms.evm.upto import UptoEvmClientScheme

    # A payer through Permit2 asks a node what it may take already.
    signer = EthAccountSignerWithRPC(Account.from_key(KEY), rpc_url=RPC)
    if networks:
        client.register(networks, UptoEvmClientScheme(signer))
    return register_exact_evm_client(client, signer, networks)
