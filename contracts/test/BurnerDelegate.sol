// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// An EIP-7702 delegate that burns all gas it is given, whatever is called, so an account that delegates to it is no longer an ordinary payer.
contract BurnerDelegate {
    fallback() external payable {
        while (true) {}
    }
}
