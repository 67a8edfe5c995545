// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// The part of the OP stack's GasPriceOracle (0x420000000000000000000000000000000000000F) a fee estimate reads, with a price that tests can
/// spike. Works when set with anvil_setCode: no constructor, and storage that is still empty means the default price.
/// The formula is Fjord's without blobs and without compression: bytes * 16 * baseFeeScalar * l1BaseFee / 10**6.
contract L1FeeOracleStub {
    uint256 private constant DEFAULT_L1_BASE_FEE = 1 gwei;

    // Base mainnet's, in millionths.
    uint32 public constant baseFeeScalar = 2269;
    uint32 public constant blobBaseFeeScalar = 0;
    uint256 public constant blobBaseFee = 1;
    uint256 public constant decimals = 6;
    bool public constant isEcotone = true;
    bool public constant isFjord = true;

    // A signature is not part of the unsigned transaction the fee is asked for, so the real oracle adds 68 bytes.
    uint256 private constant SIGNATURE_BYTES = 68;
    // Fjord charges no transaction for less.
    uint256 private constant LEAST_BYTES = 100;

    // One more than the price, so that zero in storage can mean "never set" and the price can still be set to zero.
    uint256 private stored;

    function setL1BaseFee(uint256 price) external {
        stored = price + 1;
    }

    function l1BaseFee() public view returns (uint256) {
        return stored == 0 ? DEFAULT_L1_BASE_FEE : stored - 1;
    }

    function getL1Fee(bytes memory unsignedTransaction) external view returns (uint256) {
        return fee(unsignedTransaction.length + SIGNATURE_BYTES);
    }

    /// What no transaction of this size exceeds. The real oracle allows for data that grows when compressed, as here.
    function getL1FeeUpperBound(uint256 unsignedTransactionSize) external view returns (uint256) {
        uint256 size = unsignedTransactionSize + SIGNATURE_BYTES;
        return fee(size + size / 255 + 16);
    }

    function fee(uint256 size) private view returns (uint256) {
        if (size < LEAST_BYTES) size = LEAST_BYTES;
        return size * 16 * baseFeeScalar * l1BaseFee() / 10 ** 6;
    }
}
