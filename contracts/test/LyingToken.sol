// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// A token whose answers have the wrong size or the wrong value, chosen by the question: `balanceOf` answers as many bytes as the number the
/// account's address makes, `authorizationState` answers one word, the nonce, for 96,000 gas. All else succeeds.
contract LyingToken {
    function balanceOf(address account) external pure returns (uint256) {
        assembly {
            mstore(0, not(0))
            return(0, account)
        }
    }

    function authorizationState(address, bytes32 nonce) external pure returns (bytes32) {
        assembly {
            // Memory this far up has to be paid for.
            mstore(0x31000, nonce)
            return(0x31000, 32)
        }
    }

    fallback() external {}
}
