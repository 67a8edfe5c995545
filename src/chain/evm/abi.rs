//! The calls and events of the contracts that we talk to.

use alloy::sol;

sol! {
    /// A token with EIP-3009, as far as we use it.
    #[derive(Debug)]
    interface Token {
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s);
        function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature);
        function balanceOf(address account) returns (uint256);
        function allowance(address owner, address spender) returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) returns (bool);
        function DOMAIN_SEPARATOR() returns (bytes32);

        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
        event Upgraded(address indexed implementation);
    }

    /// Permit2, deployed at one address everywhere.
    interface Permit2 {
        function nonceBitmap(address owner, uint256 word) returns (uint256);

        error InvalidNonce();
        error SignatureExpired(uint256 signatureDeadline);
        error InvalidSigner();
        error InvalidSignature();
        error InvalidSignatureLength();
        error InvalidContractSignature();
    }

    /// What lets somebody take a token without a transaction of its owner's.
    interface EIP2612 {
        /// What the owner signs (EIP-712).
        struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
    }

    /// The contract through which scheme `exact` calls Permit2.
    #[derive(Debug)]
    interface ExactProxy {
        struct TokenPermissions { address token; uint256 amount; }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct EIP2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }
        struct Witness { address to; uint256 validAfter; }
        /// What the payer signs (EIP-712).
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }

        function settle(PermitTransferFrom permit, address owner, Witness witness, bytes signature);
        function settleWithPermit(EIP2612Permit permit2612, PermitTransferFrom permit, address owner, Witness witness, bytes signature);

        event Settled();
        event SettledWithPermit();
    }

    /// The contract through which scheme `upto` calls Permit2. Its events are those of the other one.
    #[derive(Debug)]
    interface UptoProxy {
        struct TokenPermissions { address token; uint256 amount; }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct EIP2612Permit { uint256 value; uint256 deadline; bytes32 r; bytes32 s; uint8 v; }
        struct Witness { address to; address facilitator; uint256 validAfter; }
        /// What the payer signs (EIP-712).
        struct PermitWitnessTransferFrom { TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline; Witness witness; }

        function settle(PermitTransferFrom permit, uint256 amount, address owner, Witness witness, bytes signature);
        function settleWithPermit(EIP2612Permit permit2612, PermitTransferFrom permit, uint256 amount, address owner, Witness witness, bytes signature);

        error AmountExceedsPermitted();
        error UnauthorizedFacilitator();
        error InvalidAmount();
        error PaymentTooEarly();
        error Permit2612AmountMismatch();
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
