//! Registers many deposit addresses under one statement, which an address that the account has proven signs for all of them.

use futures_util::TryStreamExt;
use futures_util::stream::FuturesOrdered;

use super::address::{AddressError, CHALLENGE_LASTS, TRIES};
use super::{Flows, Unavailable};
use crate::chain::address::Proof as Verdict;
use crate::domain::address::Address;
use crate::domain::challenge::{AddressList, Statement};
use crate::domain::ids::{AccountId, AddressId};
use crate::domain::network::Network;
use crate::ledger::addresses::{self, AddressListing, Proof, RegisteredAddress};
use crate::ledger::{Db, commit};

/// Addresses that a node is asked about at a time.
const CONSIDERED_AT_ONCE: usize = 8;

impl Flows {
    /// Looks whether payments can be taken at each of these addresses, and puts them in the order of a statement.
    ///
    /// # Errors
    /// See [`AddressError`]: the first address that is not suitable.
    pub async fn consider_addresses(&self, network: &Network, texts: &[String]) -> Result<AddressList, AddressError> {
        let mut under_way = FuturesOrdered::new();
        let mut suitable = Vec::with_capacity(texts.len());
        for text in texts {
            under_way.push_back(self.consider_address(network.clone(), text));
            if under_way.len() == CONSIDERED_AT_ONCE {
                suitable.extend(under_way.try_next().await?);
            }
        }
        while let Some(considered) = under_way.try_next().await? {
            suitable.push(considered);
        }
        Ok(AddressList::new(suitable.into_iter().map(|suitable| suitable.address).collect())?)
    }

    /// Notes that an account wants to register a list, for which one of its own addresses is to sign.
    ///
    /// # Errors
    /// See [`AddressError`]. Then the transaction must not be committed.
    pub async fn register_list(
        &self,
        db: &mut Db,
        account: AccountId,
        (network, list): (Network, &AddressList),
        signed_by: AddressId,
    ) -> Result<AddressListing, AddressError> {
        let signatory = addresses::lock(db, signed_by).await?.filter(|address| address.account == account && address.is_active());
        let by_its_own_signature = |proven: Option<(_, Proof)>| proven.is_some_and(|(_, proof)| proof == Proof::Signature);
        if !signatory.is_some_and(|address| address.network == network && by_its_own_signature(address.proven)) {
            return Err(AddressError::Signatory);
        }
        let now = self.clock.now();
        let listing = AddressListing {
            id: AddressId::new(),
            account,
            network,
            signed_by,
            addresses: list.as_slice().to_vec(),
            created_at: now,
            challenged_until: now + CHALLENGE_LASTS,
        };
        addresses::insert_list(db, &listing).await?;
        Ok(listing)
    }

    /// What has to be signed for a list.
    ///
    /// # Errors
    /// See [`AddressError`]: the ledger has more addresses in it than a list can have.
    pub fn statement(&self, listing: &AddressListing) -> Result<String, AddressError> {
        let statement = Statement {
            service_url: self.public_url.clone(),
            account: listing.account,
            network: listing.network.clone(),
            addresses: AddressList::new(listing.addresses.clone())?,
            id: listing.id,
            issued_at: listing.created_at,
            expires_at: listing.challenged_until,
        };
        Ok(statement.text())
    }

    /// Makes the addresses of a list an account's, if its statement is signed, and returns those that are: what was free, and what was
    /// proven before. A list yields to the owner of an address who signs for it alone.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub async fn prove_list(&self, account: AccountId, id: AddressId, signature: &str) -> Result<Vec<Address>, AddressError> {
        let listing = self.ledger.find_address_list(id).await?.filter(|listing| listing.account == account);
        let listing = listing.ok_or(AddressError::NoSuchAddress)?;
        let now = self.clock.now();
        if now > listing.challenged_until {
            let active = addresses::active_of_list(&mut *self.ledger.acquire().await?, id).await?;
            return if active.is_empty() { Err(AddressError::Expired) } else { Ok(active) };
        }
        let signatory = self.ledger.find_address(listing.signed_by).await?.filter(RegisteredAddress::is_active);
        let signatory = signatory.ok_or(AddressError::Signatory)?;
        let Ok(chain) = self.chains.find(&listing.network) else { return Err(AddressError::UnknownNetwork(listing.network)) };
        let text = self.statement(&listing)?;
        match chain.verify_message(signatory.address, &text, signature).await.map_err(Unavailable::from)? {
            Verdict::Valid => {}
            Verdict::Invalid => return Err(AddressError::SignatureInvalid),
            Verdict::Malformed => return Err(AddressError::SignatureMalformed),
        }
        for _ in 0..TRIES {
            let mut db = self.ledger.begin().await?;
            if let Some(proven) = addresses::prove_list(&mut db, id, now).await? {
                commit(db).await?;
                return Ok(proven);
            }
        }
        Err(AddressError::Taken)
    }
}
