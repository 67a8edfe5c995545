// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// An ERC-1271 wallet that answers with 1 MiB. It begins with the magic value, so whoever can pay for copying it has a valid signature:
/// 2.2 million gas in here, and as much again in each caller that copies all of it.
contract ReturnBombWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            mstore(0x80, shl(224, 0x1626ba7e))
            return(0x80, 0x100000)
        }
    }
}
