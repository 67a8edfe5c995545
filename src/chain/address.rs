//! What a network says about an address: who controls it, and whether money that is sent there reaches anybody.

use crate::domain::address::Address;

/// What a signature says about who controls an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Whoever controls the address signed this very text.
    Valid,
    /// Somebody else signed, or another text was signed.
    Invalid,
    /// It does not have the form of a signature on this network.
    Malformed,
}

/// Whether payments can be taken at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payable {
    /// They can.
    Yes,
    /// They can once its owner has an account for the token that is paid, as owners on Solana must. Payers may open it.
    YesWithoutTokenAccount {
        /// The mints of the allowed tokens that the owner has no usable account for.
        mints: Vec<Address>,
    },
    /// They cannot.
    No(NotPayable),
}

/// Why payments are not taken at an address. The words go on after "the address is".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotPayable {
    /// Nobody has a key for it.
    #[error("the zero address or a burn address")]
    Zero,
    /// A token does not pass on what it is sent.
    #[error("the token itself")]
    Token,
    /// We would pay for payments to ourselves.
    #[error("a settlement signer of this facilitator")]
    OurSigner,
    /// A program of the network, or a contract that serves everybody, does not pass on what it is sent.
    #[error("a program, a precompiled contract or Permit2")]
    Program,
    /// It belongs to a token program: an account of an owner, whose own address is wanted, or a mint.
    #[error("a token account or a mint instead of an owner")]
    TokenAccount,
}
