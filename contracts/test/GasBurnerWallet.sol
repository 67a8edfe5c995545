// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// An ERC-1271 wallet that burns all gas it is given, by working rather than by an invalid opcode, so that the node pays in time as well.
contract GasBurnerWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        while (true) {}
        return 0x1626ba7e;
    }
}
