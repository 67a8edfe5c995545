// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Turns back on its caller with the data it was called with, and answers what that reverts with. Given the simulator's frame for a caller,
/// it simulates another payment in the middle of its own simulation.
contract ReenteringTarget {
    fallback(bytes calldata data) external returns (bytes memory answer) {
        (, answer) = msg.sender.call(data);
    }
}
