//! Registers the addresses at which accounts receive money. An address is an account's once its owner has signed for it.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Flows, Unavailable};
use crate::chain::address::{NotPayable, Payable, Proof as Verdict};
use crate::domain::address::{Address, ParseAddressError};
use crate::domain::challenge::{AddressListError, Challenge};
use crate::domain::ids::{AccountId, AddressId};
use crate::domain::network::Network;
use crate::ledger::addresses::{self, Proof, RegisteredAddress};
use crate::ledger::{Db, LedgerError, accounts, commit};

/// For so long a challenge can be signed.
pub(super) const CHALLENGE_LASTS: TimeDelta = TimeDelta::minutes(30);

/// Times that an address is asked for. Who was quicker the first time is known the second time.
pub(super) const TRIES: usize = 2;

/// Why an address is not registered.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A network that is not configured.
    #[error("network: {0} is not offered here")]
    UnknownNetwork(Network),
    /// Not an address of that network.
    #[error("address: {0}")]
    Malformed(#[from] ParseAddressError),
    /// Money that is sent there reaches nobody.
    #[error("address: it is {0}")]
    NotPayable(NotPayable),
    /// Another account receives money there.
    #[error("address: it is another account's")]
    Taken,
    /// The account has it already.
    #[error("address: it is yours already")]
    Known,
    /// There is no such registration, or it is not the caller's.
    #[error("there is no such address here")]
    NoSuchAddress,
    /// An invoice of the account can be paid there, and is not yet.
    #[error("an invoice waits to be paid there: call it off, or wait until it is paid or over")]
    Awaited,
    /// The challenge was made too long ago.
    #[error("the challenge has expired; register the address again")]
    Expired,
    /// Not a signature at all.
    #[error("signature: it does not have the form of one on this network")]
    SignatureMalformed,
    /// Somebody else's signature, or over something else.
    #[error("signature: it is not the address's over this challenge")]
    SignatureInvalid,
    /// No list: empty, or too long.
    #[error("addresses: {0}")]
    List(#[from] AddressListError),
    /// The address that is to sign for a list is not the account's own, by its owner's signature.
    #[error("signedBy: it must be an active address of yours on this network, proven by its own signature")]
    Signatory,
    /// The network could not be read, or the ledger did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<LedgerError> for AddressError {
    fn from(error: LedgerError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// An address that an account may register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suitable {
    /// On which network.
    pub network: Network,
    /// The address.
    pub address: Address,
    /// Tokens for which its owner has no account yet.
    pub missing: Vec<Address>,
}

impl Flows {
    /// Looks whether payments can be taken at an address, before anything is changed.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub async fn consider_address(&self, network: Network, text: &str) -> Result<Suitable, AddressError> {
        let Ok(chain) = self.chains.find(&network) else { return Err(AddressError::UnknownNetwork(network)) };
        let address = Address::parse(network.family(), text)?;
        match chain.check_payable(address).await.map_err(Unavailable::from)? {
            Payable::Yes => Ok(Suitable { network, address, missing: Vec::new() }),
            Payable::YesWithoutTokenAccount { mints } => Ok(Suitable { network, address, missing: mints }),
            Payable::No(why) => Err(AddressError::NotPayable(why)),
        }
    }

    /// Notes that an account wants to register an address, and says what its owner has to sign. The account may have it by a list or
    /// an operator's word.
    ///
    /// # Errors
    /// See [`AddressError`]. Then the transaction must not be committed.
    pub async fn register_address(
        &self,
        db: &mut Db,
        account: AccountId,
        suitable: &Suitable,
    ) -> Result<RegisteredAddress, AddressError> {
        self.ask_for_address(db, account, suitable, Proof::Signature).await
    }

    async fn ask_for_address(
        &self,
        db: &mut Db,
        account: AccountId,
        suitable: &Suitable,
        proof: Proof,
    ) -> Result<RegisteredAddress, AddressError> {
        let owner = addresses::lock_owner(db, &suitable.network, suitable.address).await?;
        if owner.is_some_and(|owner| owner.account == account && !owner.yields_to(proof)) {
            return Err(AddressError::Known);
        }
        // An address of another account can be won by the signature that this one may lack, so a challenge is made in any case.
        let now = self.clock.now();
        let address = RegisteredAddress {
            id: AddressId::new(),
            account,
            network: suitable.network.clone(),
            address: suitable.address,
            created_at: now,
            challenged_until: now + CHALLENGE_LASTS,
            proven: None,
            removed_at: None,
        };
        addresses::insert(db, &address).await?;
        Ok(address)
    }

    /// What the owner of an address has to sign.
    #[must_use]
    pub fn challenge(&self, address: &RegisteredAddress) -> String {
        let challenge = Challenge {
            service_url: self.public_url.clone(),
            account: address.account,
            network: address.network.clone(),
            address: address.address,
            id: address.id,
            issued_at: address.created_at,
            expires_at: address.challenged_until,
        };
        challenge.text()
    }

    /// Makes an address an account's, if its owner has signed the challenge. Whoever has it by a list or an operator's word
    /// yields, the account itself included.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub async fn prove_address(
        &self,
        account: AccountId,
        id: AddressId,
        signature: &str,
    ) -> Result<RegisteredAddress, AddressError> {
        let known = self.ledger.find_address(id).await?.filter(|address| address.account == account);
        let address = known.filter(|address| address.removed_at.is_none()).ok_or(AddressError::NoSuchAddress)?;
        if address.is_active() {
            return Ok(address);
        }
        let now = self.clock.now();
        if now > address.challenged_until {
            return Err(AddressError::Expired);
        }
        let Ok(chain) = self.chains.find(&address.network) else {
            return Err(AddressError::UnknownNetwork(address.network));
        };
        let text = self.challenge(&address);
        match chain.verify_message(address.address, &text, signature).await.map_err(Unavailable::from)? {
            Verdict::Valid => {}
            Verdict::Invalid => return Err(AddressError::SignatureInvalid),
            Verdict::Malformed => return Err(AddressError::SignatureMalformed),
        }
        self.take_over(id, Proof::Signature, None, now).await
    }

    /// Makes an address an account's because an operator says so, where the owner cannot sign.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub async fn grant_address(
        &self,
        account: AccountId,
        network: Network,
        text: &str,
        note: &str,
    ) -> Result<RegisteredAddress, AddressError> {
        let suitable = self.consider_address(network, text).await?;
        let mut db = self.ledger.begin().await?;
        let address = self.ask_for_address(&mut db, account, &suitable, Proof::Operator).await?;
        commit(db).await?;
        self.take_over(address.id, Proof::Operator, Some(note), self.clock.now()).await
    }

    async fn take_over(
        &self,
        id: AddressId,
        proof: Proof,
        note: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<RegisteredAddress, AddressError> {
        for _ in 0..TRIES {
            if let Some(won) = self.try_to_take_over(id, proof, note, now).await? {
                return Ok(won);
            }
        }
        Err(AddressError::Taken)
    }

    /// `None` if the address got another owner in this very moment.
    async fn try_to_take_over(
        &self,
        id: AddressId,
        proof: Proof,
        note: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<RegisteredAddress>, AddressError> {
        let mut db = self.ledger.begin().await?;
        // Of two equal requests the second waits here, and finds done what it asks for.
        let asked = addresses::lock(&mut db, id).await?.filter(|address| address.removed_at.is_none());
        let address = asked.ok_or(AddressError::NoSuchAddress)?;
        if address.is_active() {
            return Ok(Some(address));
        }
        if let Some(owner) = addresses::lock_owner(&mut db, &address.network, address.address).await? {
            let is_own = owner.account == address.account;
            if !owner.yields_to(proof) {
                return Err(if is_own { AddressError::Known } else { AddressError::Taken });
            }
            addresses::remove(&mut db, owner.id, now).await?;
            if is_own {
                addresses::inherit_reservation(&mut db, owner.id, id).await?;
            }
        }
        if !addresses::prove(&mut db, id, proof, note, now).await? {
            return Ok(None);
        }
        commit(db).await?;
        Ok(Some(RegisteredAddress { proven: Some((now, proof)), ..address }))
    }

    /// Ends an account's hold on an address at which no invoice waits to be paid. What arrives there later is nobody's.
    ///
    /// # Errors
    /// See [`AddressError`]. Then the transaction must not be committed.
    pub async fn remove_address(&self, db: &mut Db, account: AccountId, id: AddressId) -> Result<(), AddressError> {
        let now = self.clock.now();
        // Invoices are opened under this lock, so none comes in between.
        accounts::lock(db, account).await?;
        let known = addresses::lock(db, id).await?.filter(|address| address.account == account && address.removed_at.is_none());
        let address = known.ok_or(AddressError::NoSuchAddress)?;
        if address.is_active() && addresses::is_awaited(db, &address, now).await? {
            return Err(AddressError::Awaited);
        }
        addresses::remove(db, id, now).await?;
        Ok(())
    }
}
