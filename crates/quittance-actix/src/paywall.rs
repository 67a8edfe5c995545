//! The middleware, and how it is described.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};

use crate::facilitator::Facilitator;
use crate::price::Price;
use crate::sale::Till;
use crate::terms::{Scheme, Terms, TermsError, Way};
use crate::token::Token;

/// How long a buyer's signature has to be good unless the route says otherwise, as in the SDKs.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);

/// How long an answer may be that is kept back, unless the route says otherwise.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Asks to be paid for what is behind it: a middleware for an app, a scope, or a resource.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quittance_actix::{Facilitator, Paywall, Price};
///
/// let facilitator = Facilitator::new("https://facilitator.example")?.api_key("…")?;
/// # let facilitator = Facilitator::new("https://facilitator.example")?;
/// let paywall = Paywall::exactly(&facilitator, Price::usdc("0.001")?)
///     .pay_to("eip155:8453", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359")
///     .pay_to("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1")
///     .description("The weather of one place")
///     .build()?;
/// # drop(paywall);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Paywall {
    facilitator: Facilitator,
    terms: Arc<Terms>,
    receipts: bool,
    body_bytes_max: usize,
}

/// A paywall that is being described.
#[derive(Debug, Clone)]
#[must_use = "a paywall is there when it is built"]
pub struct PaywallBuilder {
    paywall: Paywall,
    price: Price,
    ways: Result<Vec<Way>, TermsError>,
    terms: Terms,
}

impl Paywall {
    /// Asks for a price, whatever the handler does.
    pub fn exactly(facilitator: &Facilitator, price: Price) -> PaywallBuilder {
        PaywallBuilder::new(facilitator, price, Scheme::Exact)
    }

    /// Asks to agree to a price at most. The handler says what its work came to by a [`Meter`](crate::Meter).
    ///
    /// The scheme is `upto`, which the facilitator has to know on the network.
    pub fn up_to(facilitator: &Facilitator, price: Price) -> PaywallBuilder {
        PaywallBuilder::new(facilitator, price, Scheme::UpTo)
    }
}

impl PaywallBuilder {
    fn new(facilitator: &Facilitator, price: Price, scheme: Scheme) -> Self {
        let terms = Terms {
            scheme,
            ways: Vec::new(),
            max_timeout_seconds: MAX_TIMEOUT.as_secs(),
            description: String::new(),
            mime_type: String::new(),
            public_url: None,
        };
        let facilitator = facilitator.clone();
        let paywall = Paywall { facilitator, terms: Arc::new(terms.clone()), receipts: true, body_bytes_max: BODY_BYTES_MAX };
        Self { paywall, price, ways: Ok(Vec::new()), terms }
    }

    /// Takes USDC on a network, such as `eip155:8453`, to an address there. Said several times, the buyer chooses.
    pub fn pay_to(self, network: &str, address: &str) -> Self {
        match Token::usdc(network) {
            Some(token) => self.pay_to_in(token, address),
            None => Self { ways: self.ways.and(Err(TermsError::NoUsdc(network.to_owned()))), ..self },
        }
    }

    /// The same in another token, of which the price then is.
    pub fn pay_to_in(mut self, token: Token, address: &str) -> Self {
        self.ways = self.ways.and_then(|mut ways| {
            ways.push(Way::new(self.price, token, address)?);
            Ok(ways)
        });
        self
    }

    /// Says in words what is sold.
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.terms.description);
        self
    }

    /// Says of which media type it is.
    pub fn mime_type(mut self, text: &str) -> Self {
        text.clone_into(&mut self.terms.mime_type);
        self
    }

    /// The URL of this server as buyers see it. Unless it is given, it is what the request says: its host, or what a proxy in front
    /// has put into `Forwarded` or `X-Forwarded-Host`, which anybody can put there where no proxy does.
    pub fn public_url(mut self, url: &str) -> Self {
        self.terms.public_url = Some(url.trim_end_matches('/').to_owned());
        self
    }

    /// How long a buyer's signature has to be good: the time for the work and for the settlement. A minute unless it is given; less
    /// than a second is a second.
    pub fn max_timeout(mut self, timeout: Duration) -> Self {
        self.terms.max_timeout_seconds = timeout.as_secs().max(1);
        self
    }

    /// How many bytes of an answer are kept back until it is paid for. 4 MiB unless it is given; a longer answer is a failure of the
    /// server, and costs the buyer nothing.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.paywall.body_bytes_max = bytes;
        self
    }

    /// Takes the facilitator's word without its signature, because it signs nothing.
    pub fn without_receipts(mut self) -> Self {
        self.paywall.receipts = false;
        self
    }

    /// The paywall.
    ///
    /// # Errors
    /// See [`TermsError`].
    pub fn build(self) -> Result<Paywall, TermsError> {
        let ways = self.ways?;
        if ways.is_empty() {
            return Err(TermsError::NoRecipient);
        }
        Ok(Paywall { terms: Arc::new(Terms { ways, ..self.terms }), ..self.paywall })
    }
}

impl<S, B> Transform<S, ServiceRequest> for Paywall
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Transform = PaywallService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let till = Till {
            facilitator: self.facilitator.for_this_worker(),
            terms: Arc::clone(&self.terms),
            receipts: self.receipts,
            body_bytes_max: self.body_bytes_max,
        };
        ready(Ok(PaywallService { service: Rc::new(service), till: Rc::new(till) }))
    }
}

/// The middleware in one worker.
#[derive(Debug)]
pub struct PaywallService<S> {
    service: Rc<S>,
    till: Rc<Till>,
}

impl<S, B> Service<ServiceRequest> for PaywallService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse, Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (service, till) = (Rc::clone(&self.service), Rc::clone(&self.till));
        Box::pin(async move { till.sell(&*service, request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::PriceError;
    use crate::terms::tests::MERCHANT;

    fn builder() -> PaywallBuilder {
        Paywall::exactly(&Facilitator::new("http://127.0.0.1:1").unwrap(), Price::usdc("0.001").unwrap())
    }

    fn fault(builder: PaywallBuilder) -> TermsError {
        builder.build().unwrap_err()
    }

    #[test]
    fn a_paywall_that_cannot_be_paid_is_not_built() {
        assert_eq!(fault(builder()), TermsError::NoRecipient);
        assert_eq!(fault(builder().pay_to("eip155:5", MERCHANT)), TermsError::NoUsdc("eip155:5".to_owned()));
        let network = || "eip155:8453".to_owned();
        let wrong = TermsError::Address { network: network(), address: "0x1".to_owned() };
        assert_eq!(fault(builder().pay_to("eip155:8453", "0x1").pay_to("eip155:5", MERCHANT)), wrong);
        let coarse = Token::eip3009("eip155:8453", MERCHANT, 2, "Cents", "1");
        let price = TermsError::Price { network: network(), fault: PriceError::NotPayable(2) };
        assert_eq!(fault(builder().pay_to_in(coarse, MERCHANT)), price);
    }

    #[test]
    fn every_recipient_is_a_way_to_pay() {
        let paywall = builder().pay_to("eip155:8453", MERCHANT).pay_to("eip155:84532", MERCHANT).build().unwrap();

        assert_eq!(paywall.terms.ways.len(), 2);
    }
}
