//! What a handler may know of the payment it works for, and how it says what the work came to.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, ResponseError};

use crate::price::Price;
use crate::terms::{Offer, Order};
use crate::wire::{Requirements, Version};

/// The payment that a request comes with, as an extractor.
///
/// The facilitator has found it good. It is made when the handler is done, and the answer is kept back until then.
#[derive(Debug, Clone)]
pub struct Paid(Rc<Facts>);

#[derive(Debug)]
struct Facts {
    payer: String,
    version: Version,
    offer: Offer,
    /// What was metered. Nothing until somebody asks for the meter.
    metered: Cell<Option<u128>>,
}

impl Paid {
    pub(crate) fn new(payer: String, order: &Order) -> Self {
        Self(Rc::new(Facts { payer, version: order.version, offer: order.offer.clone(), metered: Cell::new(None) }))
    }

    /// Who pays: an address on [`Paid::network`].
    #[must_use]
    pub fn payer(&self) -> &str {
        &self.0.payer
    }

    /// How much, in atomic units of the token; of a metered price the most.
    #[must_use]
    pub fn amount(&self) -> u128 {
        self.0.offer.amount
    }

    /// Where, as a CAIP-2 identifier.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.0.offer.requirements.network
    }

    /// Everything that was asked for.
    #[must_use]
    pub fn requirements(&self) -> &Requirements {
        &self.0.offer.requirements
    }

    /// In which version of x402 the buyer speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// What is to be charged, in atomic units: what was metered, or else all of it.
    pub(crate) fn charged(&self) -> u128 {
        self.0.metered.get().unwrap_or_else(|| self.amount())
    }
}

/// Counts what the work for a request costs, as an extractor of routes with [`Paywall::up_to`](crate::Paywall::up_to).
///
/// A handler that takes it charges what it has counted when it is done, from nothing on. One that does not charges the whole price.
#[derive(Debug, Clone)]
pub struct Meter(Paid);

/// Why something cannot be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// The buyer has not agreed to so much.
    #[error("the buyer pays {limit} atomic units at most")]
    OverLimit {
        /// What the buyer has agreed to, in atomic units.
        limit: u128,
    },
}

impl ResponseError for MeterError {}

impl Meter {
    /// Adds to what is charged, rounded up to what the token can pay, and returns what it comes to in atomic units.
    ///
    /// # Errors
    /// [`MeterError::OverLimit`]. Nothing is added then.
    pub fn charge(&self, price: Price) -> Result<u128, MeterError> {
        let limit = self.0.amount();
        let more = price.atomic_at_least(self.0.0.offer.decimals);
        let total = more.and_then(|more| self.charged().checked_add(more)).filter(|total| *total <= limit);
        let total = total.ok_or(MeterError::OverLimit { limit })?;
        self.0.0.metered.set(Some(total));
        Ok(total)
    }

    /// What is charged so far, in atomic units.
    #[must_use]
    pub fn charged(&self) -> u128 {
        self.0.0.metered.get().unwrap_or_default()
    }

    /// What can be charged yet, in atomic units.
    #[must_use]
    pub fn left(&self) -> u128 {
        self.0.amount() - self.charged()
    }

    /// How many things at this price can be charged yet. As many as there are numbers, if it is zero.
    #[must_use]
    pub fn affords(&self, price: Price) -> u64 {
        let (mut enough, mut too_many) = (0, u64::MAX);
        let costs = |count| price.times(count).and_then(|all| all.atomic_at_least(self.0.0.offer.decimals));
        let fits = |count| costs(count).is_some_and(|cost| cost <= self.left());
        if fits(too_many) {
            return too_many;
        }
        while too_many - enough > 1 {
            let middle = enough + (too_many - enough) / 2;
            if fits(middle) { enough = middle } else { too_many = middle }
        }
        enough
    }
}

/// Why a handler cannot have what it wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPaid {
    /// There is no paywall around the route.
    #[error("there is no paywall around this route")]
    NoPaywall,
    /// The price is fixed, so that nothing can be metered.
    #[error("the price of this route is fixed")]
    FixedPrice,
}

impl ResponseError for NotPaid {}

impl FromRequest for Paid {
    type Error = NotPaid;
    type Future = Ready<Result<Self, NotPaid>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or(NotPaid::NoPaywall))
    }
}

impl FromRequest for Meter {
    type Error = NotPaid;
    type Future = Ready<Result<Self, NotPaid>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let paid = request.extensions().get::<Paid>().cloned().ok_or(NotPaid::NoPaywall);
        ready(paid.and_then(|paid| {
            if !paid.0.offer.is_metered() {
                return Err(NotPaid::FixedPrice);
            }
            paid.0.metered.set(Some(paid.0.metered.get().unwrap_or_default()));
            Ok(Self(paid))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Family;
    use actix_web::test::TestRequest;
    use serde_json::json;

    fn paid(scheme: &str) -> Paid {
        let requirements = serde_json::from_value(json!({
            "scheme": scheme, "network": "eip155:84532", "amount": "1000", "asset": "0xa", "payTo": "0xb", "maxTimeoutSeconds": 60,
        }));
        let offer =
            Offer { family: Family::Evm, decimals: 6, amount: 1_000, requirements: requirements.unwrap(), v1_network: None };
        Paid::new("0xc".to_owned(), &Order { version: Version::V2, offer })
    }

    fn request(paid: &Paid) -> HttpRequest {
        let request = TestRequest::default().to_http_request();
        request.extensions_mut().insert(paid.clone());
        request
    }

    async fn meter(paid: &Paid) -> Result<Meter, NotPaid> {
        Meter::extract(&request(paid)).await
    }

    #[actix_web::test]
    async fn a_handler_learns_who_pays_what() {
        let known = Paid::extract(&request(&paid("exact"))).await.unwrap();
        assert_eq!(
            (known.payer(), known.amount(), known.network(), known.version()),
            ("0xc", 1_000, "eip155:84532", Version::V2)
        );
        let outside = TestRequest::default().to_http_request();
        assert_eq!(Paid::extract(&outside).await.unwrap_err(), NotPaid::NoPaywall);
        assert_eq!(Meter::extract(&outside).await.unwrap_err(), NotPaid::NoPaywall);
    }

    #[actix_web::test]
    async fn what_is_metered_is_charged_and_what_is_not_metered_costs_all_of_it() {
        let paid = paid("upto");
        assert_eq!(paid.charged(), 1_000);
        let meter_once = meter(&paid).await.unwrap();
        assert_eq!(paid.charged(), 0);
        assert_eq!(meter_once.charge(Price::micro_usdc(300)), Ok(300));
        // Whoever takes the meter again sees the same.
        assert_eq!(meter(&paid).await.unwrap().charge(Price::usdc("0.0000001").unwrap()), Ok(301));
        assert_eq!((paid.charged(), meter_once.left()), (301, 699));
    }

    #[actix_web::test]
    async fn nobody_pays_more_than_was_agreed_to() {
        let paid = paid("upto");
        let meter = meter(&paid).await.unwrap();
        assert_eq!(meter.charge(Price::micro_usdc(1_000)), Ok(1_000));
        for more in [Price::micro_usdc(1), Price::usdc("340282366920938463463374607431768211455").unwrap()] {
            assert_eq!(meter.charge(more), Err(MeterError::OverLimit { limit: 1_000 }));
        }
        assert_eq!((paid.charged(), meter.left()), (1_000, 0));
    }

    #[actix_web::test]
    async fn what_can_be_afforded_can_be_charged_and_not_one_more() {
        for (each, count) in [("0.000003", 333), ("0.001", 1), ("0.0010001", 0), ("0.0000005", 2_000), ("0", u64::MAX)] {
            let each = Price::usdc(each).unwrap();
            let meter = meter(&paid("upto")).await.unwrap();
            assert_eq!(meter.affords(each), count, "{each}");
            assert!(meter.charge(each.times(count).unwrap()).is_ok(), "{each}");
        }
    }

    #[actix_web::test]
    async fn a_fixed_price_has_no_meter() {
        let paid = paid("exact");
        assert_eq!(meter(&paid).await.unwrap_err(), NotPaid::FixedPrice);
        assert_eq!(paid.charged(), 1_000);
    }
}
