"""What the servers and clients of x402 version 2 share: the schemes of both families of networks."""

from program import KEY, NETWORK, PAY_TO, PRICE, RPC

IS_SOLANA = NETWORK.startswith("solana")

OFFER = {"scheme": "exact", "network": NETWORK, "price": PRICE, "payTo": PAY_TO, "maxTimeoutSeconds": 60}


def with_server_scheme(server):
    """Let a resource server sell on the network."""
    if IS_SOLANA:
        from x402.mechanisms.svm.exact import ExactSvmServerScheme

        return server.register(NETWORK, ExactSvmServerScheme())
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
    from x402.mechanisms.evm import EthAccountSigner
    from x402.mechanisms.evm.exact import register_exact_evm_client

    return register_exact_evm_client(client, EthAccountSigner(Account.from_key(KEY)), networks)
