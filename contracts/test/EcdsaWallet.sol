// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// An ERC-1271 wallet with one key. Deployed, it accepts its owner's signature. As an EIP-7702 delegate, where this code runs at the address of
/// the delegating account, it accepts that account's own.
contract EcdsaWallet {
    address public immutable owner;
    address private immutable self = address(this);

    // Half the order of secp256k1, rounded down. The higher `s` of a signature is refused, as USDC does.
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    constructor(address owner_) {
        owner = owner_;
    }

    receive() external payable {}

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > MAX_S) return 0xffffffff;
        address signer = ecrecover(digest, uint8(signature[64]), r, s);
        address wanted = address(this) == self ? owner : address(this);
        // A signature that does not recover makes zero, which no owner may match.
        return signer != address(0) && signer == wanted ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}
