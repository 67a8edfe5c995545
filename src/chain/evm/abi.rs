//! The calls and events of the contracts that we talk to.

use alloy::sol;

sol! {
    /// A token with EIP-3009, as far as we use it.
    #[derive(Debug)]
    interface Token {
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature);
        function balanceOf(address account) returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) returns (bool);
        function DOMAIN_SEPARATOR() returns (bytes32);

        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
        event Upgraded(address indexed implementation);
    }

    /// A contract that signs (EIP-1271).
    interface Wallet {
        function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
    }

    /// Multicall3, deployed at one address on nearly every network.
    interface Multicall3 {
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Result { bool success; bytes returnData; }
        function aggregate3(Call3[] calldata calls) payable returns (Result[] memory returnData);
    }

    /// The OP stack's price list for publishing data on layer 1.
    interface GasPriceOracle {
        function getL1FeeUpperBound(uint256 unsignedTxSize) returns (uint256);
    }

    /// The message of EIP-3009.
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// What contracts/Simulator.sol does for one payment.
    interface Frame {
        function attempt(address target, uint256 gasCap, bytes calldata data);
        function look(address token, address payer, bytes32 nonce);
    }

    /// What contracts/Simulator.sol found out about one payment.
    struct SimulatedOutcome {
        bytes32 facts;
        bytes32 payerCodeHash;
        uint256 balance;
    }
}
