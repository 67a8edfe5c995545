//! Transactions from their bytes: the old form and version 0 (`solana-message` of the Solana SDK).
//!
//! What comes out of [`Decoded::read`] has been through every check that the network makes before it executes anything (`sanitize`
//! of the SDK, and that no account stands twice), so no index is left that could lead nowhere. Whether it is a payment is for the
//! rules to say.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::signature;
use crate::domain::address::encode_base58;
use crate::domain::payment::AuthorizationKey;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::transfer::TransactionId;
use crate::x402::exact_solana::TRANSACTION_BYTES_MAX;

/// The address of an account, which is a public key or was derived by a program.
pub type Key = [u8; 32];

/// An Ed25519 signature.
pub type SignatureBytes = [u8; 64];

/// Bytes of a [`SignatureBytes`].
const SIGNATURE_BYTES: usize = 64;

/// The fee payer's signature and the payer's. Each further one would cost us 5,000 lamports.
const SIGNATURES_MAX: usize = 2;

/// Set in the first byte of a message that has a version; the old form begins with the number of signatures, which is smaller.
const VERSION_BIT: u8 = 0x80;

/// The most accounts that one byte can tell apart, those out of lookup tables included.
const ACCOUNTS_MAX: usize = 256;

/// A transaction of which not all accounts may be known, because some stand in lookup tables.
///
/// Who signs what is known all the same, and is judged first. Only [`Self::without_lookups`] leads on to instructions, to our
/// signature, and to bytes that could be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    message: Vec<u8>,
    fee_payer: Key,
    cosigner: Option<Cosigner>,
    recent_blockhash: [u8; 32],
    /// Nothing where there are lookup tables: no index into one of them is ever followed.
    instructions: Option<Vec<Instruction>>,
}

/// A transaction that lacks only the fee payer's signature.
///
/// It can only come from [`Decoded::without_lookups`]: its accounts are all that it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    message: Vec<u8>,
    fee_payer: Key,
    cosigner: Option<Cosigner>,
    recent_blockhash: [u8; 32],
    instructions: Vec<Instruction>,
}

/// Who signed besides the fee payer, or claims to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigner {
    /// Whose signature is needed.
    pub key: Key,
    /// What stands in its place, not yet checked.
    pub signature: SignatureBytes,
}

/// A call of a program, with its accounts by their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The program.
    pub program: Key,
    /// The accounts that it is given.
    pub accounts: Vec<Key>,
    /// What it is told.
    pub data: Vec<u8>,
}

/// A transaction with all its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// Its identifier, which is the fee payer's signature.
    pub id: TransactionId,
    /// Its bytes as they are sent.
    pub wire: Vec<u8>,
}

/// Why bytes are not a transaction that the network takes, or not one that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than a packet holds.
    #[error("more than 1232 bytes")]
    TooLong,
    /// It ends in the middle.
    #[error("incomplete")]
    Truncated,
    /// A length that is written with more bytes than it needs, or is beyond 16 bits.
    #[error("a length is not in its shortest form")]
    Length,
    /// Something stands behind its end.
    #[error("bytes behind the end")]
    TrailingBytes,
    /// A version that does not exist yet.
    #[error("version {0} is not known")]
    Version(u8),
    /// As many signatures as the header says are not there, or it speaks of more accounts than there are.
    #[error("the header contradicts the signatures or accounts")]
    Header,
    /// An account stands twice, which the network refuses.
    #[error("an account stands twice")]
    DuplicateKey,
    /// An instruction names an account that does not stand there, or calls the fee payer.
    #[error("an instruction names an account that is not there")]
    Index,
    /// A lookup table supplies no account, or all of them together more than a byte can tell apart.
    #[error("the lookup tables supply no accounts, or too many")]
    Tables,
    /// It needs more signatures than those of the fee payer and the payer.
    #[error("more than two signatures are needed")]
    TooManySigners,
    /// It takes accounts from a table that only the chain knows.
    #[error("lookup tables are not taken")]
    LookupTables,
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let reason = match error {
            DecodeError::TooManySigners => Reason::ExcessiveSigners,
            DecodeError::LookupTables => Reason::LookupTables,
            DecodeError::TooLong
            | DecodeError::Truncated
            | DecodeError::Length
            | DecodeError::TrailingBytes
            | DecodeError::Version(_)
            | DecodeError::Header
            | DecodeError::DuplicateKey
            | DecodeError::Index
            | DecodeError::Tables => Reason::TransactionUnreadable,
        };
        Self::because(reason, error.to_string())
    }
}

/// The signature is not that of the transaction's fee payer, so the network would drop the transaction without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not the fee payer's")]
pub struct NotTheFeePayer;

impl Decoded {
    /// Reads a transaction from all of `wire`. What stands in the fee payer's place is ours to fill, and is not looked at.
    ///
    /// # Errors
    /// See [`DecodeError`]. What the network would not take either comes first.
    pub fn read(wire: &[u8]) -> Result<Self, DecodeError> {
        if wire.len() > TRANSACTION_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let mut reader = Reader(wire);
        let signatures = reader.arrays::<SIGNATURE_BYTES>()?;
        let message = reader.0;
        let parts = Parts::read(&mut reader)?;
        parts.check_header(signatures.len())?;
        parts.check_indexes()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(DecodeError::TooManySigners);
        }
        let cosigner =
            parts.keys.get(1).zip(signatures.get(1)).map(|(key, signature)| Cosigner { key: *key, signature: *signature });
        Ok(Self {
            message: message.to_vec(),
            fee_payer: *parts.keys.first().ok_or(DecodeError::Header)?,
            cosigner,
            recent_blockhash: parts.recent_blockhash,
            instructions: if parts.looked_up == 0 { Some(parts.resolve()?) } else { None },
        })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Who pays the fee.
    #[must_use]
    pub const fn fee_payer(&self) -> &Key {
        &self.fee_payer
    }

    /// Who else must sign.
    #[must_use]
    pub const fn cosigner(&self) -> Option<&Cosigner> {
        self.cosigner.as_ref()
    }

    /// The transaction, if all its accounts stand in it.
    ///
    /// # Errors
    /// [`DecodeError::LookupTables`].
    pub fn without_lookups(self) -> Result<Transaction, DecodeError> {
        let Self { message, fee_payer, cosigner, recent_blockhash, instructions } = self;
        let instructions = instructions.ok_or(DecodeError::LookupTables)?;
        Ok(Transaction { message, fee_payer, cosigner, recent_blockhash, instructions })
    }
}

impl Transaction {
    /// Reads a transaction whose accounts all stand in it from all of `wire`.
    ///
    /// # Errors
    /// See [`Decoded::read`] and [`Decoded::without_lookups`].
    pub fn decode(wire: &[u8]) -> Result<Self, DecodeError> {
        Decoded::read(wire)?.without_lookups()
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Who pays the fee.
    #[must_use]
    pub const fn fee_payer(&self) -> &Key {
        &self.fee_payer
    }

    /// Who else must sign.
    #[must_use]
    pub const fn cosigner(&self) -> Option<&Cosigner> {
        self.cosigner.as_ref()
    }

    /// How many signatures the network charges for.
    #[must_use]
    pub const fn signatures(&self) -> u8 {
        if self.cosigner.is_some() { 2 } else { 1 }
    }

    /// The block that it was built on. It can land within 150 blocks of that one.
    #[must_use]
    pub const fn recent_blockhash(&self) -> &[u8; 32] {
        &self.recent_blockhash
    }

    /// What it does, in order.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// What the network lets happen once: this message, whatever stands in the fee payer's place.
    #[must_use]
    pub fn key(&self) -> AuthorizationKey {
        AuthorizationKey(Sha256::digest(&self.message).to_vec())
    }

    /// The bytes without the fee payer's signature: for a simulation that checks none, and for the ledger.
    #[must_use]
    pub fn unsigned(&self) -> Vec<u8> {
        self.wire(&[0; SIGNATURE_BYTES])
    }

    /// Puts the fee payer's signature over [`Self::message`] in its place.
    ///
    /// # Errors
    /// It is somebody else's signature, or over something else.
    pub fn signed(&self, signature: &SignatureBytes) -> Result<SignedTransaction, NotTheFeePayer> {
        if !signature::is_valid(&self.fee_payer, &self.message, signature) {
            return Err(NotTheFeePayer);
        }
        Ok(SignedTransaction { id: encode_base58(signature), wire: self.wire(signature) })
    }

    fn wire(&self, fee_payer: &SignatureBytes) -> Vec<u8> {
        let cosigner = self.cosigner.iter().flat_map(|cosigner| cosigner.signature);
        // A number below 128 is its own shortest form.
        std::iter::once(self.signatures()).chain(*fee_payer).chain(cosigner).chain(self.message.iter().copied()).collect()
    }
}

/// A message as it stands there, with nothing looked up yet.
struct Parts<'a> {
    required_signatures: usize,
    readonly_signed: usize,
    readonly_unsigned: usize,
    keys: Vec<Key>,
    recent_blockhash: [u8; 32],
    instructions: Vec<RawInstruction<'a>>,
    /// How many accounts lookup tables supply. Which those are, only the chain knows.
    looked_up: usize,
}

struct RawInstruction<'a> {
    program: u8,
    accounts: &'a [u8],
    data: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let first = reader.byte()?;
        let versioned = first & VERSION_BIT != 0;
        let required_signatures = match first & !VERSION_BIT {
            _ if !versioned => first,
            0 => reader.byte()?,
            version => return Err(DecodeError::Version(version)),
        };
        let mut parts = Self {
            required_signatures: required_signatures.into(),
            readonly_signed: reader.byte()?.into(),
            readonly_unsigned: reader.byte()?.into(),
            keys: reader.arrays()?,
            recent_blockhash: reader.array()?,
            instructions: reader.instructions()?,
            looked_up: 0,
        };
        if versioned {
            parts.looked_up = reader.lookups()?;
        }
        if reader.0.is_empty() { Ok(parts) } else { Err(DecodeError::TrailingBytes) }
    }

    fn check_header(&self, signatures: usize) -> Result<(), DecodeError> {
        let unsigned = self.keys.len().checked_sub(self.required_signatures);
        // At least one account signs and can be written to: the fee payer.
        let plausible = self.readonly_signed < self.required_signatures
            && unsigned.is_some_and(|unsigned| self.readonly_unsigned <= unsigned)
            && signatures == self.required_signatures;
        if !plausible {
            return Err(DecodeError::Header);
        }
        let different: BTreeSet<_> = self.keys.iter().collect();
        if different.len() < self.keys.len() { Err(DecodeError::DuplicateKey) } else { Ok(()) }
    }

    fn check_indexes(&self) -> Result<(), DecodeError> {
        let (keys, looked_up) = (self.keys.len(), self.looked_up);
        if keys + looked_up > ACCOUNTS_MAX {
            return Err(DecodeError::Tables);
        }
        let possible = self.instructions.iter().all(|instruction| instruction.is_possible(keys, looked_up));
        if possible { Ok(()) } else { Err(DecodeError::Index) }
    }

    /// The instructions with their accounts, all of which must stand in the message.
    fn resolve(&self) -> Result<Vec<Instruction>, DecodeError> {
        self.instructions.iter().map(|raw| raw.resolve(&self.keys)).collect()
    }
}

impl RawInstruction<'_> {
    /// A program stands in the message itself, and is not the fee payer; accounts may stand in a table, too.
    fn is_possible(&self, keys: usize, looked_up: usize) -> bool {
        let there = |index: &u8| usize::from(*index) < keys + looked_up;
        (1..keys).contains(&usize::from(self.program)) && self.accounts.iter().all(there)
    }

    fn resolve(&self, keys: &[Key]) -> Result<Instruction, DecodeError> {
        let account = |index: &u8| keys.get(usize::from(*index)).copied().ok_or(DecodeError::Index);
        Ok(Instruction {
            program: account(&self.program)?,
            accounts: self.accounts.iter().map(account).collect::<Result<_, _>>()?,
            data: self.data.to_vec(),
        })
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn arrays<const N: usize>(&mut self) -> Result<Vec<[u8; N]>, DecodeError> {
        let count = self.length()?;
        // A count that the rest cannot hold ends at the first array that is not there.
        (0..count).map(|_| self.array()).collect()
    }

    fn instructions(&mut self) -> Result<Vec<RawInstruction<'a>>, DecodeError> {
        let count = self.length()?;
        let instruction = |_| Ok(RawInstruction { program: self.byte()?, accounts: self.bytes()?, data: self.bytes()? });
        (0..count).map(instruction).collect()
    }

    /// How many accounts the lookup tables at the end of a message supply: those to be written to, and the others. Where the tables
    /// stand and what is taken out of them is passed over.
    fn lookups(&mut self) -> Result<usize, DecodeError> {
        let mut accounts = 0;
        for _ in 0..self.length()? {
            let _: Key = self.array()?;
            let supplied = self.bytes()?.len() + self.bytes()?.len();
            // The network refuses a table out of which nothing is taken.
            if supplied == 0 {
                return Err(DecodeError::Tables);
            }
            accounts += supplied;
        }
        Ok(accounts)
    }

    /// A length: seven bits in a byte, the lowest first, at most 16 bits in all (`solana-short-vec` of the SDK).
    fn length(&mut self) -> Result<usize, DecodeError> {
        let mut length = 0_usize;
        for place in 0..3 {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let shortest = place == 0 || byte != 0;
                let fits = u16::try_from(length).is_ok();
                return if shortest && fits { Ok(length) } else { Err(DecodeError::Length) };
            }
        }
        Err(DecodeError::Length)
    }
}
