// Lets a Safe pay. An x402 client asks its signer for an address and a signature over typed data; a Safe answers
// `isValidSignature` for what its owner signed as a SafeMessage, so that is what this signer hands out.

import { hashTypedData } from 'viem';

/** A client signer whose address is the Safe and whose pen is in its owner's hand. */
export function safeSigner(safe, owner) {
  return {
    address: safe,
    signTypedData(payment) {
      const { chainId } = payment.domain;
      return owner.signTypedData({
        domain: { chainId, verifyingContract: safe },
        types: { SafeMessage: [{ name: 'message', type: 'bytes' }] },
        primaryType: 'SafeMessage',
        message: { message: hashTypedData(payment) },
      });
    },
  };
}
