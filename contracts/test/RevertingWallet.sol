// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// An ERC-1271 wallet that refuses everything, with 64 KiB of revert data, which is cheap enough (15,000 gas) to come within any cap.
/// As an EIP-7702 delegate it refuses even the account's own key.
contract RevertingWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            mstore(0x80, not(0))
            revert(0x80, 0x10000)
        }
    }
}
