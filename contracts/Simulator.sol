// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// Many payments simulated in one `eth_call` that names no `to`. Its data is the creation code of `Simulator`, then one record for each
// payment, then two words: how many records, and their size in bytes. A record is
//
//     uint256 gasCap        what settlement would give the call
//     uint256 lookAnyway    1 to be told what the payer has even if the payment is good, else 0
//     uint256 attemptSize   bytes of the last field
//     bytes   look          `Frame.look` with its arguments: 100 bytes
//     bytes   attempt       `Frame.attempt` with its arguments
//
// What the constructor returns in place of code is `abi.encode` of
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
//
// The records come as the frames take them, and outcomes are written where the answer has them, because a node feels what the language does
// with arrays of structures: decoding and encoding them took two instructions for each one of the token's.

struct Outcome {
    // From the most significant byte: uint8 status, bool success, bool balanceKnown, bool authorizationKnown, bool authorizationUsed, three
    // zero bytes, uint64 returnSize, uint64 gasUsed, uint64 payerCodeSize.
    bytes32 facts;
    bytes32 payerCodeHash; // EXTCODEHASH: zero if the account does not exist, the hash of nothing if it has no code.
    uint256 balance; // What the payer holds, if `balanceKnown`.
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

// Both reads, and what `look` needs around them: a cold account, at up to 10,100 on some chains, and the 1/64 that a call leaves behind.
uint256 constant LOOK_GAS = 2 * READ_CAP + 30_000;

// What `attempt` keeps back from the settlement call: the price of the call itself, which is higher for a target that delegates its code
// (EIP-7702), and the way home with 256 bytes.
uint256 constant ATTEMPT_KEEPS = 20_000;

// What the constructor keeps back to get the answer out: once, for each call still to come, for the code of each payer, which is a cold account
// again, and for each byte of the answer. A byte costs 200 as deployed code, and a little more on its way through memory.
uint256 constant FINISH_GAS = 30_000;
uint256 constant FINISH_GAS_PER_CALL = 1_000;
uint256 constant FINISH_GAS_PER_PAYER = 11_000;
uint256 constant FINISH_GAS_PER_BYTE = 210;

// Where a record has its fields.
uint256 constant LOOK_ANYWAY = 32;
uint256 constant ATTEMPT_SIZE = 64;
uint256 constant LOOK = 96;
uint256 constant LOOK_PAYER = LOOK + 4 + 32; // The second argument.
uint256 constant LOOK_SIZE = 4 + 3 * 32;
uint256 constant ATTEMPT = LOOK + LOOK_SIZE;

// How the answer is laid out: five words and the number of outcomes, the outcomes, the size of the return data, and that.
uint256 constant ANSWER_HEAD = 6 * 32;
uint256 constant OUTCOME_SIZE = 3 * 32;

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

    /// Reads what a refusal is explained with. Reverts with its part of `Outcome.facts` and `Outcome.balance`.
    /// A frame of its own, because after the attempt the balance is spent.
    function look(address token, address payer, bytes32 nonce) external view {
        (uint256 held, bool heldKnown) = read(token, abi.encodeWithSignature("balanceOf(address)", payer));
        (uint256 used, bool usedKnown) = read(token, abi.encodeWithSignature("authorizationState(address,bytes32)", payer, nonce));
        // Neither yes nor no is no answer.
        if (used > 1) (used, usedKnown) = (0, false);

        assembly ("memory-safe") {
            let out := mload(0x40)
            mstore(out, or(or(shl(232, heldKnown), shl(224, usedKnown)), shl(216, used)))
            mstore(add(out, 32), held)
            revert(out, 64)
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

    constructor() {
        // A contract has no code to call while it is being constructed, so the frames belong to another one.
        Frame frame = new Frame();
        uint256 own = height();
        (uint256 records, uint256 count) = load();
        if (count > MAX_CALLS) revert TooManyCalls();

        unchecked {
            uint256 answer = allocate(ANSWER_HEAD + count * (OUTCOME_SIZE + MAX_RETURN) + 32);
            uint256 outcomes = answer + ANSWER_HEAD;
            uint256 returnData = outcomes + count * OUTCOME_SIZE;
            uint256 end = returnData + 32;

            (uint256 record, uint256 outcome) = (records, outcomes);
            for (uint256 left = count; left > 0; --left) {
                // Enough for the answer as large as this call can make it, with the rest reported as not run.
                uint256 finish = FINISH_GAS + FINISH_GAS_PER_CALL * left + FINISH_GAS_PER_PAYER * count
                    + FINISH_GAS_PER_BYTE * (end + MAX_RETURN - answer);
                end = simulate(frame, record, finish, outcome, end);
                (record, outcome) = (next(record), outcome + OUTCOME_SIZE);
            }

            // Only when all have run, because it warms the payers' accounts.
            record = records;
            for (outcome = outcomes; outcome < returnData; outcome += OUTCOME_SIZE) {
                identify(word(record + LOOK_PAYER), outcome);
                record = next(record);
            }

            assembly ("memory-safe") {
                mstore(answer, own)
                mstore(add(answer, 32), timestamp())
                mstore(add(answer, 64), blockhash(sub(number(), 1)))
                mstore(add(answer, 96), 160) // The offset of the outcomes.
                mstore(add(answer, 128), sub(returnData, answer))
                mstore(add(answer, 160), count)
                mstore(returnData, sub(end, add(returnData, 32)))
                return(answer, and(add(sub(end, answer), 31), not(31)))
            }
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

    /// Copies the records to memory.
    function load() private pure returns (uint256 records, uint256 count) {
        uint256 size;
        assembly ("memory-safe") {
            codecopy(0, sub(codesize(), 64), 64)
            count := mload(0)
            size := mload(32)
        }
        records = allocate(size);
        assembly ("memory-safe") {
            codecopy(records, sub(codesize(), add(size, 64)), size)
        }
    }

    function allocate(uint256 size) private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := mload(0x40)
            mstore(0x40, and(add(add(place, size), 31), not(31)))
        }
    }

    function word(uint256 place) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(place)
        }
    }

    function next(uint256 record) private pure returns (uint256) {
        unchecked {
            return record + ATTEMPT + word(record + ATTEMPT_SIZE);
        }
    }

    /// Fills in `outcome` up to the payer's code and puts what the call returned to `end`. Returns the end of that.
    function simulate(Frame frame, uint256 record, uint256 finish, uint256 outcome, uint256 end) private returns (uint256) {
        unchecked {
            (uint256 gasCap, uint256 size) = (word(record), word(record + ATTEMPT_SIZE));
            // What the frame needs to pass the cap on, and to take in the data before that.
            uint256 attemptGas = gasToPass(gasCap) + 2 * ATTEMPT_KEEPS + 2 * size;
            // The first comparison is for caps so large that the sums wrapped around.
            if (gasCap > gasleft() || gasleft() < gasToPass(attemptGas) + gasToPass(LOOK_GAS) + finish) {
                put(outcome, NOT_RUN << 248);
                return end;
            }

            uint256 found = run(frame, attemptGas, record + ATTEMPT, size);
            if (found < 32) {
                put(outcome, FRAME_FAILED << 248);
                return end;
            }
            uint256 piece = end;
            end += found - 32;
            uint256 facts;
            assembly ("memory-safe") {
                returndatacopy(0, 0, 32)
                facts := mload(0)
                returndatacopy(piece, 32, sub(found, 32))
            }

            bool refused = facts >> 240 == RAN << 8;
            if (refused || word(record + LOOK_ANYWAY) != 0) {
                if (run(frame, LOOK_GAS, record + LOOK, LOOK_SIZE) != 64) {
                    put(outcome, FRAME_FAILED << 248);
                    return piece;
                }
                uint256 held;
                assembly ("memory-safe") {
                    returndatacopy(0, 0, 64)
                    facts := or(facts, mload(0))
                    held := mload(32)
                }
                put(outcome + 64, held);
            }
            put(outcome, facts);
            return end;
        }
    }

    /// Adds what the payer's code is.
    function identify(uint256 payer, uint256 outcome) private view {
        assembly ("memory-safe") {
            mstore(outcome, or(mload(outcome), extcodesize(payer)))
            mstore(add(outcome, 32), extcodehash(payer))
        }
    }

    /// Runs one frame. Returns the size of what it reverted with, and nothing if it did not revert.
    function run(Frame frame, uint256 gasLimit, uint256 data, uint256 dataSize) private returns (uint256 size) {
        assembly ("memory-safe") {
            if iszero(call(gasLimit, frame, 0, data, dataSize, 0, 0)) { size := returndatasize() }
        }
    }

    function put(uint256 place, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(place, value)
        }
    }
}
