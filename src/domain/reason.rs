//! Why a payment is refused: codes that x402 servers and clients know.

/// A protocol version. Some codes differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// x402 version 1.
    V1,
    /// x402 version 2.
    V2,
}

impl Version {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal $(/ $v1_code:literal)?,)*) => {
        /// Why a payment is not accepted. The payer, or the server that asked, can act on every one of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is, in the order of docs/ERRORS.md.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code of version 2. Codes are part of the interface and never change.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What it says, in a sentence for people who read about codes.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }

            /// The code as a peer of `version` expects it.
            #[must_use]
            pub const fn code_in(self, version: Version) -> &'static str {
                match (self, version) {
                    $($((Self::$name, Version::V1) => $v1_code,)?)*
                    (reason, _) => reason.code(),
                }
            }
        }
    };
}

// Behind a slash stands the code of version 1, where that is another.

reasons! {
    /// The body is not JSON, or JSON that no careful parser accepts (duplicate keys, too deep).
    InvalidJson = "invalid_json",
    /// `paymentPayload` or `paymentRequirements` is missing.
    MissingParameters = "missing_parameters",
    /// The payment payload does not have the form of its scheme.
    InvalidPayload = "invalid_payload",
    /// The payment requirements are malformed, or ask for something that must never be paid.
    InvalidPaymentRequirements = "invalid_payment_requirements",
    /// A protocol version that does not exist, or two that disagree.
    InvalidVersion = "invalid_x402_version",
    /// A scheme that is not offered.
    UnsupportedScheme = "unsupported_scheme",
    /// A network that is not offered.
    InvalidNetwork = "invalid_network",
    /// A token that the operator has not allowed.
    UnsupportedAsset = "unsupported_asset",
    /// A payload of a kind that this scheme does not take.
    UnsupportedPayloadType = "unsupported_payload_type",
    /// The scheme that the payer accepted is another one.
    SchemeMismatch = "invalid_exact_evm_scheme",
    /// The network that the payer accepted is another one.
    NetworkMismatch = "invalid_exact_evm_network_mismatch",
    /// `extra.name` or `extra.version` is missing.
    MissingSigningDomain = "invalid_exact_evm_missing_eip712_domain",
    /// `extra.name` is not the token's.
    TokenNameMismatch = "invalid_exact_evm_token_name_mismatch",
    /// `extra.version` is not the token's.
    TokenVersionMismatch = "invalid_exact_evm_token_version_mismatch",
    /// The authorization pays somebody else.
    RecipientMismatch = "invalid_exact_evm_recipient_mismatch",
    /// The authorization ends too soon, or later than policy allows.
    Expired = "invalid_exact_evm_payload_authorization_valid_before",
    /// The authorization is not valid yet.
    NotYetValid = "invalid_exact_evm_payload_authorization_valid_after",
    /// The authorization is for another amount.
    ValueMismatch = "invalid_exact_evm_payload_authorization_value_mismatch" / "invalid_exact_evm_authorization_value",
    /// The payer did not sign this authorization.
    InvalidSignature = "invalid_exact_evm_signature",
    /// The signature is wrapped with a wallet's deployment (ERC-6492), and the wrapper cannot be read.
    SignatureUnreadable = "invalid_exact_evm_failed_to_parse_signature",
    /// The wallet's factory is not on the operator's list (ERC-6492).
    FactoryNotAllowed = "eip6492_factory_not_allowed",
    /// The token has no code.
    AssetNotDeployed = "asset_not_deployed_contract",
    /// The token does not know EIP-3009.
    AuthorizationsUnsupported = "invalid_exact_evm_eip3009_not_supported",
    /// The authorization was used or cancelled.
    NonceAlreadyUsed = "invalid_exact_evm_nonce_already_used",
    /// The payer holds less than the amount.
    InsufficientBalance = "invalid_exact_evm_insufficient_balance",
    /// The payer holds enough for this payment alone, but not together with those under way.
    InsufficientFunds = "insufficient_funds",
    /// The token refuses the transfer: paused, blacklisted, or a wallet that does not agree.
    SimulationFailed = "invalid_exact_evm_transaction_simulation_failed",
    /// The transaction was included and did not pay.
    TransactionFailed = "invalid_exact_evm_transaction_failed",
    /// The authorization was used, and the token did not move what it says.
    TransferEventMismatch = "invalid_exact_evm_transfer_event_mismatch",
    /// Permit2 was not allowed for the contract that x402 calls it through.
    Permit2SpenderMismatch = "invalid_permit2_spender",
    /// What was signed for Permit2 pays somebody else.
    Permit2RecipientMismatch = "invalid_permit2_recipient_mismatch",
    /// What was signed for Permit2 ends too soon, or later than policy allows.
    Permit2Expired = "permit2_deadline_expired",
    /// What was signed for Permit2 is not valid yet.
    Permit2NotYetValid = "permit2_not_yet_valid",
    /// What was signed for Permit2 is for another amount.
    Permit2AmountMismatch = "permit2_amount_mismatch",
    /// What was signed for Permit2 moves nothing.
    Permit2AmountInvalid = "permit2_invalid_amount",
    /// What was signed for Permit2 is of another token.
    Permit2TokenMismatch = "permit2_token_mismatch",
    /// The payer did not sign this for Permit2.
    Permit2SignatureInvalid = "invalid_permit2_signature",
    /// The network lacks the contract that x402 calls Permit2 through.
    Permit2ProxyMissing = "permit2_proxy_not_deployed",
    /// The nonce of Permit2 was used or cancelled.
    Permit2NonceUsed = "permit2_invalid_nonce",
    /// The payer holds less than the amount (Permit2).
    Permit2InsufficientBalance = "permit2_insufficient_balance",
    /// The payer has not let Permit2 take the token.
    Permit2AllowanceRequired = "permit2_allowance_required",
    /// The token, or Permit2, refuses the transfer.
    Permit2SimulationFailed = "permit2_simulation_failed",
    /// What lets Permit2 take the token (EIP-2612) has another form.
    GasSponsoringUnreadable = "invalid_eip2612_extension_format",
    /// It is of another account.
    GasSponsoringPayerMismatch = "eip2612_from_mismatch",
    /// It is of another token.
    GasSponsoringTokenMismatch = "eip2612_asset_mismatch",
    /// It is for somebody else than Permit2.
    GasSponsoringSpenderMismatch = "eip2612_spender_not_permit2",
    /// It ends too soon.
    GasSponsoringExpired = "eip2612_deadline_expired",
    /// It is for another amount.
    GasSponsoringAmountMismatch = "permit2_2612_amount_mismatch",
    /// The scheme that the payer accepted is another one than `upto`.
    UptoSchemeMismatch = "invalid_upto_evm_scheme",
    /// The network that the payer accepted is another one (`upto`).
    UptoNetworkMismatch = "invalid_upto_evm_network_mismatch",
    /// The transaction was included and did not pay (`upto`).
    UptoTransactionFailed = "invalid_upto_evm_transaction_failed",
    /// The facilitator that the payer signed for is none of our signers.
    UptoFacilitatorMismatch = "upto_facilitator_mismatch",
    /// More is to be paid than the payer signed for.
    UptoAmountExceeded = "invalid_upto_evm_payload_settlement_exceeds_amount",
    /// The scheme that the payer accepted is another one (Solana).
    SolanaSchemeMismatch = "invalid_exact_svm_unsupported_scheme" / "unsupported_scheme",
    /// The network that the payer accepted is another one (Solana).
    SolanaNetworkMismatch = "invalid_exact_svm_network_mismatch" / "network_mismatch",
    /// `extra.feePayer` is missing.
    FeePayerMissing = "invalid_exact_svm_payload_missing_fee_payer",
    /// `extra.feePayer` is none of our signers.
    FeePayerNotManaged = "invalid_exact_svm_fee_payer_not_managed_by_facilitator" / "fee_payer_not_managed_by_facilitator",
    /// The transaction is not one, or one that the network would not take.
    TransactionUnreadable = "invalid_exact_svm_payload_transaction_could_not_be_decoded",
    /// The transaction takes accounts from a lookup table. Version 1 knows no such transactions.
    LookupTables = "invalid_exact_svm_smart_wallet_alt_resolution_not_available"
        / "invalid_exact_svm_payload_transaction_could_not_be_decoded",
    /// More signatures are needed than those of the fee payer and the payer.
    ExcessiveSigners = "invalid_exact_svm_payload_excessive_signers",
    /// The transaction's fee payer is another one than `extra.feePayer`.
    FeePayerMismatch = "invalid_exact_svm_fee_payer_mismatch",
    /// The payer did not sign this transaction.
    PayerSignatureInvalid = "invalid_exact_svm_payload_signature_invalid",
    /// Too few or too many instructions.
    InstructionCount = "invalid_exact_svm_payload_transaction_instructions_length",
    /// The first instruction does not set a limit of compute units.
    ComputeLimit = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction",
    /// It sets a larger limit than the operator allows.
    ComputeLimitTooHigh = "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high",
    /// The second instruction does not set a price of compute units.
    ComputePrice = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction",
    /// It sets a higher price than the operator allows.
    ComputePriceTooHigh = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high",
    /// The third instruction is no `TransferChecked`.
    NoTransfer = "invalid_exact_svm_payload_no_transfer_instruction",
    /// An instruction names one of our signers.
    FeePayerIncluded = "invalid_exact_svm_payload_transaction_fee_payer_included_in_instruction_accounts",
    /// It is our money that the transfer would move.
    FeePayerTransfers = "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds",
    /// The transfer is of another token.
    MintMismatch = "invalid_exact_svm_payload_mint_mismatch",
    /// The transfer does not go to the associated token account of `payTo`.
    DestinationMismatch = "invalid_exact_svm_payload_recipient_mismatch",
    /// The transfer is of another amount.
    AmountMismatch = "invalid_exact_svm_payload_amount_mismatch",
    /// The fourth instruction is none that may be there.
    UnknownFourthInstruction = "invalid_exact_svm_payload_unknown_fourth_instruction",
    /// So is the fifth.
    UnknownFifthInstruction = "invalid_exact_svm_payload_unknown_fifth_instruction",
    /// So is the sixth.
    UnknownSixthInstruction = "invalid_exact_svm_payload_unknown_sixth_instruction",
    /// So is the seventh.
    UnknownSeventhInstruction = "invalid_exact_svm_payload_unknown_seventh_instruction",
    /// More of an optional instruction than any wallet adds.
    UnknownOptionalInstruction = "invalid_exact_svm_payload_unknown_optional_instruction",
    /// Not exactly one memo, where the requirements ask for one.
    MemoCount = "invalid_exact_svm_payload_memo_count",
    /// The memo is another one, or longer than a memo may be.
    MemoMismatch = "invalid_exact_svm_payload_memo_mismatch",
    /// The network refuses the transaction.
    SolanaSimulationFailed = "invalid_exact_svm_transaction_simulation_failed" / "transaction_simulation_failed",
    /// The transaction was included and did not pay (Solana).
    SolanaTransactionFailed = "invalid_exact_svm_transaction_failed" / "transaction_failed",
    /// The transaction was built so long ago that it could hardly land any more (Solana).
    BlockhashExpiring = "invalid_exact_svm_blockhash_expiring",
    /// The transaction has landed already (Solana).
    TransactionProcessed = "invalid_exact_svm_transaction_already_processed",
    /// The transaction did not land while it could (Solana).
    TransactionExpired = "invalid_exact_svm_transaction_expired",
    /// No block has the presented transaction as a payment to this merchant.
    TransferNotFound = "transfer_not_found",
    /// The presented transaction failed, and moved nothing.
    TransferFailed = "transfer_failed",
    /// The presented transaction moved another token.
    TransferAssetMismatch = "transfer_asset_mismatch",
    /// The presented transaction paid somebody else.
    TransferRecipientMismatch = "transfer_recipient_mismatch",
    /// The presented transaction moved another amount.
    TransferAmountMismatch = "transfer_amount_mismatch",
    /// The presented transaction was made before the invoice, or after its end.
    TransferOutOfTime = "transfer_out_of_time",
    /// Who presents a transfer is neither the merchant nor has signed for it.
    ProofSignatureMissing = "proof_signature_missing",
    /// Whoever signed did not make the transfer, or signed for something else.
    ProofSignatureInvalid = "proof_signature_invalid",
    /// It was paid, and the network undid it for ever.
    Reversed = "settlement_reversed",
    /// Settling would cost more than the operator allows.
    CostExceedsLimit = "settlement_cost_exceeds_limit",
    /// Somebody was told of this settlement's success already, or it is held for another request.
    DuplicateSettlement = "duplicate_settlement",
    /// The payment is on its way and its end is not known yet.
    SettlementPending = "settlement_pending",
    /// The payer has given another payment the same name.
    PaymentIdentifierReused = "payment_identifier_reused",
}

impl Reason {
    /// Whether the request itself is malformed, which HTTP answers with 400; everything else is a business answer.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::InvalidJson | Self::MissingParameters | Self::InvalidPayload | Self::InvalidPaymentRequirements)
    }

    /// Whether the chain has seen this very authorization used: by a stranger, or by a settlement of ours.
    #[must_use]
    pub const fn means_used(self) -> bool {
        matches!(self, Self::NonceAlreadyUsed | Self::Permit2NonceUsed | Self::TransactionProcessed)
    }

    /// Whether what the payer signed can no longer be used, or almost so, because of the time.
    #[must_use]
    pub const fn means_expired(self) -> bool {
        matches!(self, Self::Expired | Self::Permit2Expired)
    }

    /// Whether the same request may be answered otherwise in a moment, with no change on anybody's part: a block may come.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::SettlementPending | Self::TransferNotFound)
    }

    /// Reads a code back from the ledger.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

/// A refusal: the code, and a sentence for people where one helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {}", reason.code())]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// What exactly was wrong, at most [`DETAIL_CHARS_MAX`] characters and never a secret.
    pub detail: Option<String>,
}

/// Longest detail that leaves the house; revert texts of contracts can be of any length.
pub const DETAIL_CHARS_MAX: usize = 500;

impl Refusal {
    /// Refuses and says what was wrong.
    #[must_use]
    pub fn because(reason: Reason, detail: impl AsRef<str>) -> Self {
        // What a contract says can contain anything, and neither logs nor the ledger take every character.
        let detail = detail.as_ref().chars().filter(|letter| !letter.is_control()).take(DETAIL_CHARS_MAX).collect();
        Self { reason, detail: Some(detail) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_short_and_printable() {
        let detail = Refusal::because(Reason::SimulationFailed, format!("a\0b\u{1b}[2Jc\n{}", "d".repeat(600))).detail.unwrap();

        assert!(detail.starts_with("ab[2Jcd"));
        assert_eq!(detail.chars().count(), DETAIL_CHARS_MAX);
    }

    #[test]
    fn every_code_is_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
    }

    #[test]
    fn version_1_has_codes_of_its_own() {
        let codes = |reason: Reason| (reason.code_in(Version::V1), reason.code_in(Version::V2));

        assert_eq!(codes(Reason::SolanaNetworkMismatch), ("network_mismatch", "invalid_exact_svm_network_mismatch"));
        assert_eq!(codes(Reason::SolanaSchemeMismatch).0, Reason::UnsupportedScheme.code());
        assert_eq!(codes(Reason::AmountMismatch), ("invalid_exact_svm_payload_amount_mismatch", Reason::AmountMismatch.code()));
    }
}
