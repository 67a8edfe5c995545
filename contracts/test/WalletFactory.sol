// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {EcdsaWallet} from "./EcdsaWallet.sol";

/// Deploys `EcdsaWallet`s where `walletOf` says they will be, for payers that do not exist yet (ERC-6492).
contract WalletFactory {
    function walletOf(address owner, bytes32 salt) public view returns (address) {
        bytes32 codeHash = keccak256(abi.encodePacked(type(EcdsaWallet).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, codeHash)))));
    }

    /// Answers with the existing wallet when it is there already, because somebody may deploy it between signing and settlement.
    function createWallet(address owner, bytes32 salt) external returns (address wallet) {
        wallet = walletOf(owner, salt);
        if (wallet.code.length == 0) new EcdsaWallet{salt: salt}(owner);
    }
}
