// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// Many payments simulated in one `eth_call` that names no `to`: the creation code of `Simulator` followed by
// `abi.encode(Call[])` is the call's data, and what the constructor returns in place of code is `abi.encode` of
//
//     (uint256 number, uint256 timestamp, bytes32 parentHash, Outcome[] outcomes, bytes returnData)
//
// What a caller may rely on:
//  - The outcome of a call is the same alone and in any company. Every frame reverts, which takes back storage, transient storage, created
//    contracts and warmed addresses alike, so even the gas used does not depend on the neighbours.
//  - A call either had its full gas cap at its disposal or is reported as not run. The EVM gives a callee less than was asked for without a
//    word, and a good payment that ran out of such short measure would look like a bad one.
//  - Nothing a payer's code does costs its neighbours their answer: its gas is bounded by the cap, and of what it returns at most 256 bytes
//    are ever copied.
//
// Nodes treat the answer as the code of a new contract, so it may have 24,576 bytes (EIP-170) and must not begin with 0xef (EIP-3541). That is
// why an outcome packs its small values into one word, and why the return data follows in one piece: 64 calls that return 256 bytes each make
// 22,752 bytes; with a word for each value they would make more than 40,000.

/// One payment: `target.call{gas: gasCap}(data)` is what settlement would do.
struct Call {
    address token; // Asked for the payer's balance and the state of the authorization.
    address payer;
    bytes32 nonce;
    uint256 gasCap;
    address target; // The token itself, or Multicall3 if the payer's wallet has yet to be deployed.
    bytes data;
}

struct Outcome {
    // From the most significant byte: uint8 status, bool success, bool balanceKnown, bool authorizationKnown, bool authorizationUsed, three
    // zero bytes, uint64 returnSize, uint64 gasUsed, uint64 payerCodeSize.
    bytes32 facts;
    bytes32 payerCodeHash; // EXTCODEHASH: zero if the account does not exist, the hash of nothing if it has no code.
    uint256 balance;
}

// The values of `status`.
uint256 constant RAN = 0;
uint256 constant NOT_RUN = 1; // Too little gas was left to give the call its cap.
uint256 constant FRAME_FAILED = 2; // Our own code failed, which says nothing about the payment.

// With more, an answer could grow past what nodes return, and one long reason would cost everybody the verdict.
uint256 constant MAX_CALLS = 64;

// Keeps `Error(string)` whole up to 160 characters; the reasons of FiatToken have at most 64.
uint256 constant MAX_RETURN = 256;

// For each of the two reads. FiatToken behind its proxy takes 12,000; chains that price cold storage higher take up to four times that.
uint256 constant READ_CAP = 100_000;

// Both reads, and what `look` needs around them: two cold accounts, at up to 10,100 each on some chains, and the 1/64 a call leaves behind.
uint256 constant LOOK_GAS = 2 * READ_CAP + 40_000;

// What `attempt` keeps back from the settlement call: the price of the call itself, which is higher for a target that delegates its code
// (EIP-7702), and the way home with 256 bytes.
uint256 constant ATTEMPT_KEEPS = 20_000;

// What the constructor keeps back to get the answer out: once, for each call still to come, and for each byte of the answer. A byte costs 200
// as deployed code, and a little more on its way through memory.
uint256 constant FINISH_GAS = 30_000;
uint256 constant FINISH_GAS_PER_CALL = 4_000;
uint256 constant FINISH_GAS_PER_BYTE = 210;

/// How much gas must be left for a callee to get `wanted`: EIP-150 holds back 1/64, rounded down. Meaningless if `wanted` is close to 2**256.
function gasToPass(uint256 wanted) pure returns (uint256) {
    unchecked {
        return wanted + wanted / 63 + 1;
    }
}

/// Does one thing and takes it back: each function ends in a revert that carries what was seen. Anybody may call it at any time, a payer's
/// wallet in the middle of its own simulation included, because nothing done here outlives the frame.
contract Frame {
    /// Makes the settlement call. Reverts with its part of `Outcome.facts`, then up to 256 bytes of the return data, unpadded.
    function attempt(address target, uint256 gasCap, bytes calldata data) external {
        uint256 needed;
        unchecked {
            needed = gasToPass(gasCap) + ATTEMPT_KEEPS;
        }
        assembly ("memory-safe") {
            let out := mload(0x40)
            calldatacopy(out, data.offset, data.length)

            // Asked before the call for two reasons. A transaction finds its target warm, so touching it makes `gasUsed` what the call uses as
            // a transaction, intrinsic gas apart. And a call to an account without code succeeds by doing nothing, so on a network without
            // Multicall3 every payment through it would look good.
            let codeSize := extcodesize(target)

            // The first comparison is for caps so large that `needed` wrapped around.
            if or(gt(gasCap, gas()), lt(gas(), needed)) {
                mstore(out, shl(248, NOT_RUN))
                revert(out, 32)
            }

            let before := gas()
            // No output area: the callee decides how much it returns, we decide how much is copied.
            let success := call(gasCap, target, 0, out, data.length, 0, 0)
            let used := sub(before, gas())
            if iszero(codeSize) { success := 0 }

            let size := returndatasize()
            if gt(size, MAX_RETURN) { size := MAX_RETURN }
            mstore(out, or(or(shl(240, success), shl(128, size)), shl(64, used))) // Status: RAN.
            returndatacopy(add(out, 32), 0, size)
            revert(out, add(32, size))
        }
    }

    /// Reads what a refusal is explained with. Reverts with the three words of an `Outcome`, of `facts` only its part.
    /// A frame of its own, because after the attempt the balance is spent, and before it these reads would warm the token's storage.
    function look(address token, address payer, bytes32 nonce) external view {
        (uint256 held, bool heldKnown) = read(token, abi.encodeWithSignature("balanceOf(address)", payer));
        (uint256 used, bool usedKnown) = read(token, abi.encodeWithSignature("authorizationState(address,bytes32)", payer, nonce));
        // Neither yes nor no is no answer.
        if (used > 1) (used, usedKnown) = (0, false);

        assembly ("memory-safe") {
            let out := mload(0x40)
            mstore(out, or(or(shl(232, heldKnown), shl(224, usedKnown)), or(shl(216, used), extcodesize(payer))))
            mstore(add(out, 32), extcodehash(payer))
            mstore(add(out, 64), held)
            revert(out, 96)
        }
    }

    /// The single word a view function answers. A revert, no code, or an answer of any other size is "not known" rather than zero.
    function read(address token, bytes memory data) private view returns (uint256 value, bool known) {
        uint256 cap = READ_CAP;
        assembly ("memory-safe") {
            known := staticcall(cap, token, add(data, 32), mload(data), 0, 32)
            known := and(known, eq(returndatasize(), 32))
            if known { value := mload(0) }
        }
    }
}

contract Simulator {
    error TooManyCalls();

    constructor(Call[] memory calls) {
        uint256 count = calls.length;
        if (count > MAX_CALLS) revert TooManyCalls();

        // A contract has no code to call while it is being constructed, so the frames belong to another one.
        Frame frame = new Frame();
        Outcome[] memory outcomes = new Outcome[](count);
        bytes memory returnData = new bytes(count * MAX_RETURN);
        uint256 returned;

        for (uint256 i = 0; i < count; ++i) {
            // Enough for the answer as large as this call can make it, with the rest reported as not run.
            uint256 answerSize = 224 + 96 * count + returned + MAX_RETURN;
            uint256 finish = FINISH_GAS + FINISH_GAS_PER_CALL * (count - i) + FINISH_GAS_PER_BYTE * answerSize;
            returned += simulate(frame, calls[i], finish, outcomes[i], returnData, returned);
        }

        bytes32 parentHash;
        unchecked {
            parentHash = blockhash(block.number - 1);
        }
        assembly ("memory-safe") {
            mstore(returnData, returned)
        }
        bytes memory answer = abi.encode(height(), block.timestamp, parentHash, outcomes, returnData);
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }

    /// The network's own height. On Arbitrum `block.number` is that of the chain below, and a contract of the network's knows its own;
    /// elsewhere there is nothing at that address.
    function height() private view returns (uint256 own) {
        uint256 cap = READ_CAP;
        bytes memory question = abi.encodeWithSignature("arbBlockNumber()");
        own = block.number;
        assembly ("memory-safe") {
            let answered := staticcall(cap, 0x64, add(question, 32), mload(question), 0, 32)
            if and(answered, eq(returndatasize(), 32)) { own := mload(0) }
        }
    }

    /// Fills in `outcome` and puts the return data of `call` into `returnData` at `offset`. Returns the size of that piece.
    function simulate(Frame frame, Call memory call, uint256 finish, Outcome memory outcome, bytes memory returnData, uint256 offset)
        private
        returns (uint256 size)
    {
        // Encoded before gas is checked, because it costs in proportion to the data.
        bytes memory look = abi.encodeCall(Frame.look, (call.token, call.payer, call.nonce));
        bytes memory attempt = abi.encodeCall(Frame.attempt, (call.target, call.gasCap, call.data));
        uint256 attemptGas;
        unchecked {
            // What the frame needs to pass the cap on, and to take in the data before that.
            attemptGas = gasToPass(call.gasCap) + 2 * ATTEMPT_KEEPS + 2 * call.data.length;
            // The first comparison is for caps so large that the sums wrapped around.
            if (call.gasCap > gasleft() || gasleft() < LOOK_GAS + gasToPass(attemptGas) + finish) {
                outcome.facts = bytes32(NOT_RUN << 248);
                return 0;
            }
        }

        uint256 found = run(frame, LOOK_GAS, look);
        if (found == 96) {
            assembly ("memory-safe") {
                returndatacopy(outcome, 0, 96)
            }
            found = run(frame, attemptGas, attempt);
            if (found >= 32) {
                assembly ("memory-safe") {
                    returndatacopy(0, 0, 32)
                    mstore(outcome, or(mload(outcome), mload(0)))
                    size := sub(found, 32)
                    returndatacopy(add(add(returnData, 32), offset), 32, size)
                }
                return size;
            }
        }
        outcome.facts = bytes32(FRAME_FAILED << 248);
        outcome.payerCodeHash = 0;
        outcome.balance = 0;
    }

    /// Runs one frame. Returns the size of what it reverted with, and nothing if it did not revert.
    function run(Frame frame, uint256 gasLimit, bytes memory data) private returns (uint256 size) {
        assembly ("memory-safe") {
            if iszero(call(gasLimit, frame, 0, add(data, 32), mload(data), 0, 0)) { size := returndatasize() }
        }
    }
}
