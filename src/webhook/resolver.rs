//! Looks names up, and finds only addresses that a webhook may reach.
//!
//! The client connects to what it is given here and to nothing else. So there is no moment, between the judgement and the connection,
//! in which a name could come to mean another address.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::reach::Reach;

/// What becomes of a name.
type Found = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Looks names up for the client.
pub struct Resolver {
    reach: Reach,
    lookup: Box<dyn Fn(String) -> Found + Send + Sync>,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody could say what it stands for.
    #[error("the name could not be looked up")]
    Lookup(#[source] io::Error),
    /// It stands for nothing.
    #[error("the name has no address")]
    NoAddress,
    /// It stands only for addresses that webhooks must not reach.
    #[error("the name has no public address")]
    NotPublic,
}

impl Resolver {
    /// Looks names up as the machine is set up to.
    #[must_use]
    pub fn of_the_machine(reach: Reach) -> Self {
        Self::with_lookup(reach, |name| look_up(name).boxed())
    }

    /// Looks names up with the given function.
    #[must_use]
    pub fn with_lookup(reach: Reach, lookup: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self { reach, lookup: Box::new(lookup) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, reach) = ((self.lookup)(name.as_str().to_owned()), self.reach);
        Box::pin(async move {
            let addresses = permitted(found.await, reach)?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// The client replaces port 0 by that of the URL.
async fn look_up(name: String) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

fn permitted(found: io::Result<Vec<SocketAddr>>, reach: Reach) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut addresses = found.map_err(ResolveError::Lookup)?;
    if addresses.is_empty() {
        return Err(ResolveError::NoAddress);
    }
    addresses.retain(|address| reach.includes(address.ip()));
    if addresses.is_empty() { Err(ResolveError::NotPublic) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::future::ready;

    use super::*;

    /// What a name leads to that stands for the given addresses.
    async fn resolve(reach: Reach, addresses: &[&str]) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
        let known: Vec<_> = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
        let resolver = Resolver::with_lookup(reach, move |name| {
            assert_eq!(name, "merchant.example");
            ready(Ok(known.clone())).boxed()
        });
        let found = resolver.resolve("merchant.example".parse().unwrap()).await?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn only_public_addresses_are_found() {
        let addresses = ["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111", "::ffff:1.1.1.1"];

        assert_eq!(resolve(Reach::Public, &addresses).await.unwrap(), ["1.1.1.1", "2606:4700::1111"]);
        assert_eq!(resolve(Reach::Anywhere, &addresses).await.unwrap(), addresses);
    }

    async fn refusal(addresses: &[&str]) -> ResolveError {
        *resolve(Reach::Public, addresses).await.unwrap_err().downcast::<ResolveError>().unwrap()
    }

    #[tokio::test]
    async fn a_name_without_public_addresses_is_told_from_one_without_any() {
        assert!(matches!(refusal(&["127.0.0.1", "169.254.169.254"]).await, ResolveError::NotPublic));
        assert!(matches!(refusal(&[]).await, ResolveError::NoAddress));
    }

    #[tokio::test]
    async fn a_lookup_that_fails_is_told_as_such() {
        let resolver = Resolver::with_lookup(Reach::Public, |_| ready(Err(io::Error::other("no server"))).boxed());

        let error = resolver.resolve("merchant.example".parse().unwrap()).await.err().unwrap();

        assert!(matches!(error.downcast_ref::<ResolveError>(), Some(ResolveError::Lookup(_))));
    }

    #[tokio::test]
    async fn the_machine_knows_its_own_name_which_is_not_public() {
        let resolve = |reach| Resolver::of_the_machine(reach).resolve("localhost".parse().unwrap());

        let mut found = resolve(Reach::Anywhere).await.unwrap();
        let error = resolve(Reach::Public).await.err().unwrap();

        assert!(found.all(|address| address.ip().is_loopback() && address.port() == 0));
        assert!(matches!(error.downcast_ref::<ResolveError>(), Some(ResolveError::NotPublic)));
    }
}
