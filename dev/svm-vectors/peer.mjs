// What the TypeScript reference says of a vector, so that it can be seen where we are stricter and why.

import { x402Facilitator } from '@x402/core/facilitator';
import { toFacilitatorSvmSigner } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/facilitator';
import { solanaSigner } from '../solana/accounts.mjs';
import { FEE_PAYER, NETWORK, OTHER_SIGNER, V1_NETWORK } from './terms.mjs';

/** Puts the reference together on this node; `judge` answers `valid` or its reason, and how it failed if it had neither. */
export async function startPeer(rpcUrl) {
  const signer = toFacilitatorSvmSigner(await solanaSigner(FEE_PAYER.key), { defaultRpcUrl: rpcUrl });
  // Upstream takes one fee payer; that it manages a second one is only for it to know.
  const both = { ...signer, getAddresses: () => [FEE_PAYER.address, OTHER_SIGNER.address] };
  const facilitator = new x402Facilitator();
  facilitator.register(NETWORK, new ExactSvmScheme(both));
  facilitator.registerV1(V1_NETWORK, new ExactSvmSchemeV1(both));

  async function judge({ paymentPayload, paymentRequirements }) {
    const complain = console.error;
    console.error = () => {}; // It prints what it cannot decode.
    try {
      const { isValid, invalidReason } = await facilitator.verify(paymentPayload, paymentRequirements);
      return isValid ? 'valid' : invalidReason;
    } catch (error) {
      return `error: ${error.message}`;
    } finally {
      console.error = complain;
    }
  }
  return { judge };
}
